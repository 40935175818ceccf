-- The agent's state. Columns marked (key) are encrypted under the state key.

CREATE TABLE key_check (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    sealed BLOB NOT NULL -- (key) nothing: it says whether the key is the right one
) STRICT;

CREATE TABLE device (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    server_id BLOB NOT NULL,
    device_id BLOB NOT NULL,
    serial BLOB NOT NULL,
    generation INTEGER NOT NULL,
    keyset INTEGER NOT NULL,
    signing_algorithm INTEGER NOT NULL, -- COSE: -7, -37, -257
    signing BLOB NOT NULL,          -- SubjectPublicKeyInfo
    decryption_algorithm INTEGER NOT NULL, -- COSE: -25, -40, -41
    decryption BLOB NOT NULL,       -- SubjectPublicKeyInfo
    encapsulation BLOB NOT NULL,    -- E, for the serial key
    base INTEGER NOT NULL,          -- the counter's value at epoch 0
    keys BLOB NOT NULL,             -- (key)
    user_info BLOB NOT NULL,        -- (key)
    origin TEXT NOT NULL,
    assurance TEXT NOT NULL,
    statement BLOB NOT NULL,        -- server_keys
    standing INTEGER NOT NULL,      -- 0 active, 1 suspended, 2 revoked
    counter_intended INTEGER NOT NULL,
    counter_opened INTEGER NOT NULL,
    last_contact INTEGER NOT NULL   -- unix seconds
) STRICT;

CREATE TABLE enrolment (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    uid INTEGER NOT NULL,
    link BLOB NOT NULL,             -- (key)
    user_info BLOB NOT NULL,        -- (key)
    keys BLOB NOT NULL,             -- (key)
    certificates BLOB NOT NULL,
    nonce BLOB NOT NULL,
    m0 BLOB, m1 BLOB, m2 BLOB, m3 BLOB, m4 BLOB, m5 BLOB,
    base INTEGER
) STRICT;

CREATE TABLE epochs (
    generation INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,      -- of the server_keys statement
    answer_key BLOB NOT NULL,       -- (key)
    used INTEGER NOT NULL DEFAULT 0, -- whether anything but its opening was sealed
    PRIMARY KEY (generation, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- first in, first out
    generation INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    trade BLOB,                     -- NULL: an epoch-open
    idx INTEGER,
    layering INTEGER,               -- which layer stands outside
    content BLOB,                   -- (key)
    anew INTEGER NOT NULL DEFAULT 0, -- to be sealed again before it can be carried
    FOREIGN KEY (generation, epoch) REFERENCES epochs
) STRICT;

CREATE INDEX outbox_of_trade ON outbox (trade);

CREATE TABLE trades (
    id BLOB PRIMARY KEY,
    owner INTEGER,                  -- user id; NULL: offered, nobody listens
    service TEXT NOT NULL,
    state BLOB NOT NULL,
    ended_epoch INTEGER,            -- NULL: it goes on
    receipt BLOB                    -- (key) signed by both
) STRICT, WITHOUT ROWID;

CREATE INDEX trades_of_owner ON trades (owner, ended_epoch);

CREATE TABLE inbox (
    trade BLOB NOT NULL REFERENCES trades ON DELETE CASCADE,
    idx INTEGER NOT NULL,
    hash BLOB NOT NULL,             -- inner hash
    type INTEGER,                   -- NULL: withdrawn
    content BLOB,                   -- (key) NULL: withdrawn, or nobody needs it any more
    PRIMARY KEY (trade, idx)
) STRICT, WITHOUT ROWID;

-- What applications carry themselves, of which nobody says that it has arrived.
CREATE TABLE loose (
    trade BLOB NOT NULL REFERENCES trades ON DELETE CASCADE,
    idx INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (trade, idx)
) STRICT, WITHOUT ROWID;

-- Keys of applications.
CREATE TABLE keys (
    id BLOB PRIMARY KEY,
    owner INTEGER NOT NULL,         -- user id
    gid INTEGER,                    -- members of this group may use it
    label BLOB NOT NULL,            -- (key)
    certificate BLOB,
    created INTEGER NOT NULL,       -- unix seconds
    key BLOB NOT NULL,              -- (key)
    cka_id BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- CKA_IDs of what a token may hold and nobody needs.
CREATE TABLE leftovers (
    id BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE INDEX keys_of_owner ON keys (owner);
CREATE INDEX keys_of_group ON keys (gid);

-- What the server does not know yet to have arrived.
CREATE TABLE acks (
    trade BLOB NOT NULL,
    idx INTEGER NOT NULL,
    inner_hash BLOB NOT NULL,
    PRIMARY KEY (trade, idx, inner_hash)
) STRICT, WITHOUT ROWID;

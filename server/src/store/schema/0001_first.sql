-- Natural keys throughout: what may exist once is said by a key, not by code.
-- Columns named *_sealed are encrypted under the at-rest key, *_tag are keyed hashes of it.
-- Times are unix seconds.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE server_keys (
    sequence  INTEGER PRIMARY KEY,
    statement BLOB   NOT NULL
);

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    caller  TEXT   NOT NULL,
    action  TEXT   NOT NULL,
    device  BLOB,
    subject TEXT   NOT NULL
);

CREATE TABLE ek_certificates (
    id       TEXT   PRIMARY KEY,            -- SHA-256 of the certificate
    kind     TEXT   NOT NULL,               -- root, intermediate
    subject  TEXT   NOT NULL,
    der      BLOB   NOT NULL,
    added_at INTEGER NOT NULL
);

CREATE TABLE codes (
    id         TEXT   PRIMARY KEY,          -- names the code to people
    tag        BLOB    NOT NULL UNIQUE,
    note       TEXT   NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER,
    used_at    INTEGER,
    used_by    BLOB
);

CREATE TABLE registrations (
    serial_tag       BLOB   PRIMARY KEY,
    serial_sealed    BLOB   NOT NULL,
    user_info_sealed BLOB   NOT NULL,
    created_at       INTEGER NOT NULL,
    used_at          INTEGER
);

CREATE TABLE devices (
    device           BLOB   PRIMARY KEY,
    serial_tag       BLOB   NOT NULL,
    serial_sealed    BLOB   NOT NULL,
    generation       INTEGER NOT NULL,
    state            TEXT   NOT NULL,       -- awaiting, active, quarantined, revoked
    assurance        TEXT   NOT NULL,
    user_info_sealed BLOB   NOT NULL,
    verdict_sealed   BLOB   NOT NULL,
    alarm            TEXT,                  -- the code of the last one
    enrolled_at      INTEGER NOT NULL,
    changed_at       INTEGER NOT NULL
);
-- One chip is one device, as long as it has not been revoked.
CREATE UNIQUE INDEX devices_live ON devices (serial_tag) WHERE state <> 'revoked';
CREATE INDEX devices_serial ON devices (serial_tag);

CREATE TABLE device_terms (
    term_tag BLOB  NOT NULL,
    device   BLOB  NOT NULL,
    PRIMARY KEY (term_tag, device)
);
CREATE INDEX device_terms_device ON device_terms (device);

-- What was agreed at enrolment, and after each rotation.
CREATE TABLE bonds (
    device     BLOB   NOT NULL,
    generation INTEGER NOT NULL,
    keyset     INTEGER NOT NULL,
    signing    BLOB   NOT NULL,             -- SubjectPublicKeyInfo
    decryption BLOB   NOT NULL,
    chip       BLOB,                       -- what epoch attests are verified with
    PRIMARY KEY (device, generation, keyset)
);

-- CK_e of the epoch that is open, CK_0 before the first.
CREATE TABLE chains (
    device     BLOB   NOT NULL,
    generation INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    key_sealed BLOB   NOT NULL,
    PRIMARY KEY (device, generation)
);

CREATE TABLE epochs (
    device        BLOB   NOT NULL,
    generation    INTEGER NOT NULL,
    epoch         INTEGER NOT NULL,
    sequence      INTEGER NOT NULL,
    hash          BLOB   NOT NULL,
    envelope      BLOB,                    -- while the epoch is open
    reset_count   INTEGER,
    restart_count INTEGER,
    clock_ms      INTEGER,
    answer        BLOB   NOT NULL,
    seq_down      INTEGER NOT NULL,          -- the last one given out
    opened_at     INTEGER NOT NULL,
    PRIMARY KEY (device, generation, epoch)
);

-- Envelopes from devices, with the answer that each got.
CREATE TABLE uplinks (
    device     BLOB   NOT NULL,
    generation INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    hash       BLOB   NOT NULL,
    answer     BLOB   NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (device, generation, epoch, seq)
);

CREATE TABLE trades (
    device       BLOB   NOT NULL,
    trade        BLOB   NOT NULL,
    service      TEXT   NOT NULL,
    stage        TEXT   NOT NULL,
    state_sealed BLOB   NOT NULL,
    opened_at    INTEGER NOT NULL,
    changed_at   INTEGER NOT NULL,
    PRIMARY KEY (device, trade)
);
CREATE INDEX trades_opened ON trades (opened_at, device, trade);

-- One row for every index of either direction of a trade.
CREATE TABLE messages (
    device      BLOB   NOT NULL,
    trade       BLOB   NOT NULL,
    direction   INTEGER NOT NULL,
    idx         INTEGER NOT NULL,
    row_sealed  BLOB   NOT NULL,
    at          INTEGER NOT NULL,
    queued      INTEGER,                     -- downward: the place in the device's queue, until acknowledged
    PRIMARY KEY (device, trade, direction, idx)
);
CREATE UNIQUE INDEX messages_queue ON messages (device, queued) WHERE queued IS NOT NULL;

-- Every sealing of a message down, so that an acknowledgement of any of them counts.
CREATE TABLE sealings (
    device     BLOB   NOT NULL,
    generation INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    trade      BLOB   NOT NULL,
    idx        INTEGER NOT NULL,
    hash       BLOB   NOT NULL,
    envelope   BLOB,                       -- until acknowledged
    PRIMARY KEY (device, generation, epoch, seq)
);
CREATE INDEX sealings_message ON sealings (device, trade, idx);

-- What applications' messages back ends have not acknowledged.
CREATE TABLE inbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    device   BLOB   NOT NULL,
    trade    BLOB   NOT NULL,
    idx      INTEGER NOT NULL,
    service  TEXT   NOT NULL,
    at       INTEGER NOT NULL,
    acked_at INTEGER,
    UNIQUE (device, trade, idx)
);
CREATE INDEX inbox_waiting ON inbox (service, position) WHERE acked_at IS NULL;

CREATE TABLE api_keys (
    id         TEXT   PRIMARY KEY,
    name       TEXT   NOT NULL,
    hash       BLOB   NOT NULL,
    scopes     TEXT   NOT NULL,             -- words, separated by spaces
    services   TEXT   NOT NULL,             -- patterns, separated by spaces
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
);

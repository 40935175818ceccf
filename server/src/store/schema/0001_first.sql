-- Natural keys throughout: what may exist once is said by a key, not by code.
-- Columns named *_sealed are encrypted under the at-rest key, *_tag are keyed hashes.
-- Times are unix seconds.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE server_keys (
    sequence  INTEGER PRIMARY KEY,
    statement BLOB    NOT NULL
);

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    caller  TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    device  BLOB,
    subject TEXT    NOT NULL
);

CREATE TABLE ek_certificates (
    id       TEXT    PRIMARY KEY,         -- SHA-256 of the certificate
    kind     TEXT    NOT NULL,            -- root, intermediate
    der      BLOB    NOT NULL,
    added_at INTEGER NOT NULL
);

CREATE TABLE codes (
    id         TEXT    PRIMARY KEY,       -- names the code to people
    tag        BLOB    NOT NULL UNIQUE,
    note       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER,
    used_at    INTEGER,
    used_by    BLOB
);

-- Serials that the operator expects: each admits its device once.
CREATE TABLE registrations (
    serial_tag       BLOB    PRIMARY KEY,
    serial_sealed    BLOB    NOT NULL,
    user_info_sealed BLOB    NOT NULL,
    created_at       INTEGER NOT NULL
);

-- Server nonces of challenges that were answered, until they expire by themselves.
CREATE TABLE nonces (
    nonce      BLOB    PRIMARY KEY,
    expires_at INTEGER NOT NULL
);

-- Enrolments in progress.
CREATE TABLE enrolments (
    enrolment         BLOB    PRIMARY KEY,
    serial_tag        BLOB    NOT NULL,
    m1_hash           BLOB    NOT NULL UNIQUE,
    m1                BLOB    NOT NULL,   -- encrypted to the server by the device
    m2                BLOB    NOT NULL,
    credential_sealed BLOB    NOT NULL,
    admission         TEXT    NOT NULL,   -- code:ID, listed, by-hand, proof
    assurance         TEXT    NOT NULL,
    verdict_sealed    BLOB    NOT NULL,
    device            BLOB,               -- from here on since M4
    generation        INTEGER,
    m3                BLOB,
    m4                BLOB,
    chain_sealed      BLOB,
    created_at        INTEGER NOT NULL
);
CREATE INDEX enrolments_serial ON enrolments (serial_tag, created_at);
CREATE INDEX enrolments_age ON enrolments (created_at);

-- Enrolments that ended with a device: the same M5 may ask again how it stands.
CREATE TABLE grants (
    enrolment   BLOB    PRIMARY KEY,
    device      BLOB    NOT NULL,
    generation  INTEGER NOT NULL,
    m5_hash     BLOB    NOT NULL,
    key_sealed  BLOB    NOT NULL,
    UNIQUE (device, generation)
);

CREATE TABLE devices (
    device           BLOB    PRIMARY KEY,
    serial_tag       BLOB    NOT NULL,
    serial_sealed    BLOB    NOT NULL,
    generation       INTEGER NOT NULL,
    state            TEXT    NOT NULL,    -- awaiting, active, quarantined, revoked
    assurance        TEXT    NOT NULL,
    user_info_sealed BLOB    NOT NULL,
    verdict_sealed   BLOB    NOT NULL,
    alarm            TEXT,                -- the code of the last one
    enrolled_at      INTEGER NOT NULL,
    changed_at       INTEGER NOT NULL
);
-- One chip is one device, as long as it has not been revoked.
CREATE UNIQUE INDEX devices_live ON devices (serial_tag) WHERE state <> 'revoked';
CREATE INDEX devices_serial ON devices (serial_tag);
CREATE INDEX devices_enrolled ON devices (enrolled_at, device);

-- What a device can be found by.
CREATE TABLE device_terms (
    term_tag BLOB NOT NULL,
    device   BLOB NOT NULL,
    PRIMARY KEY (term_tag, device)
);
CREATE INDEX device_terms_device ON device_terms (device);

-- What was agreed at enrolment, and after each rotation.
CREATE TABLE bonds (
    device       BLOB    NOT NULL,
    generation   INTEGER NOT NULL,
    keyset       INTEGER NOT NULL,
    signing_algorithm INTEGER NOT NULL,   -- COSE: -7, -37, -257
    signing      BLOB    NOT NULL,        -- SubjectPublicKeyInfo
    decryption_algorithm INTEGER NOT NULL, -- COSE: -25, -40, -41
    decryption   BLOB    NOT NULL,        -- SubjectPublicKeyInfo
    serial_key   BLOB    NOT NULL,        -- key id
    ak_public    BLOB,                    -- TPMT_PUBLIC; nothing for a token, like the Names
    srk_name     BLOB,
    signing_name BLOB,
    enrolled_at  INTEGER NOT NULL,
    PRIMARY KEY (device, generation, keyset)
);

-- CK_e of the epoch that is open, CK_0 before the first.
CREATE TABLE chains (
    device     BLOB    PRIMARY KEY,
    generation INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    key_sealed BLOB    NOT NULL
);

CREATE TABLE epochs (
    device        BLOB    NOT NULL,
    generation    INTEGER NOT NULL,
    epoch         INTEGER NOT NULL,
    sequence      INTEGER NOT NULL,
    hash          BLOB    NOT NULL,
    epoch_key     BLOB,                   -- these four as long as the epoch's secret is of use
    kem           BLOB,
    p256_id       BLOB,
    kem_id        BLOB,
    upward        BLOB,                   -- of a closed epoch, wrapped under its secret
    clock_ms      INTEGER,
    reset_count   INTEGER,
    restart_count INTEGER,
    answer        BLOB    NOT NULL,
    seq_down      INTEGER NOT NULL,       -- the last one given out
    opened_at     INTEGER NOT NULL,
    PRIMARY KEY (device, generation, epoch)
);

-- Envelopes from devices, with the answer that each got.
CREATE TABLE uplinks (
    device     BLOB    NOT NULL,
    generation INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    hash       BLOB    NOT NULL,
    answer     BLOB    NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (device, generation, epoch, seq)
);

CREATE TABLE trades (
    device       BLOB    NOT NULL,
    trade        BLOB    NOT NULL,
    service      TEXT    NOT NULL,
    stage        TEXT    NOT NULL,
    state_sealed BLOB    NOT NULL,
    opened_at    INTEGER NOT NULL,
    changed_at   INTEGER NOT NULL,
    PRIMARY KEY (device, trade)
);
CREATE INDEX trades_opened ON trades (opened_at, device, trade);

-- One row for every index of either direction of a trade.
CREATE TABLE messages (
    device     BLOB    NOT NULL,
    trade      BLOB    NOT NULL,
    direction  INTEGER NOT NULL,
    idx        INTEGER NOT NULL,
    row_sealed BLOB    NOT NULL,
    at         INTEGER NOT NULL,
    queued     INTEGER,                   -- downward, until acknowledged: its place in the queue
    PRIMARY KEY (device, trade, direction, idx)
);
CREATE UNIQUE INDEX messages_queue ON messages (device, queued) WHERE queued IS NOT NULL;

-- What a message was sealed to last, until it is acknowledged.
CREATE TABLE sealings (
    device     BLOB    NOT NULL,
    trade      BLOB    NOT NULL,
    idx        INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    envelope   BLOB    NOT NULL,
    PRIMARY KEY (device, trade, idx),
    UNIQUE (device, generation, epoch, seq)
);

-- Applications' messages, for back ends, in the order in which they counted.
CREATE TABLE inbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    device   BLOB    NOT NULL,
    trade    BLOB    NOT NULL,
    idx      INTEGER NOT NULL,
    service  TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    acked_at INTEGER,
    UNIQUE (device, trade, idx)
);
CREATE INDEX inbox_waiting ON inbox (position) WHERE acked_at IS NULL;
CREATE INDEX inbox_device ON inbox (device) WHERE acked_at IS NULL;

CREATE TABLE api_keys (
    id         TEXT    PRIMARY KEY,
    name       TEXT    NOT NULL,
    hash       BLOB    NOT NULL,
    scopes     TEXT    NOT NULL,          -- words, separated by spaces
    services   TEXT    NOT NULL,          -- patterns, separated by spaces
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
);

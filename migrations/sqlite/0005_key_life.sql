-- The life of keys: second secrets, restrictions, suspension, rotation; findings; from where keys are used.
-- Times are Unix seconds. Secrets: digests only.

ALTER TABLE organization ADD COLUMN key_policy TEXT NOT NULL DEFAULT '{}';
ALTER TABLE project ADD COLUMN key_policy TEXT NOT NULL DEFAULT '{}';

-- `secret_created_at` is when the secret in force was made; a null is the key's own time.
ALTER TABLE api_key ADD COLUMN secret_created_at INTEGER;
ALTER TABLE api_key ADD COLUMN former_digest BLOB;
ALTER TABLE api_key ADD COLUMN former_redacted TEXT;
ALTER TABLE api_key ADD COLUMN former_expires_at INTEGER;
ALTER TABLE api_key ADD COLUMN is_decoy INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_key ADD COLUMN bounds TEXT NOT NULL DEFAULT '{}';
ALTER TABLE api_key ADD COLUMN browser_use TEXT NOT NULL DEFAULT '"refuse"';
ALTER TABLE api_key ADD COLUMN suspension TEXT;
ALTER TABLE api_key ADD COLUMN rotation TEXT;
ALTER TABLE api_key ADD COLUMN undelivered TEXT;
CREATE UNIQUE INDEX api_key_former_digest ON api_key (former_digest);

CREATE TABLE finding (
    id          TEXT PRIMARY KEY NOT NULL,
    kind        TEXT NOT NULL,
    severity    TEXT NOT NULL,
    first_at    INTEGER NOT NULL,
    last_at     INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    project_id  TEXT,
    key_id      TEXT,
    address     TEXT,
    details     TEXT NOT NULL
) STRICT;
CREATE INDEX finding_last ON finding (last_at, id);
CREATE INDEX finding_key ON finding (key_id, last_at);

-- What a key did from an address in an hour. Outlives the key: an incident asks for it.
CREATE TABLE key_use (
    key_id      TEXT NOT NULL,
    hour        INTEGER NOT NULL,
    address     TEXT NOT NULL,
    calls       INTEGER NOT NULL,
    refused     INTEGER NOT NULL,
    first_at    INTEGER NOT NULL,
    last_at     INTEGER NOT NULL,
    user_agent  TEXT,
    model       TEXT,
    PRIMARY KEY (key_id, hour, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX key_use_hour ON key_use (hour);

CREATE TABLE key_last_use (
    key_id      TEXT PRIMARY KEY NOT NULL,
    at          INTEGER NOT NULL,
    address     TEXT NOT NULL,
    user_agent  TEXT,
    model       TEXT
) STRICT, WITHOUT ROWID;

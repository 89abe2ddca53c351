-- Incidents of exposed keys, and the secrets of keys that are gone: a late report of one is told from a stranger's.
-- Times are Unix seconds. Secrets: digests only.

CREATE TABLE incident (
    sequence         INTEGER PRIMARY KEY NOT NULL,
    id               TEXT NOT NULL UNIQUE,
    key_id           TEXT NOT NULL,
    found_at         INTEGER NOT NULL,
    closed_at        INTEGER,
    body             TEXT NOT NULL,
    report           TEXT,
    report_markdown  TEXT
) STRICT;
CREATE INDEX incident_key ON incident (key_id);
CREATE INDEX incident_open ON incident (sequence) WHERE closed_at IS NULL;

-- A row a secret: the key as it was at the secret's end, in the columns of `api_key`.
CREATE TABLE former_secret (
    sequence            INTEGER PRIMARY KEY AUTOINCREMENT,
    ended_at            INTEGER NOT NULL,
    secret              BLOB NOT NULL UNIQUE,
    id                  TEXT NOT NULL,
    kind                TEXT NOT NULL,
    project_id          TEXT,
    service_account_id  TEXT,
    name                TEXT NOT NULL,
    digest              BLOB NOT NULL,
    redacted            TEXT NOT NULL,
    created_at          INTEGER NOT NULL,
    secret_created_at   INTEGER,
    created_by          TEXT,
    expires_at          INTEGER,
    former_digest       BLOB,
    former_redacted     TEXT,
    former_expires_at   INTEGER,
    rates               TEXT NOT NULL,
    bounds              TEXT NOT NULL,
    browser_use         TEXT NOT NULL,
    suspension          TEXT,
    rotation            TEXT,
    undelivered         TEXT,
    is_decoy            INTEGER NOT NULL
) STRICT;
CREATE INDEX former_secret_key ON former_secret (id);

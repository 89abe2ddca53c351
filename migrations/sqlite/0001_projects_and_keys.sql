-- Organization, projects, service accounts, keys, audit events, owners of objects, sealed values.
-- Times are Unix seconds. Secrets: digests and sealed values only.

CREATE TABLE organization (
    id          TEXT PRIMARY KEY NOT NULL,
    name        TEXT NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE project (
    id               TEXT PRIMARY KEY NOT NULL,
    name             TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    archived_at      INTEGER,
    is_default       INTEGER NOT NULL,
    synonyms         TEXT NOT NULL,
    external_key_id  TEXT,
    residency        TEXT
) STRICT;

CREATE TABLE service_account (
    id          TEXT PRIMARY KEY NOT NULL,
    project_id  TEXT NOT NULL REFERENCES project (id),
    name        TEXT NOT NULL,
    role        TEXT NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE api_key (
    id                  TEXT PRIMARY KEY NOT NULL,
    kind                TEXT NOT NULL,
    project_id          TEXT REFERENCES project (id),
    service_account_id  TEXT REFERENCES service_account (id) ON DELETE CASCADE,
    name                TEXT NOT NULL,
    digest              BLOB NOT NULL UNIQUE,
    redacted            TEXT NOT NULL,
    created_at          INTEGER NOT NULL,
    created_by          TEXT,
    expires_at          INTEGER
) STRICT;
CREATE INDEX api_key_service_account ON api_key (service_account_id);

CREATE TABLE audit_event (
    sequence      INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL UNIQUE,
    kind          TEXT NOT NULL,
    effective_at  INTEGER NOT NULL,
    actor_id      TEXT,
    project_id    TEXT,
    body          TEXT NOT NULL
) STRICT;

CREATE TABLE object_owner (
    object_id   TEXT PRIMARY KEY NOT NULL,
    project_id  TEXT NOT NULL,
    family      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sealed (
    name           TEXT PRIMARY KEY NOT NULL,
    master_key_id  TEXT NOT NULL,
    bytes          BLOB NOT NULL
) STRICT;

-- Upstreams made over the API, their keys, projects' policies, rotations of keys.
-- Times are Unix seconds. Secrets: sealed under the data key only, each bound to its table, row, address and version;
-- the data key itself is a row of `sealed`.

CREATE TABLE upstream (
    id                 TEXT PRIMARY KEY NOT NULL,
    name               TEXT NOT NULL UNIQUE,
    url                TEXT NOT NULL,
    organization       TEXT,
    project            TEXT,
    is_enabled         INTEGER NOT NULL,
    -- The Administration API: a project of the upstream, and a key, sealed or by the name of its source.
    admin_project      TEXT,
    admin_source       TEXT,
    admin_redacted     TEXT,
    admin_data_key_id  TEXT,
    admin_version      INTEGER,
    admin_bytes        BLOB,
    rotate_every_days  INTEGER,
    created_at         INTEGER NOT NULL
) STRICT;

CREATE TABLE upstream_key (
    id               TEXT PRIMARY KEY NOT NULL,
    upstream_id      TEXT NOT NULL REFERENCES upstream (id) ON DELETE CASCADE,
    name             TEXT NOT NULL,
    state            TEXT NOT NULL,
    -- Sealed, or the name of its source.
    source           TEXT,
    redacted         TEXT,
    data_key_id      TEXT,
    version          INTEGER,
    bytes            BLOB,
    -- Ids of the upstream's.
    service_account  TEXT,
    upstream_key_id  TEXT,
    created_at       INTEGER NOT NULL
) STRICT;

CREATE INDEX upstream_key_upstream ON upstream_key (upstream_id);

CREATE TABLE upstream_policy (
    project_id   TEXT PRIMARY KEY NOT NULL REFERENCES project (id),
    is_weighted  INTEGER NOT NULL,
    -- JSON: [[upstream id, weight], …]
    members      TEXT NOT NULL
) STRICT;

CREATE TABLE upstream_rotation (
    id            TEXT PRIMARY KEY NOT NULL,
    upstream_id   TEXT NOT NULL REFERENCES upstream (id) ON DELETE CASCADE,
    state         TEXT NOT NULL,
    old_key       TEXT NOT NULL,
    new_key       TEXT,
    account_name  TEXT NOT NULL,
    started_at    INTEGER NOT NULL,
    changed_at    INTEGER NOT NULL,
    message       TEXT
) STRICT;

CREATE INDEX upstream_rotation_upstream ON upstream_rotation (upstream_id);

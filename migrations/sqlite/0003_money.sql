-- Limits, accounts and leases; usage rows and their sums; alerts, webhooks, what waits to be told; the operator's prices.
-- Amounts are nano-dollars. Times are Unix seconds. Secrets: the webhooks' sealed ones only.

ALTER TABLE project ADD COLUMN money TEXT NOT NULL DEFAULT '{}';
ALTER TABLE project ADD COLUMN rates TEXT NOT NULL DEFAULT '{}';
ALTER TABLE api_key ADD COLUMN rates TEXT NOT NULL DEFAULT '{}';

CREATE TABLE spend_limit (
    id            TEXT PRIMARY KEY NOT NULL,
    scope_kind    TEXT NOT NULL,
    scope_id      TEXT NOT NULL,
    period        TEXT NOT NULL,
    amount        INTEGER NOT NULL,
    calls_max     INTEGER,
    is_shadow     INTEGER NOT NULL,
    near_limit    TEXT NOT NULL,
    raise_amount  INTEGER,
    raise_until   INTEGER,
    created_at    INTEGER NOT NULL
) STRICT;

-- What a limit counts in one window: for a limit for each end user, run or tag, an account each.
CREATE TABLE spend_account (
    id          INTEGER PRIMARY KEY NOT NULL,
    limit_id    TEXT NOT NULL REFERENCES spend_limit (id) ON DELETE CASCADE,
    scope_kind  TEXT NOT NULL,
    scope_id    TEXT NOT NULL,
    starts_at   INTEGER NOT NULL,
    ends_at     INTEGER NOT NULL,
    settled     INTEGER NOT NULL,
    leased      INTEGER NOT NULL,
    calls       INTEGER NOT NULL,
    UNIQUE (limit_id, scope_kind, scope_id, starts_at, ends_at)
) STRICT;
-- A row finds the accounts that it is settled in by its scopes.
CREATE INDEX spend_account_scope ON spend_account (scope_kind, scope_id, ends_at);
-- Accounts of windows long past are cleared away.
CREATE INDEX spend_account_end ON spend_account (ends_at);

-- One life of a process.
CREATE TABLE ledger_epoch (
    epoch       INTEGER PRIMARY KEY AUTOINCREMENT,
    entered_at  INTEGER NOT NULL,
    is_fenced   INTEGER NOT NULL
) STRICT;

CREATE TABLE lease (
    account    INTEGER NOT NULL REFERENCES spend_account (id) ON DELETE CASCADE,
    epoch      INTEGER NOT NULL,
    amount     INTEGER NOT NULL,
    watermark  INTEGER NOT NULL,
    PRIMARY KEY (account, epoch)
) STRICT, WITHOUT ROWID;

-- What a fenced process may have spent: at most one an account and life.
CREATE TABLE estimate (
    id          TEXT PRIMARY KEY NOT NULL,
    account     INTEGER NOT NULL REFERENCES spend_account (id) ON DELETE CASCADE,
    epoch       INTEGER NOT NULL,
    amount      INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    UNIQUE (account, epoch)
) STRICT;

-- Numbers that stand for projects, for what usage is told apart by, and for lines of bills: rows and sums would be
-- several times as large with the words in them. They outlive what they are named after, as usage does.
CREATE TABLE report_project (
    number  INTEGER PRIMARY KEY NOT NULL,
    id      TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE usage_series (
    number    INTEGER PRIMARY KEY NOT NULL,
    project   INTEGER NOT NULL,
    key_id    TEXT NOT NULL,
    kind      TEXT NOT NULL,
    endpoint  TEXT NOT NULL,
    model     TEXT NOT NULL,
    tier      TEXT NOT NULL,
    UNIQUE (key_id, project, kind, endpoint, model, tier)
) STRICT;

CREATE TABLE cost_series (
    number  INTEGER PRIMARY KEY NOT NULL,
    series  INTEGER NOT NULL,
    item    TEXT NOT NULL,
    UNIQUE (series, item)
) STRICT;

-- The journal: the settled requests of each batch of the ledger's, as bytes (crates/backends/src/sqlite/rows.rs). What is
-- asked of them every day stands in the sums; row by row they are read for checks and exports. `began_min` and
-- `began_max` are the times of all rows of the batch. The bytes come last, so that the rest is read without them.
CREATE TABLE usage_batch (
    sequence   INTEGER PRIMARY KEY NOT NULL,
    epoch      INTEGER NOT NULL,
    began_min  INTEGER NOT NULL,
    began_max  INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    cost       INTEGER NOT NULL,
    rows       BLOB NOT NULL
) STRICT;

-- Requests that were charged at their worst case, one row each, also when they have been lowered since: these are listed
-- and looked for one by one, and not in the batches. `project` repeats the series'.
CREATE TABLE usage_row (
    sequence    INTEGER PRIMARY KEY NOT NULL,
    id          TEXT NOT NULL UNIQUE,
    series      INTEGER NOT NULL,
    project     INTEGER NOT NULL,
    began_at    INTEGER NOT NULL,
    settled_at  INTEGER NOT NULL,
    end_user    TEXT,
    run         TEXT,
    tag         TEXT,
    images      INTEGER NOT NULL,
    cost        INTEGER NOT NULL,
    certainty   TEXT NOT NULL,
    quantities  TEXT NOT NULL,
    lines       TEXT NOT NULL
) STRICT;
CREATE INDEX usage_row_estimated ON usage_row (sequence) WHERE certainty = 'estimated';

-- What one end user, run or tag (`kind` 0, 1, 2) spent in an hour: asked when a limit's account is made. `day` counts
-- from 1970-01-01, `hour` from its midnight; `name` is packed as in the journal.
CREATE TABLE name_sum (
    day      INTEGER NOT NULL,
    project  INTEGER NOT NULL,
    kind     INTEGER NOT NULL,
    name     BLOB NOT NULL,
    hour     INTEGER NOT NULL,
    amount   INTEGER NOT NULL,
    calls    INTEGER NOT NULL,
    PRIMARY KEY (day, project, kind, name, hour)
) STRICT, WITHOUT ROWID;

-- Names of rows in batches up to this one are in the sums; those of later ones are added together, when they are many.
CREATE TABLE name_fold (
    until  INTEGER NOT NULL
) STRICT;
INSERT INTO name_fold (until) VALUES (0);

-- Sums by minute, hour and day (`width`, seconds), of costs by hour and day. The key's order keeps what is written now in few pages, and a
-- project's part of a bucket together.
CREATE TABLE usage_sum (
    width                 INTEGER NOT NULL,
    starts_at             INTEGER NOT NULL,
    project               INTEGER NOT NULL,
    series                INTEGER NOT NULL,
    requests              INTEGER NOT NULL,
    images                INTEGER NOT NULL,
    cost                  INTEGER NOT NULL,
    text_input            INTEGER NOT NULL,
    text_cached_input     INTEGER NOT NULL,
    text_cache_write_30m  INTEGER NOT NULL,
    text_cache_write_12h  INTEGER NOT NULL,
    text_output           INTEGER NOT NULL,
    audio_input           INTEGER NOT NULL DEFAULT 0,
    audio_cached_input    INTEGER NOT NULL DEFAULT 0,
    audio_cache_write     INTEGER NOT NULL DEFAULT 0,
    audio_output          INTEGER NOT NULL DEFAULT 0,
    image_input           INTEGER NOT NULL DEFAULT 0,
    image_cached_input    INTEGER NOT NULL DEFAULT 0,
    image_output          INTEGER NOT NULL DEFAULT 0,
    audio_ms              INTEGER NOT NULL DEFAULT 0,
    characters            INTEGER NOT NULL DEFAULT 0,
    video_ms              INTEGER NOT NULL DEFAULT 0,
    web_search_low        INTEGER NOT NULL DEFAULT 0,
    web_search_medium     INTEGER NOT NULL DEFAULT 0,
    web_search_high       INTEGER NOT NULL DEFAULT 0,
    file_search           INTEGER NOT NULL DEFAULT 0,
    container_session     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (width, starts_at, project, series)
) STRICT, WITHOUT ROWID;

CREATE TABLE cost_sum (
    width      INTEGER NOT NULL,
    starts_at  INTEGER NOT NULL,
    project    INTEGER NOT NULL,
    series     INTEGER NOT NULL,
    quantity   INTEGER NOT NULL,
    amount     INTEGER NOT NULL,
    PRIMARY KEY (width, starts_at, project, series)
) STRICT, WITHOUT ROWID;

CREATE TABLE spend_alert (
    id              TEXT PRIMARY KEY NOT NULL,
    project_id      TEXT REFERENCES project (id),
    threshold       INTEGER NOT NULL,
    recipients      TEXT NOT NULL,
    subject_prefix  TEXT,
    created_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX spend_alert_project ON spend_alert (project_id, threshold);

-- An alert fires once a month: this row is the promise.
CREATE TABLE alert_firing (
    alert      TEXT NOT NULL REFERENCES spend_alert (id) ON DELETE CASCADE,
    starts_at  INTEGER NOT NULL,
    PRIMARY KEY (alert, starts_at)
) STRICT, WITHOUT ROWID;

-- What alerts are held against: a month's spending of each project, and of the organization (`project` is empty).
CREATE TABLE month_spending (
    project    TEXT NOT NULL,
    starts_at  INTEGER NOT NULL,
    amount     INTEGER NOT NULL,
    PRIMARY KEY (project, starts_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE webhook (
    id             TEXT PRIMARY KEY NOT NULL,
    name           TEXT NOT NULL,
    url            TEXT NOT NULL,
    master_key_id  TEXT NOT NULL,
    secret         BLOB NOT NULL,
    created_at     INTEGER NOT NULL
) STRICT;

CREATE TABLE notice (
    id          TEXT PRIMARY KEY NOT NULL,
    kind        TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    payload     TEXT NOT NULL
) STRICT;

CREATE TABLE delivery (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    notice_id       TEXT NOT NULL REFERENCES notice (id),
    channel         TEXT NOT NULL,
    webhook_id      TEXT,
    recipients      TEXT,
    subject_prefix  TEXT,
    state           TEXT NOT NULL,
    attempts        INTEGER NOT NULL,
    next_at         INTEGER NOT NULL,
    last_error      TEXT
) STRICT;
CREATE INDEX delivery_due ON delivery (state, next_at);

CREATE TABLE price_override (
    model  TEXT PRIMARY KEY NOT NULL,
    toml   TEXT NOT NULL
) STRICT;

-- Guards of projects, and what people say about findings.

ALTER TABLE project ADD COLUMN guards TEXT NOT NULL DEFAULT '{}';

-- What somebody said: right or wrong, why, when, and with which key.
ALTER TABLE finding ADD COLUMN triage TEXT;
CREATE INDEX finding_project ON finding (project_id, last_at);

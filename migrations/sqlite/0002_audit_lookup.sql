-- The audit log is found by object, type, project, actor and time without reading all of it; owners of objects have
-- the time at which they were written down (0 where that was before this migration).

ALTER TABLE audit_event ADD COLUMN resource_id TEXT;
UPDATE audit_event SET resource_id = json_extract(body, '$."' || kind || '".id');

CREATE INDEX audit_event_resource ON audit_event (resource_id);
CREATE INDEX audit_event_kind ON audit_event (kind);
CREATE INDEX audit_event_project ON audit_event (project_id);
CREATE INDEX audit_event_actor ON audit_event (actor_id);
CREATE INDEX audit_event_time ON audit_event (effective_at);

ALTER TABLE object_owner ADD COLUMN recorded_at INTEGER NOT NULL DEFAULT 0;

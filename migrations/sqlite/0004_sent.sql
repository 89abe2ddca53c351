-- What the caller of a stored response sent where the gate set a cap of its own, as a JSON object: answers that echo it
-- later show what was sent.
ALTER TABLE object_owner ADD COLUMN sent TEXT;

-- The address of an artifact contains the path of a file, which can be longer than an entry of a B-tree (2,704 bytes).
-- A hash index takes addresses of any length; they are only ever looked up whole.
DROP INDEX app.artifacts_uri;
CREATE INDEX artifacts_uri ON app.artifacts USING hash (uri);

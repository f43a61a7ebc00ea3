-- insert --
-- Insert the commit that a run starts from, once.
INSERT INTO app.run_bases (run_id, address, ref, subdirectory, commit_id, tree_id)
VALUES (%(run_id)s, %(address)s, %(ref)s, %(subdirectory)s, %(commit)s, %(tree)s)
ON CONFLICT (run_id) DO NOTHING

-- get --
-- The commit that a run starts from.
SELECT address, subdirectory, commit_id AS commit, tree_id AS tree FROM app.run_bases WHERE run_id = %(run_id)s

-- insert_file --
-- Insert a file of the commit at a path of the plan, once.
INSERT INTO app.base_files (run_id, path, mode, content)
VALUES (%(run_id)s, %(path)s, %(mode)s, %(content)s)
ON CONFLICT (run_id, path) DO NOTHING

-- files --
-- The stored files of the commit that a run starts from.
SELECT path, mode, content FROM app.base_files WHERE run_id = %(run_id)s ORDER BY path

-- Edits of a plan may change any file of the commit, so its files are stored at the paths of every version.
COMMENT ON TABLE app.base_files IS 'the commit''s files at the paths of the plan''s versions; null where there is none';

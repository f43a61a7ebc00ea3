-- Every complete plan of a run with a repository starts from the run's commit and from the tree of its subdirectory. A
-- plan of a run without one starts from no commit.
-- source: docs/repositories.md, From a reference to a commit
SELECT c.run_id, c.version,
    'the base is ' || c.base || ', the run starts from ' || coalesce(b.commit_id, 'no commit') AS detail
FROM app.complete_plans c
LEFT JOIN app.run_bases b ON b.run_id = c.run_id
WHERE c.base::jsonb ->> 'commit' IS DISTINCT FROM b.commit_id
   OR (b.run_id IS NOT NULL AND c.base::jsonb ->> 'filesSha256' IS DISTINCT FROM encode(sha256(convert_to(
        '{"address":' || to_json(b.address) || ',"subdirectory":' || coalesce(to_json(b.subdirectory)::text, 'null')
            || ',"tree":' || to_json(b.tree_id) || '}', 'UTF8')), 'hex'))
ORDER BY c.run_id, c.version

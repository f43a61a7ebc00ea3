-- A run records the version and hash of its recipe at the start, and the recipe of that version has that hash.
-- source: hard law "Determinism" (docs/operator-guide.md)
SELECT r.id AS run_id, r.recipe_id,
    'the run says version ' || r.recipe_version || ' hash ' || r.recipe_hash
        || ', the recipe says version ' || p.version || ' hash ' || p.hash AS detail
FROM app.runs r
JOIN app.recipes p ON p.id = r.recipe_id
WHERE (r.recipe_version, r.recipe_hash) IS DISTINCT FROM (p.version, p.hash)
ORDER BY r.id

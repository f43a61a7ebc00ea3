-- A run carries the version and hash of the recipe it was admitted under: a recipe never changes beneath it.
-- source: seed §1 (determinism), reference §C5
SELECT r.id AS run_id, r.recipe_id,
    'the run says version ' || r.recipe_version || ' hash ' || r.recipe_hash
        || ', the recipe says version ' || p.version || ' hash ' || p.hash AS detail
FROM app.runs r
JOIN app.recipes p ON p.id = r.recipe_id
WHERE (r.recipe_version, r.recipe_hash) IS DISTINCT FROM (p.version, p.hash)
ORDER BY r.id

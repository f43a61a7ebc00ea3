-- A complete plan's hash is the hash of its head, and the head names the hash of each section. The version that a
-- person made has the hash of its complete plan.
-- source: docs/human-gate.md, What an approval covers
SELECT c.run_id, c.version,
    CASE WHEN v.plan_sha256 <> c.plan_sha256 THEN 'the edited version has the hash ' || v.plan_sha256
         ELSE 'the sections do not hash to ' || c.plan_sha256 END AS detail
FROM app.complete_plans c
LEFT JOIN app.plan_versions v ON v.run_id = c.run_id AND v.version = c.version
WHERE v.plan_sha256 <> c.plan_sha256
   OR c.plan_sha256 <> encode(sha256(convert_to(c.head, 'UTF8')), 'hex')
   OR c.head <> '{"base":"' || encode(sha256(convert_to(c.base, 'UTF8')), 'hex')
        || '","changes":"' || encode(sha256(convert_to(c.changes, 'UTF8')), 'hex')
        || '","policy":"' || encode(sha256(convert_to(c.policy, 'UTF8')), 'hex')
        || coalesce('","push":"' || encode(sha256(convert_to(c.push, 'UTF8')), 'hex'), '')
        || '","recipe":"' || encode(sha256(convert_to(c.recipe, 'UTF8')), 'hex')
        || coalesce('","setup":"' || encode(sha256(convert_to(c.setup, 'UTF8')), 'hex'), '')
        || '","tasks":"' || encode(sha256(convert_to(c.tasks, 'UTF8')), 'hex') || '","v":1}'
ORDER BY c.run_id, c.version

-- record --
-- Store a person as they were identified last. What is stored already is written again once a minute.
INSERT INTO access.people (name, roles, groups, identified_by)
VALUES (%(name)s, %(roles)s, %(groups)s, %(identified_by)s)
ON CONFLICT (name) DO UPDATE SET roles = excluded.roles, groups = excluded.groups,
    identified_by = excluded.identified_by, seen_at = clock_timestamp()
WHERE (people.roles, people.groups, people.identified_by)
    IS DISTINCT FROM (excluded.roles, excluded.groups, excluded.identified_by)
    OR people.seen_at < clock_timestamp() - interval '1 minute'

-- get --
-- The roles and groups of a name: those of every token that is not revoked, and those of the person.
SELECT coalesce(array_agg(DISTINCT role) FILTER (WHERE role IS NOT NULL), '{}') AS roles,
    ARRAY(
        SELECT unnest(groups) FROM access.api_tokens WHERE owner = %(name)s AND revoked_at IS NULL
        UNION
        SELECT unnest(groups) FROM access.people WHERE name = %(name)s
    ) AS groups
FROM (
    SELECT unnest(roles) AS role FROM access.api_tokens WHERE owner = %(name)s AND revoked_at IS NULL
    UNION ALL
    SELECT unnest(roles) FROM access.people WHERE name = %(name)s
) AS given

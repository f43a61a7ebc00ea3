-- recorded_votes --
-- The approvals that the decision about a run's plan counts, the first one first.
SELECT person, channel, plan_sha256, voted_at, record FROM app.approval_votes WHERE run_id = %(run_id)s
ORDER BY voted_at, person

-- rules --
-- The approval rules of runs, and what they depend on at this moment: the newest version's approvers, the authors, and
-- whether requests need a token. A submission without a person, or none, means that an author is unknown.
SELECT run.id AS run_id, run.approval_rules AS rules, run.policy_id || '@' || run.policy_version AS policy_name,
       (SELECT newest.content -> 'approvers' FROM app.policies newest
        WHERE newest.id = run.policy_id ORDER BY newest.version DESC LIMIT 1) AS approvers_now,
       ARRAY(SELECT DISTINCT made.person FROM app.submissions made
             WHERE made.intent_id = run.intent_id AND made.person IS NOT NULL) AS submitters,
       ARRAY(SELECT DISTINCT edited.edited_by FROM app.plan_versions edited WHERE edited.run_id = run.id) AS editors,
       ARRAY(SELECT DISTINCT request.requested_by FROM app.change_requests request
             WHERE request.run_id = run.id) AS requesters,
       (SELECT count(DISTINCT made.action) = 2 AND bool_and(made.person IS NOT NULL) FROM app.submissions made
        WHERE made.intent_id = run.intent_id) AS are_authors_known,
       EXISTS (SELECT FROM access.api_tokens) OR EXISTS (SELECT FROM access.people) AS needs_token
FROM app.runs run WHERE run.id = ANY(%(run_ids)s)

-- votes --
-- The people who approved the plans that runs have now, in order, each once, with what their tokens and their last
-- identification allow at this moment.
SELECT vote.run_id, vote.actor, min(vote.created_at) AS created_at,
       EXISTS (SELECT FROM access.api_tokens token WHERE token.owner = vote.actor AND token.revoked_at IS NULL
               AND 'approver' = ANY(token.roles))
           OR EXISTS (SELECT FROM access.people person
                      WHERE person.name = vote.actor AND 'approver' = ANY(person.roles)) AS is_approver,
       ARRAY(SELECT unnest(token.groups) FROM access.api_tokens token
             WHERE token.owner = vote.actor AND token.revoked_at IS NULL
             UNION
             SELECT unnest(person.groups) FROM access.people person WHERE person.name = vote.actor) AS groups
FROM app.human_gates gate
JOIN app.human_interactions vote ON vote.run_id = gate.run_id AND vote.gate_key = gate.gate_key
WHERE gate.run_id = ANY(%(run_ids)s) AND gate.purpose = 'approve-plan' AND vote.kind = 'approve'
  AND vote.plan_sha256 = coalesce(
      (SELECT edited.plan_sha256 FROM app.plan_versions edited
       WHERE edited.run_id = gate.run_id ORDER BY edited.version DESC LIMIT 1), gate.plan_sha256)
GROUP BY vote.run_id, vote.actor
ORDER BY min(vote.created_at), vote.actor

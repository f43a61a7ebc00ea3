-- The text that a search for gates and runs compares: one row per run, in lower case. It is derived from other tables by
-- triggers, so that processes of earlier releases, which run beside newer ones during a rolling upgrade, keep it too.

CREATE TABLE app.run_search (
    run_id text PRIMARY KEY REFERENCES app.runs (id),
    content text NOT NULL
);
COMMENT ON TABLE app.run_search IS
    'derived: goal, ids, recipe, policy, tenant, partition, submitters of a run, and the paths that its plans change';

CREATE VIEW app.run_search_text AS
SELECT run.id AS run_id, lower(concat_ws(E'\n', left(intent.goal, 8000), run.id, run.intent_id,
    recipe.name || '@' || recipe.version, run.policy_id, run.tenant_id, run.queue_partition_key,
    (SELECT string_agg(DISTINCT made.person, E'\n') FROM app.submissions made WHERE made.intent_id = run.intent_id),
    (SELECT string_agg(DISTINCT change ->> 'path', E'\n') FROM app.complete_plans complete
     CROSS JOIN jsonb_array_elements(complete.changes::jsonb) AS change WHERE complete.run_id = run.id))) AS content
FROM app.runs run
JOIN app.intents intent ON intent.id = run.intent_id
JOIN app.recipes recipe ON recipe.id = run.recipe_id;
COMMENT ON VIEW app.run_search_text IS 'what app.run_search has to contain';

INSERT INTO app.run_search (run_id, content) SELECT run_id, content FROM app.run_search_text;

CREATE FUNCTION app.index_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO app.run_search (run_id, content)
    SELECT run_id, content FROM app.run_search_text WHERE run_id = CASE TG_TABLE_NAME
        WHEN 'runs' THEN to_jsonb(NEW) ->> 'id'
        WHEN 'complete_plans' THEN to_jsonb(NEW) ->> 'run_id'
        ELSE (SELECT id FROM app.runs WHERE workflow_id = to_jsonb(NEW) ->> 'intent_id') END
    ON CONFLICT (run_id) DO UPDATE SET content = excluded.content WHERE run_search.content <> excluded.content;
    RETURN NULL;
END $$;
CREATE TRIGGER index_run AFTER INSERT ON app.runs FOR EACH ROW EXECUTE FUNCTION app.index_run();
CREATE TRIGGER index_run AFTER INSERT ON app.submissions FOR EACH ROW EXECUTE FUNCTION app.index_run();
CREATE TRIGGER index_run AFTER INSERT ON app.complete_plans FOR EACH ROW EXECUTE FUNCTION app.index_run();

CREATE VIEW app.open_gates AS
SELECT gate.run_id, gate.gate_key, gate.purpose, gate.plan_sha256, gate.on_timeout, gate.form, gate.created_at,
    gate.deadline_at, coalesce(gate.deadline_at, 'infinity') AS due_at, run.workflow_id, run.intent_id, run.status,
    run.tenant_id, run.recipe_id, run.approval_rules
FROM app.runs run
JOIN app.human_gates gate ON gate.run_id = run.id
WHERE run.status IN ('queued', 'running', 'waiting_input', 'repairing')
  AND CASE gate.purpose
      WHEN 'approve-plan' THEN run.next_action IS DISTINCT FROM 'PLAN'
          AND NOT EXISTS (SELECT FROM app.plan_approvals made WHERE made.run_id = run.id)
      ELSE NOT EXISTS (
          SELECT FROM app.gate_answers made WHERE made.run_id = run.id AND made.gate_key = gate.gate_key)
      END;
COMMENT ON VIEW app.open_gates IS
    'undecided gates of runs that have not ended, without those whose plan is being changed; due_at: infinity without a deadline';

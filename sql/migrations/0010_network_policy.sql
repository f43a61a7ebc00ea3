-- A recipe may permit or deny its tasks the network; null leaves it to the deployment (SBX_DEFAULT_NET).
ALTER TABLE app.recipes ADD COLUMN net boolean;
COMMENT ON COLUMN app.recipes.net IS 'true: tasks may use the network; false: never; null: SBX_DEFAULT_NET';

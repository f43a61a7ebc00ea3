-- The fields of the form in an intent's constraints, in the order of the first submission: jsonb does not keep it.
ALTER TABLE app.intents ADD COLUMN form_fields text[];
COMMENT ON COLUMN app.intents.form_fields IS 'names of the members of constraints.askUser.form, in order; null without such a form';

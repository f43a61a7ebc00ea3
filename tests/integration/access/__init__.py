"""Who may call what: every operation of the API with every kind of caller."""

"""Rules without input or output: identities, statuses, policy, budgets, canonical JSON."""

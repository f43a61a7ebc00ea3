"""Plans by coding agents: questions, rounds of requested changes, and the terms of complete plans."""

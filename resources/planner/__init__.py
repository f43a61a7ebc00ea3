"""Who plans: one port, and the planners behind it."""

"""Commands about intents, runs, gates, rules and tokens: one module per command or group of commands."""

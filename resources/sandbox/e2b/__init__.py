"""The e2b provider: every command in a sandbox of its own at E2B (or whoever speaks its protocol)."""

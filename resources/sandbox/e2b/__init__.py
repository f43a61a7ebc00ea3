"""The e2b provider: one sandbox per command at E2B, or at another server of its protocol."""

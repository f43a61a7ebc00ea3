"""The HTTP API: doors of one line each; it validates, writes one transaction, and never runs a step."""

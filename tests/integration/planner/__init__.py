"""Planning by coding agents, with the real client, the real sandbox and the real tool server."""

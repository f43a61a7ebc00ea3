"""The local provider: each command in its own bubblewrap sandbox on this machine."""

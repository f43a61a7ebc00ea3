"""Where commands run: one port (`port.py`), and the providers behind it (mock, local, e2b)."""

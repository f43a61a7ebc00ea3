"""Execution of commands: one port (`sandbox_port.py`) and its providers (mock, local, e2b)."""

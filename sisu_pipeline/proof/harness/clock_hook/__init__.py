"""A folder for PYTHONPATH: Python runs its `sitecustomize.py` when a process starts."""

"""Rows that hold what a run produces: artifacts, live task output, patches. Imports no other store module."""

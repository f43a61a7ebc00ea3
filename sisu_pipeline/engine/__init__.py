"""Dagster's launcher, executor, storage and daemon for this project.

Private Dagster API is used in this package only; README.md lists every symbol.
"""

"""Dagster's launcher, executor, storage and daemon for this project. All private Dagster API is used here."""

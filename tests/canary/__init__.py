"""Tests that fail when a release of Dagster, DBOS or another package changes the private API in use."""

"""Dagster's web server behind the API's own rules: cross-site checks, authentication, roles."""

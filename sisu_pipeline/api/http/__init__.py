"""Parsing of requests and formatting of responses."""

"""Response models of the REST API."""

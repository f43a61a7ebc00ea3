"""Authentication, authorization and cross-site request checks."""

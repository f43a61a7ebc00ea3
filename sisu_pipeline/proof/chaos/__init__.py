"""Random faults under load, and single connection losses."""

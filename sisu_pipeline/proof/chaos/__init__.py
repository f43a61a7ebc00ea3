"""Random faults under load, and connections cut at single statements."""

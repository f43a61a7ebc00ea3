"""Groups of settings that belong together."""

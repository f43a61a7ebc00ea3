"""Read models: rows composed into responses."""

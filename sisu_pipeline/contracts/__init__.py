"""What crosses a boundary, as closed models: requests, step outputs, sandbox calls."""

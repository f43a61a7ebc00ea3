"""`sisu start`: supervision of the stack's processes, and the health checks of `sisu doctor`."""

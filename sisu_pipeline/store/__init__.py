"""What is true: plain functions over one connection, a module per noun. SQL stays in `sql/queries/`."""

"""`sisu bench`: measurements on a stack of their own; the figures come from SQL and from the processes."""

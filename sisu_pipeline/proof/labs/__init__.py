"""The labs: demos, soaks and fault injection, each with a verdict computed in SQL."""

"""Commands for many gates: decide about them, assign runs, and name substitutes."""

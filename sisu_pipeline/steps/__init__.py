"""The four steps: one module each, a pure function from what is known to a StepResult."""

"""Pages of `docs/` that are generated from the code: `python -m tests.docs_generators` rewrites them."""

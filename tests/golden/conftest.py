"""Golden runs go through the engine that `tests/integration/engine/` tests."""

from tests.integration.engine.conftest import engine, nursery, sandbox_worker, stage

__all__ = ["engine", "nursery", "sandbox_worker", "stage"]

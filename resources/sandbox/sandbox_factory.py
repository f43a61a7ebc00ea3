"""Choice of the sandbox provider. An unavailable provider is an error; no other one replaces it."""

from pathlib import Path

from resources.sandbox.e2b.e2b_settings import E2bSettings
from resources.sandbox.local.sandbox_host import LocalSettings
from resources.sandbox.local.self_test import open_local
from resources.sandbox.mock_provider import MockSandbox
from resources.sandbox.receipts import Receipts
from resources.sandbox.run_trees import RunTrees
from resources.sandbox.sandbox_port import Sandbox, SandboxUnavailable, TreeResolver, UriResolver, Wanted


def open_sandbox(
    mode: str,
    provider: str,
    *,
    home: Path,
    receipts: Receipts,
    e2b: E2bSettings | None = None,
    resolve_uri: UriResolver | None = None,
    resolve_tree: TreeResolver | None = None,
    wanted: Wanted | None = None,
    local: LocalSettings | None = None,
    hard_limits: frozenset[str] = frozenset(),
    setup_cache_mb: int = 10_240,
) -> Sandbox:
    """The sandbox of `mode` (mock, live) and, when live, `provider` (local, e2b).

    `home` is the data folder; the local provider uses `<home>/sandbox` unless `local` names another folder, and
    runs its self-test here. `wanted` returns the tasks that are still needed, by which the e2b provider
    recognizes orphaned sandboxes. `hard_limits` are those that the kernel must enforce in local sandboxes. Raises
    SandboxUnavailable.
    """
    if mode not in ("mock", "live"):
        raise SandboxUnavailable(f"SBX_MODE must be mock or live (got {mode!r})")
    if provider not in ("local", "e2b"):
        raise SandboxUnavailable(f"SBX_PROVIDER must be local or e2b (got {provider!r})")
    if mode == "mock":
        return MockSandbox(receipts)
    if provider == "local":
        return open_local(
            local or LocalSettings(home=home / "sandbox", hard_limits=hard_limits, setup_cache_mb=setup_cache_mb),
            resolve_uri,
            resolve_tree,
        )
    if e2b is None or not e2b.api_key:
        raise SandboxUnavailable("SBX_PROVIDER=e2b requires E2B_API_KEY: set it, or use SBX_PROVIDER=local")
    # Imported only where it is used: the SDK takes a third of a second.
    from resources.sandbox.e2b.e2b_provider import E2bSandbox

    return E2bSandbox(e2b, resolve_uri, wanted, RunTrees(home / "sandbox" / "trees", resolve_tree))

"""The SDK's control plane as this provider uses it. Everything here raises the SDK's own errors."""

from e2b import AsyncSandbox, SandboxInfo, SandboxQuery
from e2b.connection_config import ApiParams

from resources.sandbox.e2b.e2b_settings import E2bSettings

TASK = "sisu_task"
DEPLOYMENT = "sisu_deployment"
RUN = "sisu_run"
ATTEMPT = "sisu_attempt"
REQUEST = "sisu_request"


class Account:
    """Sandboxes of one API key."""

    def __init__(self, settings: E2bSettings) -> None:
        self.deployment = settings.deployment
        # The SDK's own retries are off: a 429 must slow down all requests of this process, not only one.
        self._params: ApiParams = {
            "api_key": settings.api_key,
            "api_url": settings.api_url,
            "sandbox_url": settings.sandbox_url,
            "debug": False,
            "retries": 0,
            "request_timeout": settings.request_timeout_s,
        }

    async def create(
        self, template: str, *, life_s: int, metadata: dict[str, str], net: bool, idempotency_key: str
    ) -> AsyncSandbox:
        """A new sandbox, or the one an earlier request with this idempotency key created."""
        return await AsyncSandbox.create(
            template,
            timeout=life_s,
            metadata={DEPLOYMENT: self.deployment, **metadata},
            allow_internet_access=net,
            idempotency_key=idempotency_key,
            **self._params,
        )

    async def connect(self, sandbox_id: str, *, life_s: int) -> AsyncSandbox:
        """An existing sandbox."""
        return await AsyncSandbox.connect(sandbox_id, timeout=life_s, **self._params)

    async def find(self, **metadata: str) -> list[SandboxInfo]:
        """Every sandbox of this deployment that also carries the metadata."""
        query = SandboxQuery(metadata={DEPLOYMENT: self.deployment, **metadata})
        pages = AsyncSandbox.list(query=query, limit=100, **self._params)
        found: list[SandboxInfo] = []
        while pages.has_next:
            found += await pages.next_items()
        return found

    async def kill(self, sandbox_id: str) -> bool:
        """End a sandbox and everything in it; False if it no longer exists."""
        return await AsyncSandbox.kill(sandbox_id, **self._params)

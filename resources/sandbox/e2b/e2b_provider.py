"""The e2b provider: one sandbox at E2B per task, created once, adopted after a crash, killed at the end."""

from pathlib import Path
from typing import Any

from resources.sandbox import evidence
from resources.sandbox.attempts_in_flight import InFlight
from resources.sandbox.e2b.account import TASK, Account
from resources.sandbox.e2b.attempt import Attempt, AttemptResources
from resources.sandbox.e2b.create_quota import Quota
from resources.sandbox.e2b.e2b_settings import E2bSettings
from resources.sandbox.e2b.leftover_cleanup import Sweeper
from resources.sandbox.e2b.provider_errors import Failed, Phase
from resources.sandbox.e2b.provider_retry import persist
from resources.sandbox.run_trees import RunTrees
from resources.sandbox.sandbox_port import ChunkSink, SandboxHealth, TaskContext, UriResolver, Wanted
from sisu_pipeline.contracts.sandbox_request import SandboxRequest, SandboxResult


class E2bSandbox:
    """The e2b sandbox provider. Belongs to one event loop at a time."""

    name = "e2b"

    def __init__(
        self,
        settings: E2bSettings,
        resolve_uri: UriResolver | None = None,
        wanted: Wanted | None = None,
        trees: RunTrees | None = None,
    ) -> None:
        self.settings = settings
        self.account = Account(settings)
        self.quota = Quota(settings.concurrency, settings.creates_per_second)
        self.sweeper = Sweeper(self.account, wanted, settings.sweep_s)
        self._resources = AttemptResources(
            settings, self.account, self.quota, self.sweeper, resolve_uri, trees or RunTrees(Path(), None)
        )
        self._in_flight = InFlight()

    async def run(self, request: SandboxRequest, context: TaskContext, on_chunk: ChunkSink) -> SandboxResult:
        """See `Sandbox.run`. With an idempotency key, a sandbox that already executes this task is adopted."""
        self.sweeper.start()
        adopted = await self._in_flight.join(request.task_key, context.idempotency_key)
        if adopted is not None:
            evidence.replay_output(adopted, on_chunk)
            return adopted
        with self._in_flight.enter(request.task_key, context.idempotency_key) as running:
            result = await Attempt(self._resources, request, context, on_chunk).run_until_killed(running)
            running.outcome.set_result(result)
            return result

    async def adopt(self, task_key: str) -> SandboxResult | None:
        """See `Sandbox.adopt`. Sandboxes of other processes are adopted by `run`, which knows the request."""
        return await self._in_flight.adopt(task_key)

    async def kill(self, task_key: str) -> bool:
        """See `Sandbox.kill`. Also kills sandboxes of other processes, whose `run` then reports the loss."""
        if self._in_flight.kill(task_key):
            return True
        found = await persist(lambda: self.account.find(**{TASK: task_key}), Phase.BOOT)
        if self._in_flight.kill(task_key):  # its execution has begun in this process meanwhile
            return True
        return any([await self.sweeper.kill(info.sandbox_id) for info in found])

    async def health(self) -> SandboxHealth:
        """Healthy if E2B accepts the API key."""
        detail: dict[str, Any] = {"provider": self.name, "deployment": self.settings.deployment}
        try:
            detail["alive"] = len(await persist(self.account.find, Phase.BOOT))
        except Failed as failed:
            return SandboxHealth(ok=False, detail={**detail, "cause": str(failed.cause), "error": str(failed)})
        return SandboxHealth(ok=True, detail={**detail, "refusedByQuota": self.quota.refusals})

    async def close(self) -> None:
        """See `Sandbox.close`."""
        await self._in_flight.drain()
        await self.sweeper.stop()

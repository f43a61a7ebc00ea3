"""Adoption or creation of the sandbox of a task, never two at once."""

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Literal

from e2b import AsyncSandbox, SandboxInfo

from resources.sandbox.e2b.account import ATTEMPT, REQUEST, RUN, TASK, Account
from resources.sandbox.e2b.create_quota import Quota
from resources.sandbox.e2b.provider_errors import Cause, Failed, Phase, cause_of
from resources.sandbox.e2b.provider_retry import PAUSES_S, persist, raise_if_cancelled, uninterrupted
from resources.sandbox.sandbox_port import RequestRefused, TaskContext
from sisu_pipeline.contracts.sandbox_request import SandboxRequest
from sisu_pipeline.domain.canonical import sha256_hex, sha256_json

How = Literal["created", "adopted", "recovered"]
"""New; left by an earlier execution of the same attempt; created by a request whose reply was lost."""

_AMBIGUOUS = frozenset({Cause.UNKNOWN, Cause.BUSY})


@dataclass(frozen=True)
class Boot:
    """A sandbox to use. `creates` counts requests to create one; `has_ghosts`: one of them may be another."""

    sandbox: AsyncSandbox
    how: How
    boot_ms: int
    creates: int
    has_ghosts: bool


class SandboxStart:
    """Start of the sandbox of one attempt of one task."""

    def __init__(
        self, account: Account, quota: Quota, request: SandboxRequest, context: TaskContext, life_s: int
    ) -> None:
        self._account = account
        self._quota = quota
        self._request = request
        self._life_s = life_s
        self._may_exist = context.idempotency_key is not None
        self._key = _idempotency_key(request.task_key, context)
        self._metadata = {
            TASK: request.task_key,
            ATTEMPT: str(context.attempt),
            RUN: context.run_id,
            REQUEST: sha256_json(request.to_json()),
        }

    async def boot(self) -> Boot:
        """Adopt or create a sandbox. Raises Failed, and RequestRefused for an invalid request."""
        adopted = await self._existing("adopted") if self._may_exist else None
        return adopted or await self._create()

    async def _create(self) -> Boot:
        has_ghosts = False
        creates = 0
        pauses = iter(PAUSES_S)
        while True:
            await self._quota.turn()
            creates += 1
            began = time.monotonic()
            try:
                sandbox = await self._send()
            except Exception as error:
                raise_if_cancelled(error)
                cause = cause_of(error)
                if cause is Cause.QUOTA:
                    self._quota.refused()
                    continue
                has_ghosts |= cause in _AMBIGUOUS
                pause = next(pauses, None)
                self._raise_if_hopeless(error, cause, pause is None)
                await asyncio.sleep(pause or 0)
                recovered = await self._existing("recovered") if has_ghosts else None
                if recovered is not None:
                    return recovered
                continue
            self._quota.admitted()
            return Boot(sandbox, "created", _since(began), creates, has_ghosts)

    async def _send(self) -> AsyncSandbox:
        """Create a sandbox. When canceled meanwhile, a sandbox that is still created is killed first."""
        creating = asyncio.ensure_future(
            self._account.create(
                self._request.template_id or self._request.env_ref,
                life_s=self._life_s,
                metadata=self._metadata,
                net=self._request.net,
                idempotency_key=self._key,
            )
        )
        try:
            return await uninterrupted(creating)
        except asyncio.CancelledError:
            if not creating.cancelled() and creating.exception() is None:
                await self._account.kill(creating.result().sandbox_id)
            raise

    async def _existing(self, how: How) -> Boot | None:
        found = await persist(lambda: self._account.find(**{TASK: self._request.task_key}), Phase.BOOT)
        usable = [info for info in found if info.metadata.get(ATTEMPT) == self._metadata[ATTEMPT]]
        for info in (info for info in found if info not in usable):
            # An earlier attempt was abandoned; its sandbox must not continue.
            await persist(lambda info=info: self._account.kill(info.sandbox_id), Phase.BOOT)  # type: ignore[misc]
        for info in sorted(usable, key=lambda info: info.started_at):
            self._check_same(info)
            began = time.monotonic()
            try:
                sandbox = await persist(
                    lambda info=info: self._account.connect(info.sandbox_id, life_s=self._life_s),  # type: ignore[misc]
                    Phase.BOOT,
                )
            except Failed as failed:
                if failed.cause is Cause.GONE:
                    continue
                raise
            return Boot(sandbox, how, _since(began), 0, len(usable) > 1)
        return None

    def _check_same(self, info: SandboxInfo) -> None:
        if info.metadata.get(REQUEST) != self._metadata[REQUEST]:
            raise RequestRefused(
                "IDEMPOTENCY_CONFLICT", f"task {self._request.task_key} runs already with another request"
            )

    def _raise_if_hopeless(self, error: Exception, cause: Cause, is_last: bool) -> None:
        if cause is Cause.REFUSED:
            raise RequestRefused("TEMPLATE_REFUSED", str(error)) from error
        if is_last or cause in (Cause.DENIED, Cause.BROKEN):
            raise Failed(Phase.BOOT, cause, f"{type(error).__name__}: {error}") from error


def _idempotency_key(task_key: str, context: TaskContext) -> str:
    """E2B takes 1–255 lowercase letters, digits and hyphens. A request without a key gets a key of its own."""
    key = context.idempotency_key
    if key is None:
        key = f"{context.run_id}-{task_key}-{time.time_ns()}"
    plain = key if re.fullmatch(r"[a-z0-9-]{1,200}", key) else sha256_hex(key)
    return f"{plain}-{context.attempt}"


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)

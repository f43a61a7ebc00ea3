"""A worker process to kill: runs one command under several task keys. Its argument says which, as JSON."""

import asyncio
import json
import sys

from resources.sandbox.e2b.e2b_provider import E2bSandbox
from resources.sandbox.e2b.e2b_settings import E2bSettings
from tests.support.e2b.server import API_KEY
from tests.unit.sandbox.requests import a_context, a_request, ignore


async def main() -> None:
    """Run until killed; what has ended is left as it is, so that it can be found that way."""
    story = json.loads(sys.argv[1])
    sandbox = E2bSandbox(
        E2bSettings(
            api_key=API_KEY,
            deployment=story.get("deployment", "tests"),
            api_url=story["url"],
            sandbox_url=story["url"],
            concurrency=1000,
            creates_per_second=1000,
            # Never notices an end: the test wants the sandboxes of tasks that ended unheard.
            check_s=600,
        )
    )

    async def keep(sandbox_id: str) -> bool:
        await asyncio.sleep(600)
        return False

    sandbox.sweeper.kill = keep  # type: ignore[method-assign]
    fields = {"timeout_ms": story.get("timeout_ms", 30_000)}
    await asyncio.gather(
        *(
            sandbox.run(a_request(story["command"], task_key=key, **fields), a_context(idempotency_key=key), ignore)
            for key in story["keys"]
        )
    )


asyncio.run(main())

"""The control API and envd of the test server (E2B SDK 2.63, envd 0.6.7)."""

import asyncio
import dataclasses
import json
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, unquote

from tests.support.e2b.boxes import Box, Command
from tests.support.e2b.faults import Bucket, Faults
from tests.support.e2b.http import Dropped, Reply, Request, error_reply, json_reply

API_KEY = "e2b_test"
_PAGE = 100
_GONE = 502


class Server:
    """All sandboxes of this server, what shall go wrong with them, and what happened."""

    def __init__(self) -> None:
        self.boxes: dict[str, Box] = {}
        self.faults = Faults()
        self.counts: Counter[str] = Counter()
        self.starts: Counter[str] = Counter()
        self.broken: list[str] = []
        self.create_times: list[float] = []
        self.alive_integral = 0.0
        self._alive_at = time.monotonic()
        self._reserved = 0
        self._bucket = Bucket()
        self._by_key: dict[str, Box] = {}
        self._background: set[asyncio.Task[None]] = set()

    async def handle(self, request: Request) -> Reply:
        """Control API, envd, or the tests' own door."""
        if request.path.startswith("/_test/"):
            return await self._test(request)
        if "e2b-sandbox-id" in request.headers:
            return await self._envd(request)
        if request.headers.get("x-api-key") != API_KEY:
            return error_reply(401, "Invalid API key")
        if self.faults.take("next_requests_429"):
            return error_reply(429, "Rate limit exceeded")
        return await self._control(request)

    async def close(self) -> None:
        """Remove every sandbox."""
        await asyncio.gather(*(self._remove(box) for box in list(self.boxes.values())))

    async def _test(self, request: Request) -> Reply:
        if request.path == "/_test/reset":
            await self.close()
            self.__init__()  # type: ignore[misc]
            return json_reply({})
        if request.method == "POST":
            for name, value in request.json().items():
                if name not in {field.name for field in dataclasses.fields(Faults)}:
                    return error_reply(400, f"{name} is no fault")
                setattr(self.faults, name, value)
        self._note_alive()
        return json_reply(
            {
                "alive": len(self.boxes),
                "metadata": [box.metadata for box in self.boxes.values()],
                "internet": [box.internet for box in self.boxes.values()],
                "templates": [box.template for box in self.boxes.values()],
                "counts": dict(self.counts),
                "starts": dict(self.starts),
                "broken": self.broken,
                "create_times": self.create_times,
                "alive_integral": self.alive_integral,
            }
        )

    async def _control(self, request: Request) -> Reply:
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["v2", "sandboxes"]:
                return await self._create(request)
            case "GET", ["v2", "sandboxes"]:
                return self._list(request)
            case "GET", ["sandboxes", name] if name in self.boxes:
                return json_reply(self.boxes[name].describe())
            case "DELETE", ["sandboxes", name] if name in self.boxes:
                self.counts["kills"] += 1
                await self._remove(self.boxes[name])
                return Reply(204)
            case "POST", ["sandboxes", name, "timeout"] if name in self.boxes:
                return Reply(204)
            case "POST", ["v2", "sandboxes", name, "connect"] if name in self.boxes:
                self.counts["connects"] += 1
                return json_reply(self.boxes[name].created())
        return error_reply(404, f"{request.method} {request.path} was not found")

    async def _create(self, request: Request) -> Reply:
        self.counts["create_requests"] += 1
        for fault, status in (("429", 429), ("500", 500), ("503", 503)):
            if self.faults.take(f"next_creates_{fault}"):
                return error_reply(status, "injected")
        body = request.json()
        if body["templateID"] == "missing":
            return error_reply(404, "template 'missing' not found")
        key = request.headers.get("idempotency-key")
        known = self._by_key.get(key) if key and self.faults.honours_idempotency else None
        if known is not None:
            self.counts["creates_replayed"] += 1
            return json_reply(known.created(), 201)
        if len(self.boxes) + self._reserved >= self.faults.max_concurrent:
            self.counts["refused_concurrent"] += 1
            return error_reply(429, "you have reached the maximum number of concurrent E2B sandboxes")
        if not self._bucket.admits(self.faults.creates_per_second, time.monotonic()):
            self.counts["refused_rate"] += 1
            return error_reply(429, "Rate limit exceeded")
        self._reserved += 1
        try:
            await asyncio.sleep(self.faults.slow_create_s)
        finally:
            self._reserved -= 1
        return self._admit(Box(body), key)

    def _admit(self, box: Box, key: str | None) -> Reply:
        self._note_alive()
        self.boxes[box.id] = box
        if key:
            self._by_key[key] = box
        self.counts["created"] += 1
        self.counts["most_alive"] = max(self.counts["most_alive"], len(self.boxes))
        self.create_times.append(time.monotonic())
        if self.faults.hits("lose_create_reply_every", self.counts["created"]):
            self.counts["create_replies_lost"] += 1
            raise Dropped
        return json_reply(box.created(), 201)

    def _list(self, request: Request) -> Reply:
        self.counts["lists"] += 1
        wanted = [(unquote(name), unquote(value)) for name, value in parse_qsl(request.query.get("metadata", ""))]
        found = [box for box in self.boxes.values() if all(box.metadata.get(n) == v for n, v in wanted)]
        first = int(request.query.get("nextToken") or 0)
        page = found[first : first + _PAGE]
        following = {"x-next-token": str(first + _PAGE)} if first + _PAGE < len(found) else {}
        return json_reply([box.describe() for box in page], 200, **following)

    async def _envd(self, request: Request) -> Reply:
        box = self.boxes.get(request.headers["e2b-sandbox-id"])
        if box is None:
            return json_reply({"message": "The sandbox was not found", "code": _GONE}, _GONE)
        if request.headers.get("x-access-token") != f"token-{box.id}":
            return error_reply(401, "wrong access token")
        match request.method, request.path:
            case "GET", "/health":
                return Reply(204)
            case "POST", "/files":
                return self._upload(box, request)
            case "GET", "/files":
                return self._download(box, request)
            case "POST", "/process.Process/Start":
                return await self._start(box, request)
            case "POST", "/process.Process/Connect":
                return self._connect(box, request)
            case "POST", "/process.Process/List":
                return json_reply({"processes": [_process(c) for c in box.commands.values() if c.end is None]})
            case "POST", "/process.Process/SendSignal":
                return self._signal(box, request)
        return error_reply(404, f"{request.path} is not spoken here")

    def _upload(self, box: Box, request: Request) -> Reply:
        if self.faults.take("next_uploads_500"):
            return error_reply(500, "injected")
        path = box.resolve(request.query["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(request.body)
        return json_reply([{"name": path.name, "type": "file", "path": request.query["path"]}])

    def _download(self, box: Box, request: Request) -> Reply:
        if self.faults.take("next_downloads_500"):
            return error_reply(500, "injected")
        path = box.resolve(request.query["path"])
        if not path.is_file():
            return error_reply(404, f"path '{request.query['path']}' does not exist")
        return Reply(200, path.read_bytes(), "application/octet-stream")

    async def _start(self, box: Box, request: Request) -> Reply:
        process = json.loads(request.body[5:])["process"]
        command = await box.start(process)
        self.counts["starts"] += 1
        self.starts[box.metadata.get("sisu_task", "")] += 1
        number = self.counts["starts"]
        for fault, silently in (("vanish_every", False), ("hang_every", True)):
            if self.faults.hits(fault, number):
                self._later(self._vanish(box, silently=silently))
        if self.faults.hits("lose_start_reply_every", number):
            self.counts["start_replies_lost"] += 1
            raise Dropped
        return self._stream(command, request, half=self.faults.hits("half_stream_every", number))

    def _connect(self, box: Box, request: Request) -> Reply:
        selector = json.loads(request.body[5:])["process"]
        command = box.commands.get(int(selector["pid"]))
        if command is None or command.end is not None:
            return Reply(
                200, _frame({"error": {"code": "not_found", "message": "no such process"}}, 2), _STREAM_TYPE
            )
        return self._stream(command, request, half=False)

    def _signal(self, box: Box, request: Request) -> Reply:
        command = box.commands.get(int(request.json()["process"]["pid"]))
        if command is None or command.end is not None:
            return json_reply({"code": "not_found", "message": "no such process"}, 404)
        command.kill()
        return json_reply({})

    def _stream(self, command: Command, request: Request, *, half: bool) -> Reply:
        timeout_ms = request.headers.get("connect-timeout-ms")
        seconds = int(timeout_ms) / 1000 if timeout_ms else None
        return Reply(200, type=_STREAM_TYPE, stream=self._frames(command, seconds, half))

    async def _frames(self, command: Command, seconds: float | None, half: bool) -> AsyncIterator[bytes]:
        try:
            async for event in command.events(seconds):
                yield _frame({"event": event})
                if half and ("data" in event or "end" in event):
                    self.counts["streams_cut"] += 1
                    raise Dropped
        except TimeoutError:
            yield _frame({"error": {"code": "deadline_exceeded", "message": "context deadline exceeded"}}, 2)
            return
        yield _frame({}, 2)

    async def _vanish(self, box: Box, *, silently: bool) -> None:
        await asyncio.sleep(self.faults.vanish_after_s)
        if box.id in self.boxes:
            self.counts["vanished"] += 1
            self.broken.append(box.metadata.get("sisu_task", ""))
            await self._remove(box, silently=silently)

    async def _remove(self, box: Box, *, silently: bool = False) -> None:
        self._note_alive()
        self.boxes.pop(box.id, None)
        await box.remove(silently=silently)

    def _note_alive(self) -> None:
        now = time.monotonic()
        self.alive_integral += len(self.boxes) * (now - self._alive_at)
        self._alive_at = now

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


_STREAM_TYPE = "application/connect+json"


def _frame(message: dict[str, Any], flags: int = 0) -> bytes:
    body = json.dumps(message).encode()
    return struct.pack(">BI", flags, len(body)) + body


def _process(command: Command) -> dict[str, Any]:
    return {"pid": command.process.pid, "config": {"cmd": command.config["cmd"], "args": command.config["args"]}}

"""The names of a worker's database connections: `sisu-worker QUEUE PROCESS VERSION`.

Recovery finds the connections of a dead worker by them, and health checks count live workers. Postgres keeps the
first 63 bytes of a name and replaces everything but printable ASCII, so a version that does not survive this is
represented by its beginning and a hash. Readers therefore compare version labels, never versions.
"""

from dataclasses import dataclass

from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.domain.canonical import sha256_hex

_PREFIX = "sisu-worker"
_NAME_BYTES = 63
_PROCESS_LENGTH = 8
_HASH_LENGTH = 16
_LABEL_LENGTH = _NAME_BYTES - len(f"{_PREFIX} {QueueName.INTENT} {'':{_PROCESS_LENGTH}} ")

_DAEMON = "sisu-daemon"
_HOST_LENGTH = 30

ANY_WORKER = f"{_PREFIX} %"
"""A LIKE pattern of the names of all workers' connections."""

ANY_DAEMON = f"{_DAEMON} %"
"""A LIKE pattern of the names of all sensor daemons' connections."""


@dataclass(frozen=True)
class WorkerName:
    """A worker process as its connections are named; `process` is the end of its executor id."""

    queue: str
    process: str
    version_label: str


def connection_name(queue: QueueName, executor_id: str, version: str) -> str:
    """The `application_name` of every connection of a worker process."""
    return f"{_PREFIX} {queue} {_process(executor_id)} {version_label(version)}"


def daemon_name(host: str, process_id: int) -> str:
    """The `application_name` of every connection of a sensor daemon, for operators who look for a second one."""
    printable = "".join(letter for letter in host if "!" <= letter <= "~")
    return f"{_DAEMON} {printable[:_HOST_LENGTH]}-{process_id}"


def parse(name: str) -> WorkerName | None:
    """The worker that a connection of this name belongs to; None when it is not a worker's."""
    prefix, *parts = name.split(" ", 3)
    if prefix != _PREFIX or len(parts) != 3:
        return None
    queue, process, version = parts
    return WorkerName(queue, process, version_label(version))


def version_label(version: str) -> str:
    """A version as names carry it: unchanged if it fits and is printable ASCII, else its beginning and a hash."""
    printable = "".join(letter for letter in version if "!" <= letter <= "~")
    if printable == version and 0 < len(version) <= _LABEL_LENGTH:
        return version
    digest = sha256_hex(version)[:_HASH_LENGTH]
    return f"{printable[: _LABEL_LENGTH - _HASH_LENGTH - 1]}~{digest}"


def connections_of(executor_id: str) -> str:
    """A LIKE pattern of the names of all connections of one worker process."""
    return f"{_PREFIX} % {_process(executor_id)} %"


def _process(executor_id: str) -> str:
    return executor_id[-_PROCESS_LENGTH:]

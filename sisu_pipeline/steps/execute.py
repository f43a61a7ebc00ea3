"""ExecuteST: the tasks of a decision, and the merge of their results."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

from sisu_pipeline.contracts.sandbox_request import ErrorCode, FileIn, Limits, SandboxRequest
from sisu_pipeline.contracts.step_outputs import Build, StepId
from sisu_pipeline.domain.canonical import sha256_json
from sisu_pipeline.domain.identity import task_key
from sisu_pipeline.steps.step_result import StepResult

FALLBACK_ENVIRONMENT = "local-node-24"
MAX_SHARDS = 128
MAX_ATTEMPTS = 3
SEPARATOR = "\n---\n"
_METRICS = ("wallMs", "cpuMs", "memPeakMB")


class MissingTestCommand(Exception):
    """The decision has no test command."""


@dataclass(frozen=True)
class Template:
    """The sandbox template a run uses: hot when a prebuilt one is registered."""

    key: str
    deps_hash: str
    template_id: str | None = None

    @property
    def reference(self) -> str:
        """What the task key names: the template when hot, the environment when cold."""
        return self.template_id or FALLBACK_ENVIRONMENT


@dataclass(frozen=True)
class TaskDefaults:
    """Defaults for all tasks of this deployment."""

    timeout_ms: int
    net: bool


@dataclass(frozen=True)
class Task:
    """One sandbox task: its position in the fan-out and its request."""

    position: int
    request: SandboxRequest

    @property
    def key(self) -> str:
        """The task key; also the workflow id on `sbxQ`."""
        return self.request.task_key


@dataclass(frozen=True)
class TaskResult:
    """A stored task result, as ExecuteST merges it."""

    key: str
    attempt: int
    err_code: ErrorCode
    exit: int
    stdout: str
    stderr: str
    metrics: Mapping[str, int]
    sandbox_ref: str
    artifact_index_ref: str
    files_out: tuple[dict[str, Any], ...] = ()
    command: str = ""
    retry: int = 0


class _Line(NamedTuple):
    """One task in ExecuteST's output."""

    key: str
    err_code: ErrorCode
    exit: int
    index_ref: str
    attempt: int
    wall_ms: int
    cpu_ms: int
    mem_peak_mb: int


class TaskLines(Sequence[dict[str, Any]]):
    """The tasks in ExecuteST's output, built on access, so that ten thousand take little memory."""

    def __init__(self) -> None:
        self._lines: list[_Line] = []

    def add(self, task: TaskResult) -> None:
        """The next task in fan-out order."""
        wall, cpu, memory = (task.metrics[name] for name in _METRICS)
        line = _Line(task.key, task.err_code, task.exit, task.artifact_index_ref, task.attempt, wall, cpu, memory)
        self._lines.append(line)

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(place, slice):
            return [_written_out(line) for line in self._lines[place]]
        return _written_out(self._lines[place])


def _written_out(line: _Line) -> dict[str, Any]:
    return {
        "taskKey": line.key,
        "errCode": str(line.err_code),
        "exit": line.exit,
        "artifactIndexRef": line.index_ref,
        "metrics": dict(zip(_METRICS, (line.wall_ms, line.cpu_ms, line.mem_peak_mb), strict=True)),
        "attempt": line.attempt,
    }


def cold_template(recipe_id: str, recipe_version: int, recipe_hash: str) -> Template:
    """The template key of a recipe version before anything is prebuilt for it."""
    return Template(f"{recipe_id}:{recipe_version}:{recipe_hash}", recipe_hash)


@dataclass(frozen=True)
class FanOut(Sequence[Task]):
    """The tasks of a run in order, built on access, so that ten thousand take little memory."""

    intent_id: str
    run_id: str
    command: str
    tests: tuple[str | None, ...]
    template: Template
    defaults: TaskDefaults
    files_in: tuple[FileIn, ...]
    files_hash: str | None
    failures: Mapping[int, int]

    def __len__(self) -> int:
        return len(self.tests)

    @overload
    def __getitem__(self, place: int) -> Task: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Task, ...]: ...

    def __getitem__(self, place: int | slice) -> Task | tuple[Task, ...]:
        if isinstance(place, slice):
            return tuple(self._task(position) for position in range(*place.indices(len(self))))
        return self._task(range(len(self))[place])

    def _task(self, position: int) -> Task:
        test = self.tests[position]
        request = SandboxRequest(
            env_ref=FALLBACK_ENVIRONMENT,
            cmd=self.command if test is None else f"{self.command} {test}",
            files_in=self.files_in,
            timeout_ms=self.defaults.timeout_ms,
            limits=Limits(),
            net=self.defaults.net,
            task_key=task_key(self.intent_id, self.run_id, self._normalized(position)),
            template_id=self.template.template_id,
            template_key=self.template.key,
            deps_hash=self.template.deps_hash,
        )
        return Task(position, request)

    def _normalized(self, position: int) -> dict[str, Any]:
        """The part of a task's identity besides its run: everything that changes what is executed."""
        request: dict[str, Any] = {
            "cmd": self.command,
            "templateKey": self.template.key,
            "templateRef": self.template.reference,
        }
        test, failures = self.tests[position], self.failures.get(position, 0)
        if test is not None:
            request["test"] = test
        if self.files_hash is not None:
            request["filesHash"] = self.files_hash
        if failures:
            request["retry"] = failures
        return request


def build_tasks(
    intent_id: str,
    run_id: str,
    build: Build,
    template: Template,
    defaults: TaskDefaults,
    files: Mapping[str, str],
    failures: Mapping[int, int] | None = None,
) -> FanOut:
    """The tasks: one per distinct test, or one for the command alone.

    `files` are the workspace's files, path to text, which every sandbox receives. `failures` counts how often the
    task of a position failed before this retry; the count is part of the new task's key.
    Raises MissingTestCommand.
    """
    if not build.test_command:
        raise MissingTestCommand("the decision has no test_command")
    return FanOut(
        intent_id,
        run_id,
        build.test_command,
        tuple(dict.fromkeys(build.tests)) or (None,),
        template,
        defaults,
        tuple(FileIn(path=path, inline=files[path]) for path in sorted(files)),
        sha256_json(dict(files)) if files else None,
        failures or {},
    )


def shards(count: int, most: int = MAX_SHARDS) -> tuple[range, ...]:
    """Positions 0..count-1 in at most `most` ranges of nearly equal length, in order."""
    size, longer = divmod(count, min(count, most))
    bounds = [index * size + min(index, longer) for index in range(min(count, most) + 1)]
    return tuple(range(start, end) for start, end in itertools.pairwise(bounds))


def merge(results: Iterable[TaskResult]) -> StepResult:
    """ExecuteST's output: the merged results of one or more tasks.

    The step has no artifacts beside its tasks'. Each result is read once and reduced to its line in the output, so
    that the results need not all be in memory.
    """
    failed: TaskResult | None = None
    attempt = wall_ms = cpu_ms = mem_peak_mb = 0
    stdout, stderr, indexes = [], [], []
    files: list[dict[str, Any]] = []
    lines = TaskLines()
    sandboxes: dict[str, None] = {}
    for task in results:
        if failed is None and task.err_code is not ErrorCode.NONE:
            failed = task
        # A retry's attempts follow those of the tries before it, so that no two outputs share a number.
        attempt = max(attempt, task.attempt + MAX_ATTEMPTS * task.retry)
        wall_ms = max(wall_ms, task.metrics["wallMs"])
        cpu_ms += task.metrics["cpuMs"]
        mem_peak_mb = max(mem_peak_mb, task.metrics["memPeakMB"])
        stdout.append(task.stdout)
        stderr.append(task.stderr)
        indexes.append(task.artifact_index_ref)
        files += task.files_out
        lines.add(task)
        sandboxes[task.sandbox_ref] = None
    output = {
        "exit": failed.exit if failed else 0,
        "stdout": SEPARATOR.join(stdout),
        "stderr": SEPARATOR.join(stderr),
        "filesOut": files,
        "metrics": {"wallMs": wall_ms, "cpuMs": cpu_ms, "memPeakMB": mem_peak_mb},
        "sandboxRef": ",".join(sandboxes),
        "errCode": str(failed.err_code if failed else ErrorCode.NONE),
        "taskKey": "aggregated",
        "artifactIndexRef": ",".join(indexes),
        "raw": {"attempt": attempt, "tasks": lines},
    }
    return StepResult(StepId.EXECUTE, output, attempt=attempt)

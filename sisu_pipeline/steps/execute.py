"""ExecuteST: the tasks of the approved plan, and the merge of their results."""

import itertools
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, overload

from sisu_pipeline.contracts.planned_work import PlannedTask, TemplateReference
from sisu_pipeline.contracts.sandbox_request import BINARY_URI, ErrorCode, FileIn, Limits, SandboxRequest
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.canonical import sha256_hex, sha256_json
from sisu_pipeline.domain.changes.declared_setup import SetupDefaults, SetupOrder
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.domain.complete_plan import PlannedTasks, TaskTerms
from sisu_pipeline.domain.identity import task_key
from sisu_pipeline.steps.step_result import StepResult

FALLBACK_ENVIRONMENT = "local-node-24"
MAX_SHARDS = 128
MAX_ATTEMPTS = 3
SEPARATOR = "\n---\n"
_PLAIN_MODE = "100644"
_METRICS = ("wallMs", "cpuMs", "memPeakMB")


@dataclass(frozen=True)
class Template:
    """The sandbox template a run uses: hot when a prebuilt one is registered."""

    key: str
    deps_hash: str
    template_id: str | None = None

    def terms(self, defaults: "TaskDefaults") -> TaskTerms:
        """The terms of a plan's tasks in this template, by the deployment's settings."""
        return TaskTerms(
            provider=defaults.provider,
            environment=FALLBACK_ENVIRONMENT,
            template=TemplateReference(id=self.template_id, key=self.key),
            net=defaults.net,
            timeout_ms=defaults.timeout_ms,
        )


@dataclass(frozen=True)
class TaskDefaults:
    """The settings of this deployment that a plan takes over when it is compiled."""

    timeout_ms: int
    net: bool
    provider: str = "mock"
    setup: SetupDefaults = field(default_factory=SetupDefaults)


@dataclass(frozen=True)
class Task:
    """One sandbox task: its position in the fan-out, its request, and the plan's provider and setup."""

    position: int
    request: SandboxRequest
    provider: str = "mock"
    setup: SetupOrder | None = None

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
    planned: PlannedTasks
    deps_hash: str
    files_in: tuple[FileIn, ...]
    files_hash: str | None
    failures: Mapping[int, int]
    tree: str | None = None
    setup: SetupOrder | None = None

    def __len__(self) -> int:
        return len(self.planned)

    @overload
    def __getitem__(self, place: int) -> Task: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Task, ...]: ...

    def __getitem__(self, place: int | slice) -> Task | tuple[Task, ...]:
        if isinstance(place, slice):
            return tuple(self._task(task) for task in self.planned[place])
        return self._task(self.planned[place])

    def _task(self, planned: PlannedTask) -> Task:
        request = SandboxRequest(
            env_ref=planned.environment,
            cmd=planned.command,
            files_in=self.files_in,
            tree=self.tree,
            setup=None if self.setup is None else self.setup.sha256,
            timeout_ms=planned.timeout_ms,
            limits=Limits(cpu=planned.cpu, mem_mb=planned.mem_mb),
            net=planned.net,
            task_key=task_key(self.intent_id, self.run_id, self._normalized(planned)),
            template_id=planned.template.id,
            template_key=planned.template.key,
            deps_hash=self.deps_hash,
        )
        return Task(planned.position, request, planned.provider, self.setup)

    def _normalized(self, planned: PlannedTask) -> dict[str, Any]:
        """The part of a task's identity besides its run: everything that changes what is executed."""
        request: dict[str, Any] = {
            "cmd": self.planned.command,
            "templateKey": planned.template.key,
            "templateRef": planned.template.id or planned.environment,
        }
        failures = self.failures.get(planned.position, 0)
        if planned.test is not None:
            request["test"] = planned.test
        files_hash = self.tree or self.files_hash
        if files_hash is not None:
            request["filesHash"] = files_hash
        if failures:
            request["retry"] = failures
        if self.setup is not None:
            request["setup"] = self.setup.sha256
        return request


def build_tasks(
    intent_id: str,
    run_id: str,
    planned: PlannedTasks,
    deps_hash: str,
    files: Mapping[str, FileState],
    failures: Mapping[int, int] | None = None,
    tree: str | None = None,
    setup: SetupOrder | None = None,
) -> FanOut:
    """The sandbox tasks of a plan.

    `files` are the workspace's files by path, which every sandbox receives. For a repository there are none, and
    `tree` names the files (`domain.changes.repository_base.tree_key`). `failures` counts how often the task of
    a position failed before this retry; the count is part of the new task's key. `setup` is the setup of the
    plan, whose result every sandbox shows.
    """
    return FanOut(
        intent_id,
        run_id,
        planned,
        deps_hash,
        tuple(_input(path, files[path]) for path in sorted(files)),
        sha256_json({path: _identity(state) for path, state in files.items()}) if files else None,
        failures or {},
        tree,
        setup,
    )


def _input(path: str, state: FileState) -> FileIn:
    mode = None if state.mode == _PLAIN_MODE else state.mode
    if state.text is not None:
        return FileIn(path=path, inline=state.text, mode=mode)
    return FileIn(path=path, uri=BINARY_URI + b64encode(state.content).decode(), mode=mode)


def _identity(state: FileState) -> str | dict[str, str]:
    """A file in the hash of a task's files: its text, or mode and hash of a file that is not plain text."""
    if state.text is not None and state.mode == _PLAIN_MODE:
        return state.text
    return {"mode": state.mode, "sha256": sha256_hex(state.content)}


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

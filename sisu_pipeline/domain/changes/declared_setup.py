"""The setup that an intent declares in `inputs.setup`: checked, planned, and named by what it is made of."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from sisu_pipeline.contracts.base import ContractInvalid
from sisu_pipeline.contracts.intent import Intent, SetupInput
from sisu_pipeline.contracts.planned_work import PlannedSetup
from sisu_pipeline.domain.canonical import sha256_hex, sha256_json
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.domain.changes.repository_base import InputInvalid

COMMON_LOCK_FILES = (
    *("Cargo.lock", "Cargo.toml", "Gemfile.lock", "go.mod", "go.sum", "package-lock.json", "package.json"),
    *("pnpm-lock.yaml", "poetry.lock", "pyproject.toml", "requirements.txt", "uv.lock", "yarn.lock"),
)
"""Files that the command reads when the setup names none: those of them that the workspace has at its top."""

_POINTER = "/inputs/setup"


@dataclass(frozen=True)
class SetupDefaults:
    """The settings of this deployment that a planned setup takes over when its plan is compiled."""

    hosts: tuple[str, ...] = ()
    timeout_ms: int = 600_000
    disk_mb: int = 2048
    mem_mb: int = 2048
    cpu: int = 2


@dataclass(frozen=True)
class SetupOrder:
    """The setup of a run's tasks, and the tenant whose runs share its result."""

    setup: PlannedSetup
    tenant: str | None = None

    @cached_property
    def sha256(self) -> str:
        """The hash of the planned setup, by which plans and tasks name it."""
        return sha256_json(self.setup.to_json())

    def layer_sha256(self, files: Mapping[str, FileState]) -> str:
        """The name of what the command leaves: a function of the setup and of all files that the command sees."""
        identities = {
            path: {"mode": state.mode, "sha256": sha256_hex(state.content)} for path, state in files.items()
        }
        return sha256_json({"files": identities, "setup": self.sha256})


def setup_of(intent: Intent) -> SetupInput | None:
    """The setup in `inputs.setup`; None without one. Raises InputInvalid."""
    if "setup" not in intent.inputs:
        return None
    try:
        return SetupInput.from_json(intent.inputs["setup"])
    except ContractInvalid as failure:
        fault = failure.faults[0]
        raise InputInvalid(f"{_POINTER}{fault.pointer}", fault.message) from None


def check_setup(intent: Intent, provider: str, defaults: SetupDefaults) -> None:
    """Raise InputInvalid when this deployment cannot honor the setup of an intent."""
    wanted = setup_of(intent)
    if wanted is None:
        return
    if wanted.template is not None and provider == "local":
        raise InputInvalid(
            f"{_POINTER}/template", "the local sandbox has no templates: leave it out, or use the e2b provider"
        )
    if wanted.prepare is not None and provider == "e2b":
        raise InputInvalid(
            f"{_POINTER}/prepare",
            "the e2b provider executes no prepare command: name a template that has the dependencies, or use the "
            "local provider",
        )
    if wanted.network and not defaults.hosts:
        raise InputInvalid(
            f"{_POINTER}/network",
            "this deployment allows the prepare command no host: leave it out, or ask an operator to set "
            "SBX_SETUP_HOSTS",
        )


def planned_setup(
    wanted: SetupInput | None, present: Collection[str], provider: str, defaults: SetupDefaults
) -> PlannedSetup | None:
    """The setup of a plan; None without a prepare command.

    `present` are the files of COMMON_LOCK_FILES that the plan leaves in the workspace. Raises InputInvalid when the
    setup names no files and none of these is there.
    """
    if wanted is None or wanted.prepare is None:
        return None
    lock_files = sorted(set(wanted.lock_files if wanted.lock_files is not None else present))
    if not lock_files:
        raise InputInvalid(
            f"{_POINTER}/lockFiles",
            "the workspace has none of the usual lock files: name the files that the prepare command reads",
        )
    return PlannedSetup(
        command=wanted.prepare,
        lock_files=lock_files,
        provider=provider,
        hosts=list(defaults.hosts) if wanted.network else [],
        timeout_ms=defaults.timeout_ms,
        cpu=defaults.cpu,
        mem_mb=defaults.mem_mb,
        disk_mb=defaults.disk_mb,
    )

"""A recorded session: the question, the answer, and the transcript by which it can be played back."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.planner.planner_port import PlannerUnavailable
from sisu_pipeline.contracts.base import ContractInvalid
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.domain.canonical import sha256_json
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.domain.changes.plan_changes import Files

VERSION = 1
SUFFIX = ".session.json"
"""The end of the name of a recording's file."""


@dataclass(frozen=True)
class Recording:
    """A session with its answer; `changes` are those of the plan, `base` are the files that they start from."""

    intent: Intent
    prompts: list[str]
    plan: dict[str, Any]
    changes: list[dict[str, Any]]
    transcript: dict[str, Any]
    base: Files

    @property
    def changes_sha256(self) -> str:
        """The hash of the changes, as the ledger keeps it."""
        return sha256_json(self.changes)


def session_path(folder: Path, prompt: str, content_key: str) -> Path:
    """The file of the session that answers a prompt on files with this content key."""
    return folder / f"{sha256_json({'files': content_key, 'prompt': prompt})}{SUFFIX}"


def write(path: Path, recording: Recording) -> None:
    """Write a recording."""
    document = {
        "version": VERSION,
        "intent": recording.intent.to_json(),
        "prompts": recording.prompts,
        "plan": recording.plan,
        "changes": recording.changes,
        "transcript": recording.transcript,
        "base": {path: as_json(state) for path, state in recording.base.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n")


def read(path: Path) -> Recording:
    """Read a recording. Raises PlannerUnavailable for a file that is not one."""
    try:
        document = json.loads(path.read_text())
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']} is not {VERSION}")
        return Recording(
            Intent.from_json(document["intent"]),
            document["prompts"],
            document["plan"],
            document["changes"],
            document["transcript"],
            {path: _state(file) for path, file in document["base"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, ContractInvalid) as error:
        raise PlannerUnavailable(f"{path} is not a recorded session: {error}") from error


def as_json(state: FileState) -> dict[str, str]:
    """A file as JSON: its content in base64, and its mode."""
    return {"content": base64.b64encode(state.content).decode(), "mode": state.mode}


def _state(file: dict[str, str]) -> FileState:
    return FileState(base64.b64decode(file["content"]), "100755" if file["mode"] == "100755" else "100644")

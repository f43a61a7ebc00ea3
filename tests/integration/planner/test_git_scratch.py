"""An agent in a commit of a repository: its change is the difference of the tree, and its `.git` never runs."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from resources.planner.acp import recording
from resources.planner.acp.agent_planner import AgentAnswer, AgentPlanner, AgentQuestion, QuestionFailed
from resources.planner.acp.recording import Recording
from resources.planner.acp.scratch import GitScratch
from resources.planner.acp.session_replay import replay
from tests.builders import an_intent
from tests.integration.git.repositories import address_of, make_repository, mirrors_in
from tests.integration.planner.conftest import scripted_settings
from tests.support.acp.scripted_agent import GOOD_PLAN

FILES: dict[str, str | bytes] = {
    "src/greet.py": "def greet():\n    return 'hello'\n",
    "src/old.py": "x = 1\n",
    "run.sh": "echo hi\n",
    "data.bin": bytes(range(256)),
    ".opencode/plugin/x.js": "evil()",
}
HOSTILE = """
git config core.fsmonitor 'touch /work/ran; true'
git config filter.evil.clean 'touch /work/ran; cat'
echo '*.py filter=evil' > .gitattributes
printf '#!/bin/sh\\ntouch /work/ran\\n' > .git/hooks/post-checkout
chmod +x .git/hooks/post-checkout
"""


def ask(folder: Path, shell: str, subdirectory: str | None = None) -> AgentAnswer | QuestionFailed:
    """Let an agent that executes a command answer in a scratch of the repository."""
    make_repository(folder / "project", FILES)
    mirrors, address = mirrors_in(folder), address_of(folder / "project")
    scratch = GitScratch(mirrors.git(address), mirrors.resolve_ref(address, "main"), subdirectory)
    script: dict[str, Any] = {"prompts": [[{"shell": shell}, {"submit": GOOD_PLAN}]]}
    planner = AgentPlanner(scripted_settings(folder, script))

    async def asked() -> AgentAnswer | QuestionFailed:
        try:
            return await planner.ask(AgentQuestion("key", ["change it"], scratch))
        except QuestionFailed as failed:
            return failed

    try:
        return asyncio.run(asked())
    finally:
        planner.close()


def effects(answer: AgentAnswer | QuestionFailed) -> list[tuple[str, str]]:
    """The op and the path of each change."""
    assert isinstance(answer, AgentAnswer), answer
    return [(patch["op"], patch["targetPath"]) for patch in answer.changes.patches]


def test_the_change_is_the_difference_of_the_tree(folder: Path) -> None:
    shell = "echo 'y = 2' > src/new.py; git mv src/old.py src/moved.py; rm data.bin; chmod +x run.sh; ls -a"
    answer = ask(folder, shell)
    assert isinstance(answer, AgentAnswer), answer
    assert effects(answer) == [
        ("delete", "data.bin"),
        ("rename", "src/moved.py"),
        ("modify", "run.sh"),
        ("create", "src/new.py"),
    ]
    assert ".opencode" not in answer.evidence.text
    # The recording carries the files that the change starts from, so that it is played without the repository.
    intent = an_intent("change it", inputs={"repo": {"path": "/gone", "ref": "main"}})
    evidence, changes = answer.evidence, answer.changes
    recorded = Recording(intent, ["change it"], GOOD_PLAN, changes.patches, evidence.transcript, changes.before)
    recording.write(folder / "x.session.json", recorded)
    assert replay(folder / "x.session.json").differences == []


def test_a_folder_of_the_repository_is_the_whole_working_directory(folder: Path) -> None:
    answer = ask(folder, "ls; rm old.py", "src")
    assert effects(answer) == [("delete", "old.py")]
    assert "greet.py" in answer.evidence.text and "run.sh" not in answer.evidence.text


def test_what_an_agent_leaves_in_its_git_folder_never_runs(folder: Path) -> None:
    answer = ask(folder, HOSTILE + "echo 'y = 2' > src/greet.py")
    assert effects(answer) == [("create", ".gitattributes"), ("modify", "src/greet.py")]


@pytest.mark.parametrize(
    ("shell", "sentence"),
    [
        ("ln -s /etc/passwd link", "link"),
        ("git init -q inner; cd inner; git -c user.name=a -c user.email=a commit -qm x --allow-empty", "inner"),
    ],
)
def test_links_and_embedded_repositories_are_refused(folder: Path, shell: str, sentence: str) -> None:
    failed = ask(folder, shell)
    assert isinstance(failed, QuestionFailed), effects(failed)
    assert failed.failure.code == "changes_refused" and sentence in str(failed)

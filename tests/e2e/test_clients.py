"""`docs/clients.md`, executed: the Python client, and clients that generators make from the served OpenAPI."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sisu_pipeline.proof.harness.lab_stack import LabStack
from sisu_pipeline.settings import child_environment
from tests.docs_generators.markdown import DOCS
from tests.docs_generators.markdown_page import CodeBlock, MarkdownPage

DOCUMENTED_URL = "http://127.0.0.1:3001"
NPM = shutil.which("npm")
PACKAGES = ("openapi-python-client>=0.29,<0.30", "datamodel-code-generator>=0.89,<1")
NODE_PACKAGES = ("openapi-typescript@7", "typescript@5")
GENERATOR_TIMEOUT_S = 600
# What follows the page's program: the run of the intent that it started ends, and its output is downloaded.
DECIDE_AND_DOWNLOAD = """
import time
from hashlib import sha256
from sisu_api.api.artifacts import show_artifact
from sisu_api.api.gates import approve_plan, show_plan
from sisu_api.api.results import show_files
from sisu_api.api.runs import show_run
from sisu_api.models import PlanApprovalRequest, PlanView, Problem

def view():
    return show_run.sync(started.run_id, client=api)

def until(holds):
    deadline = time.monotonic() + 240
    while not holds():
        assert time.monotonic() < deadline, view()
        time.sleep(0.2)

until(lambda: view().gate is not None)
plan = show_plan.sync(started.run_id, client=api)
assert isinstance(plan, PlanView)
approval = PlanApprovalRequest(approved_by="ada", plan_sha_256=plan.plan_sha_256)
assert approve_plan.sync(started.run_id, client=api, body=approval).accepted
until(lambda: view().status == "succeeded")
card = next(each for each in view().artifacts if each.kind == "stdout")
download = show_artifact.sync_detailed(card.uri, client=api)
content = download.parsed.payload.read()
assert sha256(content).hexdigest() == card.sha256 == download.headers["etag"].strip('"')
assert show_files.sync_detailed(started.run_id, client=api).parsed.payload.read().startswith(b"PK")
refused = show_run.sync("run_0", client=api)
assert isinstance(refused, Problem) and refused.code == "not_found", refused
print("downloaded", card.sha256)
"""


def blocks(heading: str, language: str) -> list[str]:
    """The blocks of a section of the page in a language."""
    text = (DOCS / "clients.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found: list[CodeBlock] = [each for each in MarkdownPage(DOCS / "clients.md").blocks if each.text in section]
    return [each.text for each in found if each.language == language]


def test_the_python_of_the_page_submits_approves_and_downloads(
    stack: LabStack, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    program = "\n".join(blocks("The Python client", "python")).replace(DOCUMENTED_URL, stack.url)
    exec(compile(program, "clients.md", "exec"), names)
    names["client"].close()
    printed = capsys.readouterr().out
    assert re.search(r"^waiting_input ApplyPatchST$", printed, re.MULTILINE)
    assert re.search(r"^succeeded ", printed, re.MULTILINE)
    assert re.search(r"^True text/plain", printed, re.MULTILINE)
    assert re.search(r"^invalid_contract 400 False$", printed, re.MULTILINE)
    assert "  /constraints: constraints is required" in printed


@pytest.fixture(scope="module")
def generators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a virtual environment of the Python generators: their requirements contradict ours."""
    folder = tmp_path_factory.mktemp("generators")
    run(sys.executable, "-m", "venv", str(folder / "venv"), folder=folder)
    run("pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES, folder=folder)
    return folder


def run(*command: str, folder: Path) -> str:
    """Run a command in a folder, with the programs of its virtual environment first; returns what it prints."""
    path = os.pathsep.join([str(folder / "venv/bin"), str(folder / "node_modules/.bin"), os.environ["PATH"]])
    done = subprocess.run(
        [shutil.which(command[0], path=path) or command[0], *command[1:]],
        cwd=folder,
        env=child_environment(PATH=path, PYTHONPATH=str(folder)),
        capture_output=True,
        text=True,
        timeout=GENERATOR_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def generate(command: str, stack: LabStack, folder: Path) -> str:
    """Run a generator as the page shows it."""
    return run(*shlex.split(command.replace(DOCUMENTED_URL, stack.url)), folder=folder)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_generated_python_client_has_every_operation_and_submits_approves_and_downloads(
    stack: LabStack, generators: Path
) -> None:
    (config,) = blocks("A generated Python client", "yaml")
    (generators / "sisu_api.yaml").write_text(config)
    client, models = blocks("A generated Python client", "bash")
    assert "WARNING" not in generate(client, stack, generators)
    (program,) = blocks("A generated Python client", "python")
    (intent,) = re.findall(r"^intent = \{\n.*?^\}\n", "\n".join(blocks("The Python client", "python")), re.M | re.S)
    script = generators / "decide.py"
    script.write_text(f"{intent}{program.replace(DOCUMENTED_URL, stack.url)}{DECIDE_AND_DOWNLOAD}")
    assert run("python", str(script), folder=generators).startswith("downloaded ")
    generate(models, stack, generators)
    check = "import sisu_models; print(sisu_models.Intent(goal='g', inputs={}, constraints={}).model_dump_json())"
    assert '"goal":"g"' in run("python", "-W", "ignore", "-c", check, folder=generators)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(NPM is None, reason="needs npm")
def test_the_generated_types_compile(stack: LabStack, tmp_path: Path) -> None:
    run("npm", "install", "--silent", "--no-save", "--prefix", str(tmp_path), *NODE_PACKAGES, folder=tmp_path)
    (command,) = blocks("A generated TypeScript client", "bash")
    generate(command, stack, tmp_path)
    (tmp_path / "use.ts").write_text(
        'import type { components, paths } from "./sisu-api";\n'
        'type Body = paths["/intents"]["post"]["requestBody"]["content"]["application/json"];\n'
        'export const intent: Body = { goal: "g", inputs: { any: [1, null, { deep: true }] }, constraints: {} };\n'
        'export const status: components["schemas"]["RunView"]["status"] = "waiting_input";\n'
        "// @ts-expect-error: a goal is a text\n"
        "export const wrong: Body = { goal: 1, inputs: {}, constraints: {} };\n"
    )
    run("tsc", "--noEmit", "--strict", "--skipLibCheck", "false", "use.ts", folder=tmp_path)

"""`sisu run diff`, `apply` and `logs`: take the result of a run into a checkout, and read what its tasks wrote."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from sisu_pipeline.cli.commands.decision_commands import RunId
from sisu_pipeline.console.command_output import AsJson, Url, report_failures
from sisu_pipeline.console.exit_codes import Failure


def register_results(app: typer.Typer) -> None:
    """Add the commands to `sisu run`."""
    app.command()(diff)
    app.command()(apply)
    app.command()(logs)


def diff(run: RunId, url: Url = None) -> None:
    """Print the changes of a run's plan as a patch for `git apply`."""
    from sisu_pipeline.console.api_client import Api

    with report_failures():
        sys.stdout.buffer.write(Api(url).patch(run))
        sys.stdout.buffer.flush()


def apply(
    run: RunId,
    branch: Annotated[
        bool, typer.Option("--branch", help="Create the branch sisu/RUN with the result's commit instead.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Apply the changes of a run's plan to the git checkout in the current folder."""
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        api = Api(url)
        if branch:
            run_id = api.show(run)["runId"]
            name = f"sisu/{run_id}"
            _fetch(api.bundle(run_id), f"refs/heads/{name}")
            out.print_result({"branch": name}, lambda: f"created the branch {name}\nNext: git merge {name}")
            return
        patch = api.patch(run)
        if patch:
            _git("apply", "--index", "--whitespace=nowarn", "-", content=patch)
        files = patch.count(b"diff --git ")
        out.print_result(
            {"files": files}, lambda: f"changed {files} file{'' if files == 1 else 's'}; git diff --staged"
        )


def logs(
    run: RunId,
    task: Annotated[
        int | None, typer.Argument(help="Position of the task, as in `sisu run show`; all tasks without it.")
    ] = None,
    url: Url = None,
) -> None:
    """Print the complete output of a run's tasks that have ended."""
    from sisu_pipeline.console.api_client import Api
    from sisu_pipeline.console.command_output import print_line
    from sisu_pipeline.domain.untrusted_text import for_terminal

    with report_failures():
        text = Api(url).download("runs", run, "logs", **({} if task is None else {"task": task}))
        for line in text.decode().removesuffix("\n").split("\n"):
            print_line(for_terminal(line))


def _fetch(bundle: bytes, branch: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "result.bundle")
        file.write_bytes(bundle)
        _git("fetch", "--quiet", "--no-tags", str(file), f"{branch}:{branch}")


def _git(*arguments: str, content: bytes = b"") -> None:
    """Run the user's own git in the current folder. Raises Failure with its message."""
    try:
        done = subprocess.run(["git", *arguments], input=content, capture_output=True, check=False)  # noqa: S607
    except FileNotFoundError:
        raise Failure("git is not installed", "no_git") from None
    if done.returncode != 0:
        raise Failure(f"git {arguments[0]}: {done.stderr.decode(errors='replace').strip()}", "git_failed")

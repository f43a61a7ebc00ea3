"""`sisu recipe` and `sisu policy`: list, show and apply versions of recipes and approval policies."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sisu_pipeline.console.command_output import AsJson, Url, report_failures, to_json_text
from sisu_pipeline.console.exit_codes import Failure

policy_app = typer.Typer(help="List, show and apply approval policies.", no_args_is_help=True)
recipe_app = typer.Typer(help="List, show and apply recipes.", no_args_is_help=True)

_POLICY_HEADINGS = ("POLICY", "APPROVALS", "APPROVERS", "SELF-APPROVAL", "DEADLINE", "APPLIED BY", "APPLIED")

DefinitionFile = Annotated[
    str, typer.Argument(metavar="FILE|-", help="JSON file with the whole definition; - reads stdin.")
]


@policy_app.command("list")
def list_policies(url: Url = None, as_json: AsJson = False) -> None:
    """List the newest version of each approval policy."""
    from sisu_pipeline.console import formatting
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        found = Api(url).get("policies")["policies"]
        rows = [_POLICY_HEADINGS, *map(_policy_row, found)]
        out.print_result(found, lambda: formatting.table(rows))


@policy_app.command("show")
def show_policy(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="Id of the policy.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show all versions of an approval policy, the newest first."""
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        found = Api(url).get("policies", policy)["policies"]
        out.print_result(found, lambda: "\n\n".join(f"{_heading(each)}\n{_content(each)}" for each in found))


@policy_app.command("apply")
def apply_policy(file: DefinitionFile, url: Url = None, as_json: AsJson = False) -> None:
    """Store an approval policy as its next version; the same content again changes nothing."""
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        stored = Api(url).post("policies", body=_read(file))
        out.print_result(stored, lambda: _applied(f"{stored['id']}@{stored['version']}", stored))


@recipe_app.command("list")
def list_recipes(url: Url = None, as_json: AsJson = False) -> None:
    """List the newest version of each recipe."""
    from sisu_pipeline.console import formatting
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        found = Api(url).get("recipes")["recipes"]
        out.print_result(found, lambda: formatting.table(_recipe_rows(found)))


@recipe_app.command("show")
def show_recipe(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of the recipe.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show all versions of a recipe, the newest first."""
    from sisu_pipeline.console import formatting
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        found = Api(url).get("recipes", recipe)["recipes"]
        out.print_result(found, lambda: formatting.table(_recipe_rows(found)))


@recipe_app.command("apply")
def apply_recipe(file: DefinitionFile, url: Url = None, as_json: AsJson = False) -> None:
    """Store a recipe as its next version; the same content again changes nothing."""
    from sisu_pipeline.console.api_client import Api

    with report_failures(as_json) as out:
        stored = Api(url).post("recipes", body=_read(file))
        out.print_result(stored, lambda: _applied(f"{stored['name']}@{stored['version']}", stored))


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror}", "no_file") from None


def _applied(name: str, stored: dict[str, Any]) -> str:
    return f"{name} is the newest version" + (" (unchanged)" if stored["isReplay"] else "")


def _heading(stored: dict[str, Any]) -> str:
    applied = f"applied {stored['appliedAt']} by {stored['appliedBy'] or '-'}"
    return f"{stored['id']}@{stored['version']}, sha256 {stored['sha256']}, {applied}"


def _content(stored: dict[str, Any]) -> str:
    return to_json_text(stored["policy"])


def _policy_row(stored: dict[str, Any]) -> tuple[str, ...]:
    policy = stored["policy"]
    admitted = policy.get("approvers") or {}
    names = [*admitted.get("people", []), *(f"group {name}" for name in admitted.get("groups", []))]
    return (
        f"{stored['id']}@{stored['version']}",
        str(policy["approvals"]),
        ", ".join(names) or "every approver",
        "yes" if policy["selfApproval"] else "no",
        "may approve" if policy["deadlineMayApprove"] else "rejects",
        stored["appliedBy"] or "-",
        stored["appliedAt"],
    )


def _recipe_rows(found: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    network = {None: "default", True: "yes", False: "no"}
    rows: list[tuple[object, ...]] = [
        ("RECIPE", "POLICY", "CONCURRENCY", "STEPS", "SANDBOX MINUTES", "NETWORK", "PUSH", "APPLIED BY", "APPLIED")
    ]
    rows += [
        (
            f"{each['name']}@{each['version']}",
            each["policy"],
            each["maxConcurrency"],
            each["maxSteps"],
            each["maxSandboxMinutes"],
            network[each["net"]],
            (each["push"] or {}).get("remote", "-"),
            each["appliedBy"] or "-",
            each["appliedAt"],
        )
        for each in found
    ]
    return rows

"""`sisu token`: manage API tokens, directly in the database: creating the first one requires no token."""

import re
import secrets
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sisu_pipeline.console.command_output import AsJson, report_failures
from sisu_pipeline.console.exit_codes import Failure

if TYPE_CHECKING:
    from sisu_pipeline.contracts.access import Role
    from sisu_pipeline.store.tokens import Token

app = typer.Typer(help="Create, list and revoke API tokens.", no_args_is_help=True)

_BYTES = 32
GROUP_PATTERN = r"[a-z0-9][a-z0-9_-]{0,63}"


@app.command()
def create(
    owner: Annotated[
        str, typer.Argument(metavar="OWNER", help="Person or program; decisions are recorded under this name.")
    ],
    role: Annotated[list[str], typer.Option("--role", help="submitter, approver, operator or viewer; repeatable.")],
    group: Annotated[
        list[str] | None, typer.Option("--group", help="Group that approval policies may name; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a token and print it once. As soon as one token exists, every API request requires one."""
    from sisu_pipeline.database_server import locate
    from sisu_pipeline.settings import settings
    from sisu_pipeline.store import tokens

    with report_failures(as_json) as out:
        roles = [_role(name) for name in role]
        _check_owner(owner)
        groups = [_group(name) for name in group or []]
        token = f"sisu_{secrets.token_hex(_BYTES)}"
        with locate(settings()).connect() as connection:
            stored = tokens.create(connection, token, owner, roles, groups)
        out.print_result(
            {**_document(stored), "token": token},
            lambda: (
                f"{token}\n{stored.id} of {stored.owner}. It is not shown again; `sisu` reads it from SISU_TOKEN."
            ),
        )


@app.command("list")
def list_tokens(as_json: AsJson = False) -> None:
    """List all tokens, the newest first, including revoked ones; the secret is never shown."""
    from sisu_pipeline.console import formatting
    from sisu_pipeline.database_server import locate
    from sisu_pipeline.settings import settings
    from sisu_pipeline.store import tokens

    with report_failures(as_json) as out:
        with locate(settings()).connect() as connection:
            stored = [_document(token) for token in tokens.every(connection)]
        rows = [("TOKEN", "OWNER", "ROLES", "GROUPS", "CREATED", "REVOKED")]
        rows += [
            (
                t["id"],
                t["owner"],
                ",".join(t["roles"]),
                ",".join(t["groups"]) or "-",
                t["createdAt"],
                t["revokedAt"] or "-",
            )
            for t in stored
        ]
        out.print_result(
            stored,
            lambda: (
                formatting.table(rows) if stored else "No tokens: the API accepts requests from this machine only."
            ),
        )


@app.command()
def revoke(
    token: Annotated[str, typer.Argument(metavar="TOKEN_ID", help="Id from `sisu token list`.")],
    as_json: AsJson = False,
) -> None:
    """Revoke a token, effective immediately."""
    from sisu_pipeline.database_server import locate
    from sisu_pipeline.domain.errors import NotFound
    from sisu_pipeline.settings import settings
    from sisu_pipeline.store import tokens

    with report_failures(as_json) as out:
        try:
            with locate(settings()).connect() as connection:
                revoked = tokens.revoke(connection, token)
        except NotFound:
            raise Failure(f"unknown token id {token!r}; `sisu token list` shows all", "not_found") from None
        out.print_result(_document(revoked), lambda: f"{revoked.id} of {revoked.owner} is revoked")


def _role(name: str) -> "Role":
    from sisu_pipeline.contracts.access import Role

    try:
        return Role(name)
    except ValueError:
        raise Failure(f"unknown role {name!r}; choose from {', '.join(Role)}", "no_role") from None


def _check_owner(name: str) -> None:
    from sisu_pipeline.contracts.person_name import checked_name

    try:
        checked_name(name)
    except ValueError as refusal:
        raise Failure(str(refusal), "no_owner") from None


def _group(name: str) -> str:
    if not re.fullmatch(GROUP_PATTERN, name):
        raise Failure(
            f"a group's name is lowercase letters, digits, - and _, at most 64 (got {name!r})", "no_group"
        )
    return name


def _document(token: "Token") -> dict[str, Any]:
    return {
        "id": token.id,
        "owner": token.owner,
        "roles": sorted(token.roles),
        "groups": sorted(token.groups),
        "createdAt": token.created_at.isoformat(),
        "revokedAt": token.revoked_at.isoformat() if token.revoked_at else None,
    }

"""`sisu token` and `sisu session`: who may call. They work in the database: the first token requires no token."""

import re
import secrets
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sisu_pipeline.cli.commands.decision_commands import user_name
from sisu_pipeline.console.command_output import AsJson, report_failures
from sisu_pipeline.console.exit_codes import Failure

if TYPE_CHECKING:
    from datetime import datetime

    from sisu_pipeline.contracts.access import Role
    from sisu_pipeline.store.access.sessions import OpenSession
    from sisu_pipeline.store.access.tokens import AccessChange, Token

app = typer.Typer(help="Create, list and revoke API tokens.", no_args_is_help=True)
session_app = typer.Typer(help="List and end sessions of signed-in browsers.", no_args_is_help=True)

_MOST_CHANGES = 200
_Reason = Annotated[str, typer.Option("--reason", help="Reason to record.")]

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
    from sisu_pipeline.store.access import tokens

    with report_failures(as_json) as out:
        roles = [_role(name) for name in role]
        _check_owner(owner)
        groups = [_group(name) for name in group or []]
        token = f"sisu_{secrets.token_hex(_BYTES)}"
        with locate(settings()).connect() as connection:
            stored = tokens.create(connection, token, owner, roles, groups, user_name())
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
    from sisu_pipeline.store.access import tokens

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
    reason: _Reason = "",
    as_json: AsJson = False,
) -> None:
    """Revoke a token, effective immediately."""
    from sisu_pipeline.database_server import locate
    from sisu_pipeline.domain.errors import NotFound
    from sisu_pipeline.settings import settings
    from sisu_pipeline.store.access import tokens

    with report_failures(as_json) as out:
        try:
            with locate(settings()).connect() as connection:
                revoked = tokens.revoke(connection, token, user_name(), reason or None)
        except NotFound:
            raise Failure(f"unknown token id {token!r}; `sisu token list` shows all", "not_found") from None
        out.print_result(_document(revoked), lambda: f"{revoked.id} of {revoked.owner} is revoked")


@app.command()
def history(as_json: AsJson = False) -> None:
    """Show who created and revoked tokens and ended sessions, the newest change first."""
    from sisu_pipeline.console import formatting
    from sisu_pipeline.database_server import locate
    from sisu_pipeline.settings import settings
    from sisu_pipeline.store.access import tokens

    with report_failures(as_json) as out:
        with locate(settings()).connect() as connection:
            changes = [_change(change) for change in tokens.history(connection, _MOST_CHANGES)]
        names = ("madeAt", "event", "subject", "person", "madeBy", "channel", "reason")
        rows: list[tuple[str, ...]] = [("TIME", "EVENT", "ID", "PERSON", "BY", "CHANNEL", "REASON")]
        rows += [tuple(change[name] or "-" for name in names) for change in changes]
        out.print_result(changes, lambda: formatting.table(rows))


@session_app.command("list")
def list_sessions(as_json: AsJson = False) -> None:
    """List the open sessions of signed-in browsers, the newest first."""
    from sisu_pipeline.database_server import locate
    from sisu_pipeline.settings import settings
    from sisu_pipeline.store.access import sessions

    with report_failures(as_json) as out:
        with locate(settings()).connect() as connection:
            found = [_session(session) for session in sessions.every_open(connection)]
        out.print_result(found, lambda: _sessions(found) if found else "No open sessions.")


@session_app.command()
def end(
    session: Annotated[
        str | None, typer.Argument(metavar="[SESSION_ID]", help="Id from `sisu session list`.")
    ] = None,
    person: Annotated[str | None, typer.Option("--person", help="End all sessions of this person.")] = None,
    reason: _Reason = "",
    as_json: AsJson = False,
) -> None:
    """End a session or all sessions of a person, effective immediately; streams of open pages end in seconds."""
    from sisu_pipeline.database_server import locate
    from sisu_pipeline.settings import settings
    from sisu_pipeline.store.access import sessions

    with report_failures(as_json) as out:
        if (session is None) == (person is None):
            raise Failure("name either a session id or --person", "no_session")
        with locate(settings()).connect() as connection:
            ended = sessions.end(connection, user_name(), identifier=session, person=person, reason=reason)
        if session is not None and not ended:
            raise Failure(f"no open session {session!r}; `sisu session list` shows all", "not_found")
        found = [_session(each) for each in ended]
        out.print_result(
            found, lambda: f"{_sessions(found)}\nended: {len(found)}" if found else "No open sessions."
        )


def _time(moment: "datetime") -> str:
    from sisu_pipeline.store.records import iso

    return iso(moment)


def _sessions(found: "list[dict[str, Any]]") -> str:
    from sisu_pipeline.console import formatting

    names = ("id", "person", "host", "tokenId", "createdAt", "expiresAt")
    rows = [("SESSION", "PERSON", "HOST", "TOKEN", "CREATED", "EXPIRES")]
    return formatting.table([*rows, *(tuple(each[name] or "-" for name in names) for each in found)])


def _session(session: "OpenSession") -> dict[str, Any]:
    return {
        "id": session.id,
        "person": session.person,
        "host": session.host,
        "tokenId": session.token_id,
        "createdAt": _time(session.created_at),
        "expiresAt": _time(session.expires_at),
    }


def _change(change: "AccessChange") -> dict[str, Any]:
    return {
        "madeAt": _time(change.made_at),
        "event": change.event,
        "subject": change.subject,
        "person": change.person,
        "madeBy": change.made_by,
        "channel": change.channel,
        "reason": change.reason,
    }


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
        "createdAt": _time(token.created_at),
        "revokedAt": _time(token.revoked_at) if token.revoked_at else None,
    }

"""`sisu token`: who may ask the API. It works on the database itself, so the first token needs none."""

import secrets
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sisu_pipeline.console.command_output import AsJson, speaking
from sisu_pipeline.console.exit_codes import Failure

if TYPE_CHECKING:
    from sisu_pipeline.contracts.access import Role
    from sisu_pipeline.store.tokens import Token

app = typer.Typer(help="Make, list and revoke API tokens.", no_args_is_help=True)

_BYTES = 32


@app.command()
def create(
    owner: Annotated[str, typer.Argument(help="Whose it is: the name decisions are kept under.")],
    role: Annotated[list[str], typer.Option("--role", help="What its owner may do; repeat for several.")],
    as_json: AsJson = False,
) -> None:
    """Make a token and show it, once. From the first token on, every request needs one."""
    from sisu_pipeline.database_server import locate
    from sisu_pipeline.settings import settings
    from sisu_pipeline.store import tokens

    with speaking(as_json) as voice:
        if not owner.strip():
            raise Failure("a token needs an owner", "no_owner")
        roles = [_role(name) for name in role]
        token = f"sisu_{secrets.token_hex(_BYTES)}"
        with locate(settings()).connect() as connection:
            kept = tokens.create(connection, token, owner, roles)
        voice.say(
            {**_document(kept), "token": token},
            lambda: (
                f"{token}\n{kept.id} of {kept.owner}. It is shown this once: SISU_TOKEN is where `sisu` reads it."
            ),
        )


@app.command("list")
def list_tokens(as_json: AsJson = False) -> None:
    """Every token, revoked ones too, the newest first; never the token itself."""
    from sisu_pipeline.console import formatting
    from sisu_pipeline.database_server import locate
    from sisu_pipeline.settings import settings
    from sisu_pipeline.store import tokens

    with speaking(as_json) as voice:
        with locate(settings()).connect() as connection:
            kept = [_document(token) for token in tokens.every(connection)]
        rows = [("TOKEN", "OWNER", "ROLES", "CREATED", "REVOKED")]
        rows += [(t["id"], t["owner"], ",".join(t["roles"]), t["createdAt"], t["revokedAt"] or "-") for t in kept]
        voice.say(kept, lambda: formatting.table(rows) if kept else "No tokens: only this machine may ask.")


@app.command()
def revoke(token: Annotated[str, typer.Argument(metavar="TOKEN_ID")], as_json: AsJson = False) -> None:
    """End a token, at once."""
    from sisu_pipeline.database_server import locate
    from sisu_pipeline.domain.errors import NotFound
    from sisu_pipeline.settings import settings
    from sisu_pipeline.store import tokens

    with speaking(as_json) as voice:
        try:
            with locate(settings()).connect() as connection:
                kept = tokens.revoke(connection, token)
        except NotFound:
            raise Failure(f"there is no token {token}: `sisu token list`", "not_found") from None
        voice.say(_document(kept), lambda: f"{kept.id} of {kept.owner} is revoked")


def _role(name: str) -> "Role":
    from sisu_pipeline.contracts.access import Role

    try:
        return Role(name)
    except ValueError:
        raise Failure(f"{name} is no role: {', '.join(Role)}", "no_role") from None


def _document(token: "Token") -> dict[str, Any]:
    return {
        "id": token.id,
        "owner": token.owner,
        "roles": sorted(token.roles),
        "createdAt": token.created_at.isoformat(),
        "revokedAt": token.revoked_at.isoformat() if token.revoked_at else None,
    }

"""Settings of single sign-on: an OpenID Connect provider, and a proxy that signs a header."""

import json
import re
from typing import Self

from pydantic import BaseModel, SecretStr, field_validator, model_validator

from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.configuration.queue_settings import setting

_READERS = ("api", "webserver")
_SINCE = "0.3.0"
_PROTECTED = re.compile(r"https://|http://(127\.0\.0\.1|localhost|\[::1\])(:|/|$)")


class SignInSettings(BaseModel):
    """Who identifies people beside tokens, by their environment names in lower case."""

    sisu_oidc_issuer: str | None = setting(
        "Issuer of the OpenID Connect provider that people sign in with, exactly as in its metadata.",
        read_by=_READERS,
        since=_SINCE,
        default=None,
        pattern=r"^https?://[^\s\"<>?#]+$",
    )
    sisu_oidc_client_id: str | None = setting(
        "Client id of this deployment at the provider.", read_by=_READERS, since=_SINCE, default=None, min_length=1
    )
    sisu_oidc_client_secret: SecretStr | None = setting(
        "Client secret at the provider; none for a public client.", read_by=_READERS, since=_SINCE, default=None
    )
    sisu_oidc_client_secret_file: str | None = setting(
        "File with the client secret, instead of `SISU_OIDC_CLIENT_SECRET`.",
        read_by=_READERS,
        since=_SINCE,
        default=None,
    )
    sisu_oidc_scopes: str = setting(
        "Scopes of the sign-in request, separated by spaces.",
        read_by=_READERS,
        since=_SINCE,
        default="openid profile email",
        pattern=r"^openid( [!-~]+)*$",
    )
    sisu_oidc_userinfo: bool = setting(
        "Whether groups, and a name that the ID token lacks, are also read from the provider's userinfo endpoint.",
        read_by=_READERS,
        since=_SINCE,
        default=False,
    )
    sisu_identity_header: str | None = setting(
        "Header in which a proxy sends the signed identity of a person, a JWT.",
        read_by=_READERS,
        since=_SINCE,
        default=None,
        pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$",
    )
    sisu_identity_key: SecretStr | None = setting(
        "Key of the header: a public key in PEM (ES256, RS256), or a secret of 32 bytes or more (HS256).",
        read_by=_READERS,
        since=_SINCE,
        default=None,
    )
    sisu_identity_key_file: str | None = setting(
        "File with that key, instead of `SISU_IDENTITY_KEY`.", read_by=_READERS, since=_SINCE, default=None
    )
    sisu_identity_audience: str | None = setting(
        "The `aud` claim that the header must have; required with the header.",
        read_by=_READERS,
        since=_SINCE,
        default=None,
        min_length=1,
    )
    sisu_name_claim: str = setting(
        "Claim with a person's name, under which decisions are recorded. People must not be able to choose it.",
        read_by=_READERS,
        since=_SINCE,
        default="email",
        min_length=1,
    )
    sisu_groups_claim: str = setting(
        "Claim with the list of a person's groups.", read_by=_READERS, since=_SINCE, default="groups", min_length=1
    )
    sisu_group_roles: str = setting(
        'Roles by group, as JSON: `{"approver": ["release-managers"], "viewer": ["*"]}`; `*` is everyone.',
        read_by=_READERS,
        since=_SINCE,
        default="{}",
    )

    @field_validator(
        "sisu_oidc_client_secret",
        "sisu_oidc_client_secret_file",
        "sisu_identity_key",
        "sisu_identity_key_file",
        mode="before",
    )
    @classmethod
    def _is_present(cls, value: object) -> object:
        if value == "":
            raise ValueError("must not be empty: give a value or unset it")
        return value

    @field_validator("sisu_oidc_issuer")
    @classmethod
    def _is_protected(cls, value: str | None) -> str | None:
        """Require https: the keys that verify every identity come from there. A test may use this machine."""
        if value is not None and not _PROTECTED.match(value):
            raise ValueError("must begin with https://")
        return value

    @field_validator("sisu_group_roles")
    @classmethod
    def _names_roles(cls, value: str) -> str:
        roles_by_group(value)
        return value

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.sisu_oidc_issuer is None) != (self.sisu_oidc_client_id is None):
            raise ValueError("SISU_OIDC_ISSUER and SISU_OIDC_CLIENT_ID must be set together")
        if self.sisu_oidc_client_secret and self.sisu_oidc_client_secret_file:
            raise ValueError("SISU_OIDC_CLIENT_SECRET and SISU_OIDC_CLIENT_SECRET_FILE exclude each other")
        if self.sisu_identity_key and self.sisu_identity_key_file:
            raise ValueError("SISU_IDENTITY_KEY and SISU_IDENTITY_KEY_FILE exclude each other")
        # Each process receives only the secrets that it reads: a missing key is found where it is used.
        if self.sisu_identity_header is not None and self.sisu_identity_audience is None:
            raise ValueError("SISU_IDENTITY_HEADER requires SISU_IDENTITY_AUDIENCE")
        return self

    @property
    def has_single_sign_on(self) -> bool:
        """Whether people are identified by a provider or a proxy, so that every request must be authenticated."""
        return self.sisu_oidc_issuer is not None or self.sisu_identity_header is not None


def roles_by_group(text: str) -> dict[Role, frozenset[str]]:
    """The groups of each role. Raises ValueError with a sentence for the setting's reader."""
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise ValueError('must be a JSON object such as {"approver": ["release-managers"]}')
    unknown = sorted(set(given) - set(Role))
    if unknown:
        raise ValueError(f"names an unknown role {unknown[0]!r}; choose from {', '.join(Role)}")
    for role, groups in given.items():
        if not (isinstance(groups, list) and all(isinstance(group, str) and group for group in groups)):
            raise ValueError(f"must list the groups of {role} as texts")
    return {Role(role): frozenset(groups) for role, groups in given.items()}

"""The single sign-on that the settings configure, with its keys and secrets."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from sisu_pipeline.contracts.configuration.sign_in_settings import SignInSettings, roles_by_group
from sisu_pipeline.domain.setting_errors import SettingsError
from sisu_pipeline.single_sign_on.claim_rules import ClaimRules
from sisu_pipeline.single_sign_on.oidc_client import OidcClient, Provider
from sisu_pipeline.single_sign_on.signed_header import SignedHeader, signed_header


@dataclass(frozen=True)
class SignOn:
    """The provider that people sign in with, and the header of a proxy; None where it is not configured."""

    provider: OidcClient | None = None
    header: SignedHeader | None = None

    @property
    def is_required(self) -> bool:
        """Whether every request must be authenticated even while no token exists."""
        return self.provider is not None or self.header is not None


def sign_on(settings: SignInSettings) -> SignOn:
    """The configured ways to sign in. Raises SettingsError for a file or a key that cannot be used."""
    rules = ClaimRules(
        settings.sisu_name_claim, settings.sisu_groups_claim, roles_by_group(settings.sisu_group_roles)
    )
    return SignOn(_provider(settings, rules), _header(settings, rules))


def _provider(settings: SignInSettings, rules: ClaimRules) -> OidcClient | None:
    if settings.sisu_oidc_issuer is None or settings.sisu_oidc_client_id is None:
        return None
    secret = _secret(
        settings.sisu_oidc_client_secret, settings.sisu_oidc_client_secret_file, "SISU_OIDC_CLIENT_SECRET_FILE"
    )
    provider = Provider(
        settings.sisu_oidc_issuer,
        settings.sisu_oidc_client_id,
        secret,
        settings.sisu_oidc_scopes,
        asks_userinfo=settings.sisu_oidc_userinfo,
    )
    return OidcClient(provider, rules)


def _header(settings: SignInSettings, rules: ClaimRules) -> SignedHeader | None:
    name, audience = settings.sisu_identity_header, settings.sisu_identity_audience
    if name is None or audience is None:
        return None
    key = _secret(settings.sisu_identity_key, settings.sisu_identity_key_file, "SISU_IDENTITY_KEY_FILE")
    if key is None:
        raise SettingsError("SISU_IDENTITY_HEADER requires SISU_IDENTITY_KEY or SISU_IDENTITY_KEY_FILE")
    try:
        return signed_header(name.lower(), key, audience, rules)
    except ValueError as failure:
        raise SettingsError(str(failure)) from None


def _secret(value: SecretStr | None, file: str | None, name: str) -> str | None:
    """A secret from its variable, or the text of its file without the line break at its end."""
    if file is None:
        return None if value is None else value.get_secret_value()
    try:
        text = Path(file).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as failure:
        raise SettingsError(f"{name} cannot be read: {type(failure).__name__}") from None
    if not text:
        raise SettingsError(f"{name} is empty")
    return text

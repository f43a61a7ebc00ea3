"""Addresses of repositories, and which of them a deployment allows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from resources.git.git_errors import GitRefused
from sisu_pipeline.domain.canonical import sha256_hex

_ANY_HTTPS = "https"


class RuleInvalid(ValueError):
    """A rule of allowed repositories is neither `https`, an https address nor an absolute folder."""


@dataclass(frozen=True)
class Address:
    """The address of a repository that is allowed: an https URL, or a folder of this machine."""

    text: str
    protocol: Literal["https", "file"]

    @property
    def key(self) -> str:
        """The name of its mirror."""
        return sha256_hex(self.text)


@dataclass(frozen=True)
class AllowedRepositories:
    """Rules: `https` for every https address, `https://host/path` or an absolute folder for what is below it."""

    rules: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "AllowedRepositories":
        """Rules separated by commas. Raises RuleInvalid."""
        rules = tuple(rule.strip() for rule in text.split(",") if rule.strip())
        for rule in rules:
            if rule != _ANY_HTTPS and not rule.startswith("/") and not _is_plain(urlsplit(rule)):
                raise RuleInvalid(
                    f"{rule!r} is not `https`, an address that starts with https:// or an absolute folder"
                )
        return cls(rules)

    def address(self, url: str | None, path: str | None) -> Address:
        """The address of a repository that is named by its URL or its folder. Raises GitRefused."""
        if url is not None:
            return self._remote(url)
        assert path is not None, "a repository has a url or a path"
        return self._local(path)

    def named(self, text: str) -> Address:
        """The address with this text, if it is still allowed. Raises GitRefused."""
        return self.address(None, text) if text.startswith("/") else self.address(text, None)

    def _remote(self, url: str) -> Address:
        parsed = _split(url)
        if parsed.username or parsed.password:
            raise GitRefused("the repository's url must not contain a user or a password: use SISU_GIT_CREDENTIALS")
        if not _is_plain(parsed):
            raise GitRefused("the repository's url must be https://HOST/PATH, without a query or a fragment")
        if _ANY_HTTPS not in self.rules and not any(_covers(urlsplit(rule), parsed) for rule in self.rules):
            raise GitRefused(f"this deployment does not allow {url}: an operator can add it to SISU_GIT_ALLOW")
        return Address(url, "https")

    def _local(self, path: str) -> Address:
        folder = Path(path)
        folders = [Path(rule).resolve() for rule in self.rules if rule.startswith("/")]
        # One message for all: a caller must not learn which folders exist elsewhere.
        refused = GitRefused(
            f"this deployment does not allow {path}: an operator can add its folder to SISU_GIT_ALLOW"
        )
        if not folder.is_absolute() or "\0" in path or not folders:
            raise refused
        real = folder.resolve()
        if not any(real.is_relative_to(allowed) for allowed in folders):
            raise refused
        return Address(str(real), "file")


def _split(url: str) -> SplitResult:
    try:
        parsed = urlsplit(url)
        parsed.port  # noqa: B018 - raises ValueError for a port that is no number
    except ValueError as error:
        raise GitRefused(f"the repository's url is not valid: {error}") from None
    return parsed


def _is_plain(parsed: SplitResult) -> bool:
    """Whether an address is https with a host, of printable ASCII, without anything else than a path."""
    text = parsed.geturl()
    return (
        parsed.scheme == "https"
        and bool(parsed.hostname)
        and not (parsed.query or parsed.fragment or parsed.username or parsed.password)
        and all("!" <= character <= "~" for character in text)
        and not {".", ".."} & set(parsed.path.split("/"))
        and "%" not in text
        and "\\" not in text
    )


def _covers(rule: SplitResult, address: SplitResult) -> bool:
    if (rule.scheme, rule.hostname, rule.port or 443) != ("https", address.hostname, address.port or 443):
        return False
    return f"{address.path}/".startswith(f"{rule.path.rstrip('/')}/")

"""Settings of repositories: which ones intents and recipes may name, and how they are reached."""

from pydantic import BaseModel

from sisu_pipeline.contracts.configuration.queue_settings import setting

_READERS = ("api", "code-server", "intent-worker", "planner-worker", "sandbox-worker")
_RULE = r"(https|https://[!-+\--~]+|/[^,]*)"
_RULES = rf"^({_RULE}(\s*,\s*{_RULE})*)?$"


class GitSettings(BaseModel):
    """Settings of repositories, a part of `settings.Settings`."""

    sisu_git_allow: str = setting(
        "Repositories that intents and recipes may name, separated by commas: `https` for every https address, "
        "`https://HOST/PATH` or an absolute folder for those below it. Default: none.",
        read_by=_READERS,
        since="0.3.0",
        default="",
        pattern=_RULES,
    )
    sisu_git_credentials: str | None = setting(
        "File with credentials for repositories, in the format of git-credential-store: "
        "`https://user:token@host`, one a line.",
        read_by=_READERS,
        since="0.3.0",
        default=None,
    )
    sisu_git_ca_file: str | None = setting(
        "File with the certificates of authorities that sign repositories' servers. Default: the system's.",
        read_by=_READERS,
        since="0.3.0",
        default=None,
    )
    sisu_git_quota_mb: int = setting(
        "Largest size in MiB of the mirror of one repository.",
        read_by=_READERS,
        since="0.3.0",
        default=2048,
        ge=1,
    )
    sisu_git_timeout_s: int = setting(
        "Longest time in seconds of one fetch or push.",
        read_by=_READERS,
        since="0.3.0",
        default=120,
        ge=1,
    )

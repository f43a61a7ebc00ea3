"""Classification of git's error output."""

import re

from resources.git.git_errors import GitError, GitRefused, GitUnavailable

_REFUSED = (
    (
        r"couldn't find remote ref|Server does not allow request for|not our ref|Needed a single revision",
        "the repository has no such branch, tag or commit",
    ),
    (
        r"Authentication failed|could not read (Username|Password)|returned error: 40[13]",
        "the server refuses access; an operator can add its host to the file of SISU_GIT_CREDENTIALS",
    ),
    (
        r"returned error: 404|[Rr]epository '.*' not found|does not appear to be a git repository|does not exist",
        "there is no such repository, or it may not be read",
    ),
    (r"transport '.*' not allowed", "the repository's transport is not allowed"),
    (
        r"detected dubious ownership",
        "the repository's folder belongs to another user than this process",
    ),
    (
        r"mismatched algorithms|unknown repository extension|expected.*repo version",
        "only repositories with SHA-1 object ids are supported",
    ),
    (
        r"SSL certificate problem|server certificate verification failed",
        "the server's certificate is not trusted; an operator can name its authority in SISU_GIT_CA_FILE",
    ),
    (r"signal 25|File too large", "the repository is larger than its quota (SISU_GIT_QUOTA_MB)"),
    (r"redirect", "the server redirects to another address; use that address"),
    (r"\[(remote )?rejected\]|protected branch|hook declined", "the server refuses the push"),
)
_UNAVAILABLE = (
    r"Could not resolve host|Connection (refused|timed out|reset)|Failed to connect|Operation too slow|early EOF"
    r"|unexpected disconnect|RPC failed|returned error: (5\d\d|429)|No space left|\.lock': File exists|hung up"
    r"|Connection was reset|gnutls_handshake|recv failure|Empty reply from server"
)
_FSCK = re.compile(r"object [0-9a-f]+: (\w+):")
_URL_USER = re.compile(r"(?<=://)[^/@\s]*@")
_LONGEST_DETAIL = 300


def failure(action: str, stderr: bytes) -> GitError:
    """The typed error for a git command that failed; `action` completes "cannot …"."""
    text = stderr.decode(errors="replace")
    detail = _detail(text)
    if (problem := _FSCK.search(text)) is not None:
        return GitRefused(f"cannot {action}: git refuses an object of the repository ({problem.group(1)})")
    if re.search(_UNAVAILABLE, text):
        return GitUnavailable(f"cannot {action}: {detail}")
    for pattern, sentence in _REFUSED:
        if re.search(pattern, text):
            return GitRefused(f"cannot {action}: {sentence} ({detail})")
    return GitRefused(f"cannot {action}: {detail}")


def _detail(text: str) -> str:
    """The line that names the cause, on one line, without user names and control characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "!"))] or lines
    line = _URL_USER.sub("", causes[0] if causes else "git reported nothing")
    return "".join(character for character in line if character.isprintable())[:_LONGEST_DETAIL]

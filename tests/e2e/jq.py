"""`jq -r .name`, for machines that do not have jq."""

import shutil
from pathlib import Path

_JQ = """#!/usr/bin/env python3
import json, sys
print(json.load(sys.stdin)[sys.argv[2][1:]])
"""


def with_jq(environment: dict[str, str], folder: Path) -> dict[str, str]:
    """The environment, its PATH with a jq that can do what the seed's labs ask of it."""
    if shutil.which("jq") is not None:
        return environment
    jq = folder / "jq"
    jq.write_text(_JQ)
    jq.chmod(0o755)
    return environment | {"PATH": f"{folder}:{environment['PATH']}"}

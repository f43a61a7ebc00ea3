"""Self-test of the local provider, which opens only after a real sandbox has proved its isolation."""

import asyncio
import json
import os
import platform
import threading
from pathlib import Path

from resources.sandbox.local.isolation.bwrap import BOX_PYTHON
from resources.sandbox.local.isolation.system_calls import MACHINES
from resources.sandbox.local.isolation.unix_socket import RELAY
from resources.sandbox.local.local_provider import LocalSandbox
from resources.sandbox.local.sandbox_host import Host, LocalSettings
from resources.sandbox.local.setup.host_proxy import certificates
from resources.sandbox.sandbox_port import SandboxUnavailable, TaskContext, TreeResolver, UriResolver
from sisu_pipeline.contracts.sandbox_request import ErrorCode, FileIn, Limits, SandboxRequest, SandboxResult

_TIMEOUT_MS = 20_000
_NO_TREE = "0" * 64
_TRIED = ("ptrace", "mount", "keyctl", "add_key", "bpf", "io_uring_setup", "unshare", "setns", "userfaultfd")


def open_local(
    settings: LocalSettings, resolve_uri: UriResolver | None = None, resolve_tree: TreeResolver | None = None
) -> LocalSandbox:
    """The ready provider. Raises SandboxUnavailable, which lists every isolation failure of this machine.

    Blocks for about a tenth of a second; may be called with or without a running event loop.
    """
    trusted = certificates()
    host = Host.open(settings, {"relay": str(RELAY), **({"certificates": trusted} if trusted else {})})
    sandbox = LocalSandbox(host, resolve_uri, resolve_tree)
    try:
        found = problems(_run_probe(sandbox, probe_request(host)))
        host.can_layer = not found and _can_layer(host, sandbox)
    except BaseException:
        host.close()
        raise
    if found:
        host.close()
        raise SandboxUnavailable(f"the local sandbox does not isolate on this machine: {'; '.join(found)}")
    return sandbox


def problems(result: SandboxResult) -> list[str]:
    """The failures that `isolation_probe.py` found; a probe that did not finish is a failure too."""
    if result.err_code is not ErrorCode.NONE:
        return [_diagnosis(result)]
    try:
        printed = json.loads(result.stdout)
    except ValueError:
        printed = None
    return printed if isinstance(printed, list) else [f"the self-test printed {result.stdout!r} instead of a list"]


def probe_request(host: Host) -> SandboxRequest:
    """The request that runs `isolation_probe.py` with the Python a task would find."""
    python = "python3" if host.layout.sources.python is None else f"{BOX_PYTHON}/bin/python3"
    numbers = MACHINES[platform.machine()].denied
    denied = json.dumps({name: numbers[name] for name in _TRIED})
    probe = Path(__file__).with_name("isolation_probe.py").read_text()
    return SandboxRequest(
        env_ref="local",
        cmd=f"{python} -I -S isolation_probe.py '{denied}' {host.settings.most_processes}",
        files_in=(FileIn(path="isolation_probe.py", inline=probe),),
        timeout_ms=_TIMEOUT_MS,
        limits=Limits(mem_mb=256),
        task_key="selftest",
    )


def _can_layer(host: Host, sandbox: LocalSandbox) -> bool:
    """Whether a command can change and remove the files of a tree that is mounted below its working folder."""
    if host.layout.stage is None and os.getuid() == 0:
        return False  # the files of root would have no owner inside
    folder = host.layout.trees / _NO_TREE
    folder.mkdir(parents=True, exist_ok=True)
    host.layout.trees.chmod(0o711)  # whatever the umask: a sandbox's uid passes through
    folder.chmod(0o755)
    (folder / "kept").write_text("1")
    (folder / "removed").write_text("1")
    host.can_layer = True
    request = probe_request(host).model_copy(
        update={"cmd": "echo 2 >> kept && rm removed && mkdir new", "files_in": (), "tree": _NO_TREE}
    )
    return _run_probe(sandbox, request).err_code is ErrorCode.NONE


def _run_probe(sandbox: LocalSandbox, request: SandboxRequest) -> SandboxResult:
    """Run the probe in a thread of its own: the caller's may have a running event loop."""
    results: list[SandboxResult] = []
    context = TaskContext(run_id="selftest", step_id="selftest", attempt=1, idempotency_key=None)

    def run() -> None:
        results.append(asyncio.run(sandbox.run(request, context, lambda chunk: None)))

    thread = threading.Thread(target=run, name="sandbox-selftest")
    thread.start()
    thread.join()
    if not results:
        raise SandboxUnavailable("the self-test of the local sandbox failed; see the log")
    return results[0]


def _diagnosis(result: SandboxResult) -> str:
    printed = f"{result.stderr}{result.stdout}".strip()
    hint = ""
    if (
        "Operation not permitted" in printed
        or "No permissions to create" in printed
        or "Permission denied" in printed
    ):
        hint = (
            " — user namespaces may be switched off for this user: see sysctl user.max_user_namespaces, "
            "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns, or the "
            "container's seccomp profile"
        )
    return f"the self-test ended with {result.err_code.value} {result.exit}: {printed}{hint}"

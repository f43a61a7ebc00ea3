"""nginx and Apache from Debian, configured with the blocks of docs/reverse-proxy.md."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from sisu_pipeline.proof.harness.lab_stack import LabStack, free_ports
from sisu_pipeline.supervisor.child_processes import die_with_parent
from tests.docs_generators.markdown import DOCS
from tests.docs_generators.markdown_page import MarkdownPage

PROGRAMS = {name: shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin") for name in ("nginx", "apache2")}
PASSWORD = ("door", "opens")
_MODULES = Path("/usr/lib/apache2/modules")
_NEEDED = (
    *("mpm_event", "authn_core", "authn_file", "authz_core", "authz_user", "auth_basic"),
    *("socache_shmcb", "ssl", "proxy", "proxy_http", "proxy_wstunnel"),
)


@dataclass(frozen=True)
class ReverseProxy:
    """A running proxy. Requests name the host by their `Host` header, with the port."""

    port: int

    def client(self, name: str) -> httpx.Client:
        """A browser-like client of sisu.example.org or dagster.example.org: it keeps cookies."""
        headers = {"Host": f"{name}.example.org:{self.port}"}
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}", headers=headers, verify=False, trust_env=False, timeout=30
        )


@contextmanager
def reverse_proxy(kind: str, stack: LabStack, port: int, *, asks_password: bool = False) -> Iterator[ReverseProxy]:
    """nginx or Apache (`apache2`) in front of a stack."""
    # Not below pytest's folder: workers of a proxy that root started run as another user.
    with tempfile.TemporaryDirectory(prefix="sisu-proxy-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        _certificate(folder)
        user, password = PASSWORD
        hashed = subprocess.run(
            ["openssl", "passwd", "-apr1", password], capture_output=True, text=True, check=True, timeout=30
        )
        (folder / "passwords").write_text(f"{user}:{hashed.stdout}")
        block = _documented("nginx" if kind == "nginx" else "apache", stack, port, folder)
        write = _nginx if kind == "nginx" else _apache
        command = write(folder, block, port, asks_password=asks_password)
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        try:
            _wait_until_ready(process, port, folder)
            yield ReverseProxy(port)
        finally:
            # With its workers: Apache waits for open connections.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def _documented(language: str, stack: LabStack, port: int, folder: Path) -> str:
    page = MarkdownPage(DOCS / "reverse-proxy.md")
    (block,) = (block.text for block in page.blocks if block.language == language)
    changes = {
        "/etc/ssl/": f"{folder}/",
        "127.0.0.1:3001": f"127.0.0.1:{stack.settings.port}",
        "127.0.0.1:3002": f"127.0.0.1:{stack.settings.admin_port}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "<VirtualHost *:443>": f"<VirtualHost *:{port}>",
    }
    for written, here in changes.items():
        block = block.replace(written, here)
    assert "443" not in block
    return block


def _nginx(folder: Path, block: str, port: int, *, asks_password: bool) -> list[str]:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    password = f'auth_basic "Sisu"; auth_basic_user_file {folder}/passwords;' if asks_password else ""
    (folder / "nginx.conf").write_text(
        f"daemon off;\nworker_processes 1;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}\n{password}\n{block}\n}}\n"
    )
    return [str(PROGRAMS["nginx"]), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]


def _apache(folder: Path, block: str, port: int, *, asks_password: bool) -> list[str]:
    modules = "\n".join(f"LoadModule {name}_module {_MODULES}/mod_{name}.so" for name in _NEEDED)
    password = (
        f'<Location "/">\nAuthType Basic\nAuthName "Sisu"\nAuthUserFile {folder}/passwords\nRequire valid-user\n'
        "</Location>\n"
        if asks_password
        else ""
    )
    (folder / "apache.conf").write_text(
        f"ServerRoot {folder}\nServerName 127.0.0.1\nListen 127.0.0.1:{port}\nPidFile {folder}/pid\n"
        f"ErrorLog {folder}/error.log\n{modules}\nUser www-data\nGroup www-data\nMutex file:{folder}\n"
        f"{password}{block}\n"
    )
    return [str(PROGRAMS["apache2"]), "-f", str(folder / "apache.conf"), "-DFOREGROUND"]


def _certificate(folder: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "1", "-subj", "/CN=sisu.example.org"),
            *("-keyout", str(folder / "sisu.key"), "-out", str(folder / "sisu.pem")),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            httpx.get(f"https://127.0.0.1:{port}/healthz", verify=False, trust_env=False, timeout=5)
            return
        except httpx.TransportError:
            logs = [path.read_text() for path in (folder / "output", folder / "error.log") if path.exists()]
            assert process.poll() is None, logs
            assert time.monotonic() < deadline, logs
            time.sleep(0.05)


def free_port() -> int:
    """A port for a proxy."""
    return free_ports(1)[0]


def asset_paths(page: str) -> list[str]:
    """The scripts and style sheets of a page of ours."""
    return re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)

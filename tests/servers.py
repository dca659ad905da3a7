"""Real Git servers on this machine, over each transport that hosts may share: a path, file, http, ssh and git.

Each can be stopped, so that nobody answers at its address, and started again there. ``python -m tests.servers FOLDER
PORT`` is the http one: the real git-http-backend behind a small web server.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
KINDS = ("path", "file", "http", "ssh", "git")
PATIENCE = 60.0  # seconds that a server may take to answer


class Missing(Exception):
    """A program that the server needs is not installed."""


class Server:
    """A server of the repositories in one folder. `variables`: what clients need in their environment."""

    def __init__(
        self, address: str, command: Sequence[str], port: socket.socket, variables: Mapping[str, str] | None = None
    ) -> None:
        self.address, self.port, self.variables = address, int(port.getsockname()[1]), variables or {}
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Raises `AssertionError` with what it printed if it does not answer."""
        with tempfile.TemporaryFile() as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            limit = time.monotonic() + PATIENCE
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
                    return
                if self._process.poll() is not None or time.monotonic() > limit:
                    self.stop()
                    log.seek(0)
                    raise AssertionError(f"{shlex.join(self._command)}: {log.read().decode(errors='replace')}")
                time.sleep(0.02)

    def stop(self) -> None:
        """Kill it with whatever it serves just now."""
        if self._process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self._process.pid)
            for process in [*family.children(recursive=True), family]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.wait()
        self._process = None


@contextlib.contextmanager
def serving(kind: str, repository: Path, scratch: Path) -> Iterator[Server]:
    """A server of `kind` with the bare `repository`; keys and the like go into `scratch`.

    Raises:
        Missing: a program is not installed.
    """
    if kind in ("path", "file"):
        yield _Folder(repository, kind)
        return
    # Bound and never listened on, it keeps the port for the server to come back to, and refuses while that is away.
    with socket.socket() as port:
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port.bind(("127.0.0.1", 0))
        make = {"http": _http, "ssh": _ssh, "git": _git}[kind]
        server = make(repository, scratch, port)
        server.start()
        try:
            yield server
        finally:
            server.stop()


class _Folder(Server):
    """No server at all: stopped, the folder is elsewhere."""

    def __init__(self, repository: Path, kind: str) -> None:
        self.address, self.variables = str(repository) if kind == "path" else repository.as_uri(), {}
        self._here, self._away = repository, repository.with_name(f"{repository.name}-away")

    def start(self) -> None:
        self._away.rename(self._here)

    def stop(self) -> None:
        self._here.rename(self._away)


def _http(repository: Path, scratch: Path, port: socket.socket) -> Server:  # noqa: ARG001  # as the others
    _backend()
    number = port.getsockname()[1]
    command = [sys.executable, "-m", "tests.servers", str(repository.parent), str(number)]
    _configure(repository, "http.receivepack", "true")
    return Server(f"http://127.0.0.1:{number}/{repository.name}", command, port)


def _git(repository: Path, scratch: Path, port: socket.socket) -> Server:  # noqa: ARG001
    program = _backend().with_name("git-daemon")
    if not program.exists():
        raise Missing(f"git daemon, which is not installed ({program})")
    number = port.getsockname()[1]
    command = [str(program), "--reuseaddr", "--listen=127.0.0.1", f"--port={number}", "--export-all"]
    command += ["--enable=receive-pack", f"--base-path={repository.parent}", str(repository.parent)]
    return Server(f"git://127.0.0.1:{number}/{repository.name}", command, port)


def _ssh(repository: Path, scratch: Path, port: socket.socket) -> Server:
    """OpenSSH with keys of its own. As Debian configures it it accepts no GIT_PROTOCOL: Git speaks version 0."""
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    sshd, keygen = shutil.which("sshd", path=search), shutil.which("ssh-keygen", path=search)
    if sshd is None or keygen is None or shutil.which("ssh") is None:
        raise Missing("OpenSSH, which is not installed (openssh-server, openssh-client)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd does not start without it
    scratch.mkdir(parents=True, exist_ok=True)
    host, user = scratch / "host_key", scratch / "user_key"
    for key in (host, user):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(key)], check=True)
    number = port.getsockname()[1]
    known = scratch / "known_hosts"
    known.write_text(f"evogit-test {host.with_suffix('.pub').read_text()}")
    home = scratch / "home"
    home.mkdir()
    settings = {
        "Port": str(number),
        "ListenAddress": "127.0.0.1",
        "HostKey": str(host),
        "PidFile": "none",
        "AuthorizedKeysFile": str(user.with_suffix(".pub")),
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "MaxStartups": "100",
        "SetEnv": f"HOME={home} GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null",
    }
    config = scratch / "sshd_config"
    config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    words = ["ssh", "-F", "none", "-i", str(user), "-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={known}"]
    words += ["-o", "GlobalKnownHostsFile=none", "-o", "HostKeyAlias=evogit-test", "-o", "StrictHostKeyChecking=yes"]
    words += ["-o", "BatchMode=yes"]
    address = f"ssh://{getpass.getuser()}@127.0.0.1:{number}{repository}"
    return Server(address, [sshd, "-D", "-e", "-f", str(config)], port, {"GIT_SSH_COMMAND": shlex.join(words)})


def _configure(repository: Path, name: str, value: str) -> None:
    subprocess.run(["git", "-C", str(repository), "config", name, value], check=True)


def _backend() -> Path:
    found = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
    backend = Path(found) / "git-http-backend"
    if not backend.exists():
        raise Missing(f"git http-backend, which is not installed ({backend})")
    return backend


class _Backend(BaseHTTPRequestHandler):
    """Hands each request to git-http-backend, as RFC 3875 says."""

    protocol_version = "HTTP/1.1"
    root: Path
    program: Path

    def handle_any(self) -> None:
        path, _, query = self.path.partition("?")
        body = self._body()
        variables = {
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type") or "",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
            "PATH": os.environ.get("PATH", os.defpath),
        }
        done = subprocess.run([str(self.program)], input=body, env=variables, capture_output=True, check=False)
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")) if head else {"Status": "500"}
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest)

    do_GET = do_POST = handle_any  # noqa: N815  # the base class wants these names

    def _body(self) -> bytes:
        """What was sent; Git sends what is larger than a megabyte in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return found

    def log_message(self, format: str, *words: Any) -> None:  # as in the base class
        pass


def main(folder: str, port: str) -> None:
    _Backend.root, _Backend.program = Path(folder), _backend()
    with ThreadingHTTPServer(("127.0.0.1", int(port)), _Backend) as server:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

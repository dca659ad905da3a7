"""The wire between simulated hosts and one `git daemon`: it counts bytes, is cut, and lets things happen meanwhile."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import serving

FETCH, PUSH = "git-upload-pack", "git-receive-pack"


@dataclass
class Wire:
    """Hosts write their name into the path (`address`), by which they are counted and cut off.

    `meanwhile` is called once, before the next push goes through: what it does happens between somebody's fetch and
    his push. What it raised is in `error`.
    """

    port: int = 0
    upstream: int = 0
    size: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(host, FETCH or PUSH) → bytes, both ways."""
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    cut: set[str] = field(default_factory=set)
    meanwhile: Callable[[], None] | None = None
    error: BaseException | None = None
    _open: Counter[str] = field(default_factory=Counter)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def traffic(self, host: str) -> tuple[int, int]:
        """Connections of a host so far, and their bytes, once none is open."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._open[host], 60), f"a connection of {host} never ends"
        keys = [(host, FETCH), (host, PUSH)]
        return sum(self.calls[key] for key in keys), sum(self.size[key] for key in keys)

    def address(self, host: str, repository: Path) -> str:
        return f"git://127.0.0.1:{self.port}/{host}/{repository.name}"

    def serve(self, near: socket.socket) -> None:
        """One connection, from its first packet on."""
        with near, contextlib.suppress(OSError):
            request = _packet(near)
            service, _, rest = request.partition(b" /")
            host, _, path = rest.partition(b"/")
            name = host.decode()
            if not path or name in self.cut or not self._happened(service):
                return
            with self._counted(name):
                self._carry(near, (name, service.decode()), service + b" /" + path)

    def _happened(self, service: bytes) -> bool:
        """What was to happen before this push has; False if it went wrong."""
        if service.decode() == PUSH and self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            try:
                happens()
            except BaseException as error:  # noqa: BLE001  # raised again where the exchange was asked for
                self.error = error
                return False
        return True

    def _carry(self, near: socket.socket, key: tuple[str, str], request: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self.upstream)) as far:
            far.sendall(b"%04x" % (len(request) + 4) + request)
            size = len(request) + 4 + _pump(near, far)
        with self._changed:
            self.calls[key] += 1
            self.size[key] += size

    @contextlib.contextmanager
    def _counted(self, host: str) -> Iterator[None]:
        with self._changed:
            self._open[host] += 1
        try:
            yield
        finally:
            with self._changed:
                self._open[host] -= 1
                self._changed.notify_all()


def _packet(near: socket.socket) -> bytes:
    size = int(_exactly(near, 4), 16)
    return _exactly(near, size - 4)


def _exactly(near: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = near.recv(size - len(found))
        if not piece:
            raise OSError("the connection ended")
        found += piece
    return found


def _pump(near: socket.socket, far: socket.socket) -> int:
    """Carry everything both ways until both have ended; how much."""
    count, other = 0, {near: far, far: near}
    with selectors.DefaultSelector() as selector:
        for side in other:
            selector.register(side, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                side = near if key.fileobj is near else far
                piece = side.recv(1 << 16)
                count += len(piece)
                if piece:
                    other[side].sendall(piece)
                    continue
                selector.unregister(side)
                with contextlib.suppress(OSError):
                    other[side].shutdown(socket.SHUT_WR)
                if side is far:
                    return count
    return count


@contextlib.contextmanager
def stretched(repository: Path, scratch: Path) -> Iterator[Wire]:
    """A wire to a real `git daemon` that serves `repository`."""
    with serving("git", repository, scratch) as server, socket.create_server(("127.0.0.1", 0), backlog=64) as door:
        wire = Wire(door.getsockname()[1], int(server.address.partition("127.0.0.1:")[2].partition("/")[0]))

        def answer() -> None:
            while True:
                try:
                    near, _ = door.accept()
                except OSError:
                    return
                threading.Thread(target=wire.serve, args=(near,), daemon=True).start()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield wire
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join()

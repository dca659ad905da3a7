"""A gate between one host and a server: it carries connections, is shut, or lets nothing through."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

RESET = struct.pack("ii", 1, 0)


class Gate:
    """Has a port of its own, the same each time it opens. Shut, it refuses; stalled, it takes and says nothing."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", 0))
        self._door: socket.socket | None = None
        self._lock = threading.Lock()
        self._sides: set[socket.socket] = set()
        self._flowing = threading.Event()
        self._flowing.set()

    @property
    def port(self) -> int:
        return int(self._place.getsockname()[1])

    def open(self) -> None:
        door = socket.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(self._place.getsockname())
        door.listen(64)
        self._door = door
        threading.Thread(target=self._answer, args=(door,), daemon=True).start()

    def shut(self) -> None:
        """Refuse new connections and reset those under way."""
        door, self._door = self._door, None
        if door is not None:
            with contextlib.suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)
            door.close()
        with self._lock:
            sides, self._sides = self._sides, set()
        for side in sides:
            with contextlib.suppress(OSError):
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                side.shutdown(socket.SHUT_RDWR)
            side.close()
        self._flowing.set()

    def stall(self) -> None:
        """As when packets are dropped: connections stay, nothing passes until the gate is shut."""
        self._flowing.clear()

    def _answer(self, door: socket.socket) -> None:
        while True:
            try:
                near, _ = door.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._upstream), 10)
            far.settimeout(None)
        except OSError:
            near.close()
            return
        with self._lock:
            self._sides |= {near, far}
        back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
        back.start()
        self._pump(near, far)
        back.join()
        with self._lock:
            self._sides -= {near, far}
        near.close()
        far.close()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                self._flowing.wait()
                target.sendall(piece)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

"""The messages between servers, and how one server has the candidates' halves run by its twin."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator

from .kernel import Message


def frame(message: Message) -> bytes:
    data = json.dumps(message).encode()
    return len(data).to_bytes(4, "big") + data


def frames(buffer: bytearray) -> Iterator[Message]:
    """The whole messages at the start of `buffer`, which are taken out of it."""
    while len(buffer) >= 4:
        size = int.from_bytes(buffer[:4], "big")
        if len(buffer) < 4 + size:
            return
        data = bytes(buffer[4 : 4 + size])
        del buffer[: 4 + size]
        yield json.loads(data)


class Twin:
    """A second server, forked before anything of the judge's is imported: it runs the candidates' halves."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self.control = control

    def begin(self, request: Message, *, namespaces: bool) -> socket.socket:
        """Start the candidate's half of `request`; the judge's end of the connection between the halves."""
        ours, theirs = socket.socketpair()
        mine: Message = {**request, "serving": True, "writable": False}
        if not namespaces:
            # Elsewhere each half has a /tmp of its own.
            mine["scratch"] = os.path.join(request["scratch"], "candidate")
            os.mkdir(mine["scratch"])
        with theirs:
            data = frame(mine)
            sent = socket.send_fds(self.control, [data], [theirs.fileno()])
            self.control.sendall(data[sent:])
        return ours

    def cancel(self, number: int) -> None:
        self.control.sendall(frame({"cancel": number}))

    def end(self) -> None:
        self.control.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

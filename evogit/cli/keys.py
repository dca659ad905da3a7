"""One key at a time from a terminal."""

from __future__ import annotations

import os
import sys
import termios
import tty

INTERRUPT, END = "\x03", "\x04"


def read_key() -> str:
    """The next key, without waiting for the return key. Raises `KeyboardInterrupt` on Ctrl-C, gives "q" at the end."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        data = os.read(terminal, 16)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
    text = data.decode("utf-8", "replace")
    if text[:1] == INTERRUPT:
        raise KeyboardInterrupt
    return "q" if text[:1] in ("", END) else text

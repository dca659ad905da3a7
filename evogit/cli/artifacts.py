"""The files that a judge left as evidence: written where a person can open them, and drawn where the terminal can."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evogit.store.objects import Objects

PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp")
CHUNK = 4096  # characters of one of kitty's escape sequences


def write(objects: Objects, artifacts: Mapping[str, str], folder: Path) -> list[Path]:
    """Write the files `artifacts`, name → blob, into `folder`. Raises `EvoGitError` where that cannot be done."""
    from evogit.errors import EvoGitError

    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, oid in sorted(artifacts.items()):
            (folder / name).write_bytes(objects.blob(oid))
            written.append(folder / name)
    except OSError as error:
        raise EvoGitError(f"{folder}: cannot be written: {error.strerror}") from error
    return written


def told(objects: Objects, artifacts: Mapping[str, str]) -> str:
    """Their names and sizes in one line."""
    sizes = {name: len(objects.blob(oid)) for name, oid in sorted(artifacts.items())}
    return ", ".join(f"{name} ({size / 1000:.0f} kB)" for name, size in sizes.items())


def drawn(path: Path, environment: Mapping[str, str]) -> str:
    """The escape sequence that shows a picture in this terminal; empty where it would only be noise.

    iTerm2, WezTerm and mintty know inline images of any form, kitty and ghostty PNG only.
    """
    if path.suffix.lower() not in PICTURES:
        return ""
    program, kind = environment.get("TERM_PROGRAM", ""), environment.get("TERM", "")
    if program in ("iTerm.app", "WezTerm", "mintty") or environment.get("LC_TERMINAL") == "iTerm2":
        data = path.read_bytes()
        name = base64.b64encode(path.name.encode()).decode()
        said = f"name={name};size={len(data)};inline=1;height=24;preserveAspectRatio=1"
        return f"\033]1337;File={said}:{base64.b64encode(data).decode()}\a\n"
    kitty = "KITTY_WINDOW_ID" in environment or kind in ("xterm-kitty", "xterm-ghostty")
    if kitty and path.suffix.lower() == ".png":
        text = base64.b64encode(path.read_bytes()).decode()
        parts = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]
        heads = ["f=100,a=T,r=24,", *[""] * (len(parts) - 1)]
        last = len(parts) - 1
        return (
            "".join(
                f"\033_G{head}m={int(at < last)};{part}\033\\"
                for at, (head, part) in enumerate(zip(heads, parts, strict=True))
            )
            + "\n"
        )
    return ""


def show(objects: Objects, artifacts: Mapping[str, str], folder: Path) -> None:
    """Write them, say where they are and what opens them, and draw the pictures if that is possible here."""
    for path in write(objects, artifacts, folder):
        if sys.stdout.isatty() and (picture := drawn(path, os.environ)):
            print(picture, end="")
        print(path)
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    print(f"to look at them: {opener} {folder}")

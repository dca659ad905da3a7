"""The corpus of model replies in this folder, read for the tests that go through it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from evogit.variation import replies

FOLDER = Path(__file__).parent

Reader = Callable[[str, Mapping[str, bytes]], Mapping[str, bytes | None]]


@dataclass(frozen=True)
class Case:
    """One reply, the files it is applied to, and what must come of it."""

    format: str
    name: str
    reply: str
    files: Mapping[str, bytes]
    then: Mapping[str, str] | None
    error: str | None
    says: str
    value: tuple[str, str] | None

    def __str__(self) -> str:
        return f"{self.format}: {self.name}"


def editable(path: str) -> bool:
    return path != "evaluate.py" and not path.startswith("tests/")


def readers() -> dict[str, Reader]:
    """A reader per format that makes changes, for the section and the file that the corpus asks about."""
    section, line = _read("section"), _read("line-edit")
    where = {"path": section["path"], "start": section["start"], "end": section["end"]}
    return {
        "search-replace": lambda reply, files: replies.read_search_replace(reply, files, editable),
        "whole-files": lambda reply, files: replies.read_whole_files(reply, files, editable),
        "section": lambda reply, files: replies.read_section(reply, files, editable, **where),
        "line-edit": lambda reply, files: replies.read_line_edit(reply, files, editable, path=line["path"]),
    }


def _read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))
    return loaded


def cases() -> list[Case]:
    """All of them, in the files' order."""
    return [
        case for name in ("search-replace", "whole-files", "section", "line-edit", "verdict") for case in _cases(name)
    ]


def _cases(name: str) -> list[Case]:
    loaded = _read(name)
    files = {path: text.encode() for path, text in loaded.get("files", {}).items()}
    return [
        Case(
            name,
            case["name"],
            case["reply"],
            {case["only"]: files[case["only"]]} if "only" in case else files,
            case.get("then"),
            case.get("error"),
            case.get("says", ""),
            (case["value"][0], case["value"][1]) if "value" in case else None,
        )
        for case in loaded["cases"]
    ]


def shown(files: Mapping[str, bytes], changes: Mapping[str, bytes | None]) -> dict[str, str]:
    """Changes as the corpus writes them: changed lines only."""
    found = {}
    for path, data in changes.items():
        old = files.get(path, b"").decode().splitlines()
        new = [] if data is None else data.decode().splitlines()
        lines = list(difflib.unified_diff(old, new, n=0, lineterm=""))[2:]
        found[path] = "deleted" if data is None else "".join(f"{s}\n" for s in lines if not s.startswith("@@"))
    return found

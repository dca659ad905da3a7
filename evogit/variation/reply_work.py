"""The files while a reply is applied to them: every path checked, every size bounded, the file's own style kept."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence

from evogit.values import Reason
from evogit.variation import paths
from evogit.variation.matching import Missing, replace_once
from evogit.variation.reply_text import Limits, ReplyError, refuse_elision, ungutter

Files = Mapping[str, bytes]
Editable = Callable[[str], bool]

NAMED = 8  # files that a message lists


class Work:
    """Texts with Unix line ends; `changes` gives them back in the files' own style.

    A file whose line ends are mixed keeps them: there "\\r" is a blank at the end of a line.
    """

    def __init__(self, files: Files, editable: Editable, limits: Limits) -> None:
        self._files, self._editable, self._limits = files, editable, limits
        self._texts: dict[str, str | None] = {}
        self._moved: dict[str, bytes] = {}
        self._edits = 0

    @property
    def touched(self) -> bool:
        return bool(self._texts)

    def only(self) -> str | None:
        """The one editable file, if there is just one."""
        names: Iterator[str] = filter(self._editable, self._files)
        first = next(names, None)
        return first if first is not None and next(names, None) is None else None

    def check(self, path: str) -> str:
        """The path as it is meant. Raises `ReplyError` for one that may not change."""
        while path.startswith("./"):
            path = path[2:]
        if problem := paths.problem(path):
            raise ReplyError(f"{path[:200]!r}: {problem}", Reason.FORBIDDEN)
        if not self._editable(path):
            raise ReplyError(f"{path} may not change; these may: {self._listed()}", Reason.FORBIDDEN)
        if not self.exists(path):
            self._check_new(path)
        return path

    def _check_new(self, path: str) -> None:
        parts = path.split("/")
        for folder in ("/".join(parts[:n]) for n in range(1, len(parts))):
            if self.exists(folder):
                raise ReplyError(f"{path}: {folder} is a file, not a folder", Reason.FORBIDDEN)
        names = [*self._files, *self._texts]
        if any(name.startswith(path + "/") and self.exists(name) for name in names):
            raise ReplyError(f"{path}: a folder has this name", Reason.FORBIDDEN)

    def _listed(self) -> str:
        names = [name for name, _ in zip(filter(self._editable, self._files), range(NAMED + 1), strict=False)]
        return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")

    def exists(self, path: str) -> bool:
        return self._texts[path] is not None if path in self._texts else path in self._files

    def text(self, path: str) -> str:
        """The present text; empty for a file that is not there."""
        if path in self._texts:
            return self._texts[path] or ""
        return decoded(self._files.get(path, b""))

    def meant(self, path: str) -> str:
        """An existing file whose folder the model left out or made up, if it can only be that one."""
        if self.exists(path) or path.startswith("/") or ".." in path:
            return path
        near = [name for name in self._files if name.endswith("/" + path) or path.endswith("/" + name)]
        return near[0] if len(near) == 1 and self.exists(near[0]) else path

    def put(self, path: str, text: str | None) -> None:
        """The new text of a checked path, or None to delete it."""
        if text is not None:
            if len(text) > self._limits.file or len(text.encode("utf-8", "surrogateescape")) > self._limits.file:
                raise ReplyError(f"{path} would be longer than {self._limits.file} bytes", Reason.UNPARSABLE)
            if "\0" in text and b"\0" not in self._before(path):
                raise ReplyError(f"{path}: the new text has a NUL character in it", Reason.UNPARSABLE)
        self._texts[path] = text
        if len(self._texts) > self._limits.files:
            raise ReplyError(f"more than {self._limits.files} files in one reply", Reason.UNPARSABLE)
        self._edits += 1
        if self._edits > self._limits.edits:
            raise ReplyError(f"more than {self._limits.edits} edits in one reply", Reason.UNPARSABLE)

    def write(self, path: str, body: str) -> None:
        """The whole file."""
        path = self.check(path)
        old = self.text(path)
        known = old.split("\n")
        text = "\n".join(refuse_elision(ungutter(body.split("\n"), frozenset(known)), known))
        # Blank lines at the end are the file's own affair.
        self.put(path, text.rstrip("\n") + old[len(old.rstrip("\n")) :] if old.strip("\n") else text)

    def edit(self, path: str, sides: Sequence[tuple[list[str], list[str]]]) -> None:
        """One SEARCH/REPLACE block. `sides`: the ways to read it, the shortest SEARCH first."""
        first, new = sides[0]
        path = self.check(self.meant(path) if any(line.strip() for line in first) else path)
        if not any(line.strip() for line in first):
            if self.exists(path) and self.text(path).strip():
                told = "there is text in it, so SEARCH must say which lines to replace; an empty SEARCH creates a file"
                raise ReplyError(f"{path}: {told}", Reason.NOT_FOUND)
            self.put(path, "\n".join([*refuse_elision(ungutter(unfenced(path, new)), []), ""]) if new else "")
            return
        if not self.exists(path):
            near = difflib.get_close_matches(path, [n for n in self._files if self.exists(n)][:2000], 1)
            did = f"; did you mean {near[0]}?" if near else ""
            raise ReplyError(
                f"{path}: there is no such file{did} (to create a file leave SEARCH empty)", Reason.NOT_FOUND
            )
        self.put(path, self._replaced(path, sides))

    def _replaced(self, path: str, sides: Sequence[tuple[list[str], list[str]]]) -> str:
        text = self.text(path)
        told: Missing | None = None
        # Where a line ======= is part of the text, the longest SEARCH that is there is the one meant.
        for side in reversed(sides):
            for reading, (search, new) in enumerate(_readings(path, *side)):
                try:
                    found = replace_once(text, search, new)
                except Missing as error:
                    told = told if reading else error
                    continue
                refuse_elision(new, search)
                return found
        raise ReplyError(f"{path}: {told}", Reason.NOT_FOUND)

    def delete(self, path: str) -> None:
        path = self.check(path)
        if not self.exists(path):
            raise ReplyError(f"DELETE {path}: there is no such file", Reason.NOT_FOUND)
        self.put(path, None)

    def rename(self, old: str, new: str) -> None:
        old, new = self.check(old), self.check(new)
        if not self.exists(old):
            raise ReplyError(f"RENAME {old} -> {new}: there is no {old}", Reason.NOT_FOUND)
        if old == new:
            return
        if self.exists(new):
            raise ReplyError(f"RENAME {old} -> {new}: {new} is there already", Reason.NOT_FOUND)
        text, self._moved[new] = self.text(old), self._before(old)
        self.put(new, text)
        self.put(old, None)

    def _before(self, path: str) -> bytes:
        """The bytes whose style the file at `path` keeps: its own, or those of the file it was moved from."""
        return self._moved.get(path) or self._files.get(path, b"")

    def changes(self) -> dict[str, bytes | None]:
        """What is different now. Raises `ReplyError` if nothing is."""
        found: dict[str, bytes | None] = {}
        for path, text in self._texts.items():
            old = self._files.get(path)
            if text is None:
                if old is not None:
                    found[path] = None
            elif old is None or text.rstrip("\n") != decoded(old).rstrip("\n"):
                like = self._before(path)
                found[path] = like if text == decoded(like) else styled(text, like)
        if not found:
            raise ReplyError("the reply changes nothing; change something that matters", Reason.NO_OP)
        return found


def _readings(path: str, search: list[str], new: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    """A block as it is, then without line numbers, then without fences inside its two sides."""
    yield search, new
    bare = ungutter(search, least=1)
    if bare != search:
        yield bare, ungutter(new, all_or_none=False)
    open_search, open_new = unfenced(path, search), unfenced(path, new)
    if open_search != search:
        yield open_search, open_new


def decoded(data: bytes) -> str:
    """Without a byte order mark, and with Unix line ends where all were the other ones."""
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    return text.replace("\r\n", "\n") if _crlf(data) else text


def _crlf(data: bytes) -> bool:
    return b"\r\n" in data and data.count(b"\r\n") == data.count(b"\n")


def styled(text: str, old: bytes) -> bytes:
    """`text` with the old file's line ends, byte order mark, and a last line end where that had one."""
    if (not old or old.endswith(b"\n")) and text and not text.endswith("\n"):
        text += "\n"
    if _crlf(old):
        text = text.replace("\n", "\r\n")
    data = text.encode("utf-8", "surrogateescape")
    return b"\xef\xbb\xbf" + data if old.startswith(b"\xef\xbb\xbf") else data


def unfenced(path: str, lines: list[str]) -> list[str]:
    """Without a fence inside the block around all of its lines."""
    full = [n for n, line in enumerate(lines) if line.strip()]
    if len(full) < 2 or path.endswith((".md", ".markdown", ".rst")):
        return lines
    first, last = lines[full[0]].strip(), lines[full[-1]].strip()
    if first.startswith("```") and "`" not in first[3:] and last == "```":
        return lines[full[0] + 1 : full[-1]]
    return lines

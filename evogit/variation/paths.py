"""Whether a path out of a reply is one that may stand in a tree, on every file system Git is used on."""

from __future__ import annotations

import re
import unicodedata

_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)


def problem(path: str) -> str:
    """What is wrong with a relative POSIX path; empty if nothing is."""
    if not path or len(path.encode("utf-8", "surrogatepass")) > 1024:
        return "not a path" if not path else "the path is too long"
    if path.startswith(("/", "~")) or re.match(r"[A-Za-z]:", path):
        return "an absolute path; paths are relative to the top of the repository"
    if "\\" in path:
        return "a backslash; folders are separated by /"
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in path):
        return "an invisible or control character"
    for part in path.split("/"):
        if wrong := _part_problem(part):
            return wrong
    return ""


def _part_problem(part: str) -> str:
    if part in ("", ".", ".."):
        return "an empty part, '.' or '..'"
    if part != part.strip() or part.endswith("."):
        return "a part that begins or ends with a blank, or ends with a dot"
    if len(part.encode("utf-8", "surrogatepass")) > 255:
        return "a part longer than 255 bytes"
    # HFS+ ignores some characters and case, NTFS case, streams and what stands behind a short name.
    plain = unicodedata.normalize("NFKC", part).casefold().partition(":")[0]
    if plain == ".git" or re.fullmatch(r"git~\d+", plain) or plain in (".gitmodules", ".gitattributes"):
        return f"{part!r} belongs to Git"
    if any(c in part for c in '<>:"|?*') or _RESERVED.fullmatch(part):
        return f"{part!r} cannot be a file's name everywhere"
    return ""

"""Which file a line of a model's prose names: a heading, `File: x`, a list item, a word in a sentence."""

from __future__ import annotations

import re
from collections.abc import Container

from evogit.variation.reply_text import SHORT

# What a file may end in when a sentence, not a heading, speaks of it: `math.sqrt` is no file.
_ENDINGS = re.compile(
    r"\.(?:py|pyi|pyx|md|rst|txt|tex|json|jsonl|toml|yaml|yml|cfg|ini|conf|env|c|h|cc|cpp|cxx|"
    r"hh|hpp|hxx|cu|cuh|m|mm|rs|go|js|mjs|cjs|jsx|ts|tsx|vue|java|kt|kts|scala|rb|php|pl|"
    r"pm|lua|sh|bash|zsh|fish|ps1|sql|html|htm|css|scss|less|xml|svg|csv|tsv|r|jl|f|f90|"
    r"f95|hs|ml|mli|ex|exs|erl|clj|lisp|el|vim|cmake|mk|gradle|swift|cs|fs|vb|dart|zig|nim|"
    r"asm|s|proto|lock|j2|jinja|ipynb|tf)$",
    re.IGNORECASE,
)
_BARE = frozenset({"Makefile", "Dockerfile", "LICENSE"})
_LABEL = re.compile(
    r"(?:\d{1,3}[.)]\s+)?(?:(?:(?:new |updated |modified |full |complete )?file(?: ?name| ?path)?|path|create|update|"
    r"edit|modify|title|src)(?:\s*[:=][*_ ]*|\s+)|\d{1,3}[.)]\s+)",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"(?:#+|//+|--|/\*+|<!--|;+|%+)\s*")
_REMARK = re.compile(r"\s*[(\[](?:new|new file|modified|updated|unchanged|created|full|complete)[)\]]$", re.IGNORECASE)
_QUOTED = re.compile(r"`([^`\s][^`]{0,400})`|\*\*([^*\s][^*]{0,400})\*\*")


def heading(line: str, known: Container[str]) -> str | None:
    """The path that a line consists of, as ``### File: `src/a.py`:`` does. It need not be a good one."""
    if len(line) > SHORT:
        return None
    text = line.strip().strip("#>*-+=• \t").rstrip(": \t")
    text = text[comment.end() :] if (comment := _COMMENT.match(text)) else text
    label = _LABEL.match(text.lstrip("*_"))
    text = text.lstrip("*_")[label.end() :] if label else text
    text = _REMARK.sub("", text).rstrip("*/: \t")
    path = text.strip("*`\"' \t").rstrip(":")
    marked = text[:1] in ("`", "'", '"') or (label is not None and label[0].rstrip("*_ ")[-1:] in (":", "="))
    if path in known:
        return path
    if any(word.strip("*`\"'") in known for word in path.split()):
        return None
    return path if _pathlike(path, marked) else None


def _pathlike(text: str, marked: bool) -> bool:
    if not text or len(text) > 600 or text.endswith((",", ";", "!", "?")) or "://" in text or "`" in text:
        return False
    if re.search(r"\s", text.strip()) and not marked:
        return False
    if re.search(r"[()=<>{}|]|,\s", text) or text.count(" ") > 6:
        return False
    if re.search(r"[^.\s]\.[A-Za-z]\w{0,9}[. ]*$", text):
        return True
    # Without an ending: `Input/Output` may be any heading, so it takes a mark, or the look of an attempt to get out.
    escape = text.startswith((".", "/", "~")) or "\\" in text or ".." in text or "git~" in text.lower()
    return bool((marked and "/" in text) or (escape and re.search(r"\w|\.\.", text)) or (marked and text in _BARE))


def mentioned(line: str, known: Container[str]) -> str | None:
    """The one path that a sentence speaks of: a known file, or one in backticks that looks like a file's name."""
    if len(line) > SHORT:
        return None
    words = {word.strip("`*\"'()[]:,;.!?") for word in line.split()} | {
        word.strip("`*\"'()[]:,;") for word in line.split()
    }
    quoted = [first or second for first, second in _QUOTED.findall(line)]
    found = {word for word in [*words, *quoted] if word in known}
    if not found:
        found = {word for word in quoted if _pathlike(word, False) and _ENDINGS.search(word)}
    return found.pop() if len(found) == 1 else None


def info_path(info: str, known: Container[str]) -> str | None:
    """The path in a fence's info string: ``python src/a.py``, ``python:src/a.py``, ``src/a.py`` or ``title="a.py"``."""
    word, _, rest = info.strip()[:SHORT].partition(" ")
    language, _, after = word.partition(":")
    for candidate in (rest, after if re.fullmatch(r"[\w+#-]{1,20}", language) else "", word):
        if candidate.strip(" {}") and (said := heading(candidate.strip(" {}"), known)):
            return said
    return None

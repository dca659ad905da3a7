"""Find the lines a model means: exactly once, with forgiving white space, or the nearest lines to show it."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence

SHOWN = 12  # lines in a "did you mean"
MOST = 100  # places counted, and close lines looked at
NOT_UTF8 = dict.fromkeys(range(0xDC80, 0xDD00), "\ufffd")  # bytes that are not UTF-8, as prompts show them
_TYPOGRAPHY = NOT_UTF8 | {
    ord(fancy): plain
    for fancies, plain in (("“”„«»", '"'), ("‘’‚", "'"), ("–—−‐‑", "-"), ("\u00a0\u202f\u2009", " "), ("…", "..."))
    for fancy in fancies
}


class Missing(Exception):
    """Not there, or not there once. The message says which, and what is near."""


def replace_once(text: str, search: Sequence[str], new: Sequence[str]) -> str:
    """`text` with the only occurrence of the lines `search` replaced by `new`.

    Forgiven, in this order: blank lines around, blanks at line ends, tabs for blanks, the indentation, and at last
    blank lines inside and typographic quotes. `new` is indented like the text found. Raises `Missing`.
    """
    lines = text.split("\n")
    wanted, given = _trimmed(search, new)
    for alike in (_exact, str.rstrip, _expanded, str.strip):
        seen = [alike(line) for line in lines]
        tries = ((list(search), list(new)), (wanted, given)) if alike is _exact else ((wanted, given),)
        for sought, answer in tries:
            places = _places(seen, [alike(line) for line in sought])
            if places:
                at = _single(places, lines)
                return _joined(lines, at, at + len(sought), fitted(answer, sought, lines[at : at + len(sought)]))
    full = [n for n, line in enumerate(lines) if line.strip()]
    dense = [line for line in wanted if line.strip()]
    places = _places([plain(lines[n]) for n in full], [plain(line) for line in dense])
    if places:
        at = _single([full[place] for place in places], lines)
        first = full.index(at)
        found = [lines[n] for n in full[first : first + len(dense)]]
        return _joined(lines, at, full[first + len(dense) - 1] + 1, fitted(given, dense, found))
    raise Missing(nearest(lines, wanted, given))


def _exact(line: str) -> str:
    return line


def _expanded(line: str) -> str:
    return line.expandtabs(4).rstrip()


def plain(line: str) -> str:
    """A line without what fonts, editors and broken encodings make of it."""
    return line.strip() if line.isascii() else line.translate(_TYPOGRAPHY).strip()


def _trimmed(search: Sequence[str], new: Sequence[str]) -> tuple[list[str], list[str]]:
    """Without blank lines at both ends; as many are taken from the replacement."""
    wanted, given = list(search), list(new)
    for end in (0, -1):
        while wanted and not wanted[end].strip():
            del wanted[end]
            if given and not given[end].strip():
                del given[end]
    return wanted, given


def _places(seen: Sequence[str], sought: Sequence[str]) -> list[int]:
    """Where the lines `sought` begin in `seen`; the search itself is the linear one of `str.find`."""
    if not any(sought) or len(sought) > len(seen):
        return []
    hay, needle = "\n".join(["", *seen, ""]), "\n".join(["", *sought, ""])
    places: list[int] = []
    at, line, counted = hay.find(needle), 0, 0
    while at >= 0 and len(places) < MOST:
        line += hay.count("\n", counted, at)
        counted = at
        places.append(line)
        at = hay.find(needle, at + 1)
    return places


def _single(places: Sequence[int], lines: Sequence[str]) -> int:
    if len(places) == 1:
        return places[0]
    where = ", ".join(str(n + 1) for n in places[:8]) + (", …" if len(places) > 8 else "")
    count = f"{MOST} times or more" if len(places) >= MOST else f"{len(places)} times"
    above = [
        f"line {n + 1} stands after {lines[n - 1].strip()[:80]!r}" for n in places[:3] if n and lines[n - 1].strip()
    ]
    hint = f" ({'; '.join(above)})" if above else ""
    raise Missing(
        f"the SEARCH text is in the file {count}, at lines {where}{hint}; "
        "take more lines around the place you mean into SEARCH and REPLACE"
    )


def _joined(lines: Sequence[str], start: int, end: int, new: Sequence[str]) -> str:
    return "\n".join([*lines[:start], *new, *lines[end:]])


def indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def fitted(new: Sequence[str], wanted: Sequence[str], found: Sequence[str]) -> list[str]:
    """`new`, written for `wanted`, as it must be for `found`: lines that stay as found, others indented like them."""
    if list(wanted) == list(found):
        return list(new)
    pairs = [(w, f) for w, f in zip(wanted, found, strict=True) if w.strip()]
    same: dict[str, str | None] = {}
    for w, f in pairs:
        same[w] = f if same.get(w, f) == f else None
    # The first line alone may have lost its indentation, so the shift that most lines share counts.
    shifts = Counter((indent(w), indent(f)) for w, f in (pairs[1:] or pairs))
    by_indent = {had: has for (had, has), _ in reversed(shifts.most_common())}
    widths = Counter(_width(has) - _width(had) for (had, has), n in shifts.items() for _ in range(n))
    delta = widths.most_common(1)[0][0] if widths else 0
    tabs = any("\t" in indent(f) for f in found)
    end = "\r" if all(f.endswith("\r") for f in found) else ""
    fit = []
    for line in new:
        kept = same.get(line)
        if kept is None:
            kept = _moved(line, by_indent, delta, tabs) + end
        fit.append(kept)
    return fit


def _moved(line: str, by_indent: dict[str, str], delta: int, tabs: bool) -> str:
    had = indent(line)
    if not line.strip():
        return line
    if had in by_indent and _width(by_indent[had]) - _width(had) == delta:
        return by_indent[had] + line[len(had) :]
    width = max(0, _width(had) + delta)
    if tabs:
        return "\t" * (width // 4) + " " * (width % 4) + line[len(had) :]
    return line if delta == 0 else " " * width + line[len(had) :]


def _width(blanks: str) -> int:
    return len(blanks.expandtabs(4))


def like_section(new: Sequence[str], old: Sequence[str]) -> list[str]:
    """`new`, which replaces the lines `old`, with the indentation that the model dropped: everywhere, or at its start.

    Lines that both have tell by how much; without any, the shape of the text does.
    """
    first = next((n for n, line in enumerate(new) if line.strip()), None)
    begun = next((line for line in old if line.strip()), "")
    if first is None or indent(new[first]) or not indent(begun):
        return list(new)
    counts = Counter(line.strip() for line in old)
    places = {line.strip(): indent(line) for line in old if counts[line.strip()] == 1 and line.strip()}
    votes = Counter(
        _width(places[line.strip()]) - _width(indent(line)) for line in new[first + 1 :] if line.strip() in places
    )
    shift = votes.most_common(1)[0][0] if votes else None
    same_start = places.get(new[first].strip())
    rest = [line for line in new[first + 1 :] if line.strip()]
    if shift is None:
        shift = 0 if _absolute(new[first], rest, begun) else _width(indent(begun))
    if same_start is None and shift == 0 and any(not indent(line) for line in rest) and votes:
        return list(new)  # the other lines are where they were: the new first line is meant to stand at the margin
    lead = indent(begun) if same_start is None else same_start
    extra = ("\t" * (shift // 4) if lead.startswith("\t") else " " * shift) if shift > 0 else ""
    return [
        *new[:first],
        lead + new[first],
        *(extra + line if line.strip() else line for line in new[first + 1 :]),
    ]


def untabbed(new: Sequence[str], old: Sequence[str]) -> list[str]:
    """`new` with blanks for the tabs it is indented by, where the file `old` has none."""
    if not any(line.startswith("\t") for line in new) or any(line.startswith("\t") for line in old):
        return list(new)
    return [indent(line).expandtabs(4) + line.lstrip(" \t") for line in new]


def _absolute(first: str, rest: Sequence[str], begun: str) -> bool:
    """Whether only the first line lost its indentation: the others stand at least as deep as the old text began."""
    if not rest:
        return False
    level = _width(indent(begun))
    if min(_width(indent(line)) for line in rest) < level:
        return False
    opens = first.rstrip().endswith((":", "{", "(", "["))
    return not (opens and _width(indent(rest[0])) <= level)


def nearest(
    lines: Sequence[str], wanted: Sequence[str], new: Sequence[str] = (), quoted: str = "the SEARCH text"
) -> str:
    """What to tell a model that quoted from memory: the place that is most alike, if one is."""
    told = f"{quoted} is not in the file"
    if not wanted:
        return f"{told}: it is empty"
    given = [line.strip() for line in new if line.strip()]
    stripped = [line.strip() for line in lines]
    if len(given) > 1 and (there := _places([s for s in stripped if s], given)):
        line = [n for n, s in enumerate(stripped) if s][there[0]]
        return f"{told}, but the REPLACE text is already there, at line {line + 1}"
    at = _most_alike(stripped, [line.strip()[:200] for line in wanted[:60]])
    if at < 0:
        return f"{told}; copy whole lines of it exactly, a few around the place you mean"
    end = min(len(lines), at + min(len(wanted), SHOWN))
    numbers = f"line {at + 1}" if end == at + 1 else f"lines {at + 1}-{end}"
    shown = "\n".join(line[:300] for line in lines[at:end])
    return f"{told}. Did you mean these lines ({numbers})? Quote whole lines, exactly as they are:\n{shown}"


def _most_alike(stripped: Sequence[str], text: Sequence[str]) -> int:
    """The line where the text most like `text` begins; -1 if nothing is alike. Work is bounded, whatever the sizes."""
    starts: Counter[int] = Counter()
    anchors = sorted((n for n, line in enumerate(text) if line), key=lambda n: -len(text[n]))[:4]
    for offset in anchors:
        same = [n for n, line in enumerate(stripped) if line == text[offset]][:MOST]
        starts.update(n - offset for n in same or _close(stripped, text[offset]))
    best, at = 0.0, -1
    matcher = difflib.SequenceMatcher(None, autojunk=False)
    matcher.set_seq2("\n".join(text)[:6000])
    for start, _ in starts.most_common(20):
        begin = max(0, start)
        if begin >= len(stripped):
            continue
        matcher.set_seq1("\n".join(line[:200] for line in stripped[begin : begin + len(text)])[:6000])
        ratio = matcher.quick_ratio()
        if ratio > best:
            best, at = ratio, begin
    return at if best >= 0.6 else -1


def _close(stripped: Sequence[str], anchor: str) -> list[int]:
    """Lines like `anchor`; in a long file only among those that hold one of its longest words."""
    words = sorted({word for word in _words(anchor) if len(word) > 2}, key=lambda word: (-len(word), word))[:3]
    few = len(stripped) <= 20 * MOST
    near: dict[str, int] = {}
    for n, line in enumerate(stripped):
        if line and line[:200] not in near and (few or any(word in line for word in words)):
            near[line[:200]] = n
            if len(near) >= 20 * MOST:
                break
    inside = [n for line, n in near.items() if anchor in line and len(anchor) > 3]
    if inside:
        return inside[:3]
    # Only the quick ratio: the true one takes quadratic time on lines made for that.
    matcher = difflib.SequenceMatcher(None, autojunk=False)
    matcher.set_seq2(anchor)
    scores = []
    for line, n in near.items():
        matcher.set_seq1(line)
        if matcher.real_quick_ratio() >= 0.6 and (ratio := matcher.quick_ratio()) >= 0.6:
            scores.append((-ratio, n))
    return [n for _, n in sorted(scores)[:3]]


def _words(line: str) -> list[str]:
    return "".join(c if c.isalnum() or c == "_" else " " for c in line).split()

"""Genetic improvement by lines, for any language: the fallback where there is no syntax tree."""

from __future__ import annotations

import random
import re

from evogit.errors import VariationError
from evogit.values import Proposal
from evogit.variation import crossing
from evogit.variation.request import Request

TRIES = 8
_NUMBER = re.compile(rb"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")


class Lines:
    """Delete, duplicate, swap, move and replace lines or indented blocks; change a number; merge and transplant."""

    OPERATORS = ("delete", "duplicate", "swap", "move", "ingredient", "number", *crossing.CROSSOVERS)

    waits = False

    def __init__(self, operators: tuple[str, ...] = OPERATORS) -> None:
        self.operators = operators

    def needs_mate(self, operator: str) -> bool:
        return operator in crossing.CROSSOVERS

    async def propose(self, request: Request) -> Proposal:
        if request.operator == "merge":
            return crossing.merge(request, lambda _path, _data: True)
        if request.operator == "transplant":
            return crossing.transplant(request, lambda _path, _data: True)
        paths = list(request.receiver.files)
        for _ in range(TRIES if paths else 0):
            path = request.rng.choice(paths)
            data = request.receiver.files[path]
            lines = data.splitlines(True)
            if b"\0" in data or not any(line.strip() for line in lines):
                continue
            at, new = _EDITS[request.operator](lines, request)
            joined = b"".join(new)
            if joined != data:
                text = lines[at].strip().decode("utf-8", "replace") if at < len(lines) else ""
                summary = f"{path}:{at + 1} {request.operator} {text}"[:72]
                return Proposal((request.receiver.commit,), {path: joined}, summary, request.operator)
        raise VariationError(f"{request.operator}: nothing to change in {len(paths)} files")

    def learn(self, proposal: Proposal, improved: bool) -> None:
        """Lines learn nothing; allocation does."""


def _indent(line: bytes) -> int:
    return len(line) - len(line.lstrip())


def _block(lines: list[bytes], rng: random.Random) -> tuple[int, int]:
    """A line that is not blank, with the more indented lines below it half of the time: [start, end)."""
    start = rng.choice([n for n, line in enumerate(lines) if line.strip()])
    end = start + 1
    if rng.random() < 0.5:
        while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) > _indent(lines[start])):
            end += 1
    while end > start + 1 and not lines[end - 1].strip():
        end -= 1
    return start, end


def _peer(lines: list[bytes], start: int, rng: random.Random) -> int:
    """Another line with the same indentation, if there is one."""
    depth = _indent(lines[start])
    peers = [n for n, line in enumerate(lines) if n != start and line.strip() and _indent(line) == depth]
    return rng.choice(peers) if peers else start


def _ended(lines: list[bytes]) -> list[bytes]:
    """Every line with a line end, so that lines can change places."""
    end = b"\r\n" if lines and lines[0].endswith(b"\r\n") else b"\n"
    return [line if line.endswith((b"\n", b"\r")) else line + end for line in lines]


def _delete(lines: list[bytes], request: Request) -> tuple[int, list[bytes]]:
    start, end = _block(lines, request.rng)
    return start, lines[:start] + lines[end:]


def _duplicate(lines: list[bytes], request: Request) -> tuple[int, list[bytes]]:
    lines = _ended(lines)
    start, end = _block(lines, request.rng)
    return start, lines[:end] + lines[start:end] + lines[end:]


def _swap(lines: list[bytes], request: Request) -> tuple[int, list[bytes]]:
    lines = _ended(lines)
    start, _ = _block(lines, request.rng)
    other = _peer(lines, start, request.rng)
    lines[start], lines[other] = lines[other], lines[start]
    return start, lines


def _move(lines: list[bytes], request: Request) -> tuple[int, list[bytes]]:
    lines = _ended(lines)
    start, end = _block(lines, request.rng)
    block, rest = lines[start:end], lines[:start] + lines[end:]
    at = request.rng.randint(0, len(rest))
    return start, rest[:at] + block + rest[at:]


def _ingredient(lines: list[bytes], request: Request) -> tuple[int, list[bytes]]:
    donor = request.rng.choice([request.receiver, *request.pool])
    paths = list(donor.files)
    source = donor.files[request.rng.choice(paths)].splitlines(True) if paths else []
    useful = [line for line in _ended(source) if line.strip() and b"\0" not in line]
    lines = _ended(lines)
    start, _ = _block(lines, request.rng)
    alike = [line for line in useful if _indent(line) == _indent(lines[start])] or useful
    if alike:
        new = request.rng.choice(alike)
        lines[start : start + request.rng.randint(0, 1)] = [new]
    return start, lines


def _number(lines: list[bytes], request: Request) -> tuple[int, list[bytes]]:
    found = [(n, match) for n, line in enumerate(lines) for match in _NUMBER.finditer(line)]
    if not found:
        raise VariationError("number: no number in the file")
    at, match = request.rng.choice(found)
    lines = list(lines)
    lines[at] = lines[at][: match.start()] + nudge(match[0].decode(), request.rng).encode() + lines[at][match.end() :]
    return at, lines


def nudge(text: str, rng: random.Random) -> str:
    """A number near the one in `text`, an integer if that was one, never negative."""
    if "." not in text:
        value = int(text)
        return str(max(0, rng.choice([value - 1, value + 1, value // 2, value * 2, value + rng.randint(-10, 10)])))
    return f"{abs(float(text) * (1 + rng.gauss(0, 0.3)) + rng.gauss(0, 0.01)):.6g}"


_EDITS = {
    "delete": _delete,
    "duplicate": _duplicate,
    "swap": _swap,
    "move": _move,
    "ingredient": _ingredient,
    "number": _number,
}

"""Numbers in JSON, TOML, YAML and .npy files: adaptive Gaussian steps, and blending where both parents moved one.

The step size follows the one-fifth success rule (Rechenberg 1973, in Kern et al.'s form: × 1.5 on success, × 1.5^(-1/4)
on failure), a file at a time; blending is BLX-alpha (Eshelman and Schaffer 1993) on the numbers both parents changed.
"""

from __future__ import annotations

import io
import math
import random
import re
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from evogit.errors import VariationError
from evogit.values import Proposal
from evogit.variation import crossing
from evogit.variation.request import Request

TRIES = 8
FIRST_STEP, SMALLEST, LARGEST = 0.2, 1e-9, 1e3
ALPHA = 0.25
SUFFIXES = (".json", ".toml", ".yaml", ".yml", ".npy")

_JSON = re.compile(rb'"(?:\\.|[^"\\])*"|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)')
_PLAIN = re.compile(
    rb'"(?:\\.|[^"\\])*"|\'[^\']*\'|\#[^\n]*'
    rb"|(?<![\w.:+-])(?P<number>[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.:-]|[ \t]*[=:])"
)


@dataclass(frozen=True, slots=True)
class Token:
    """A number in a text file: where it stands, as bytes."""

    start: int
    end: int
    text: bytes

    @property
    def value(self) -> float:
        return float(self.text)

    @property
    def whole(self) -> bool:
        return re.fullmatch(rb"[+-]?\d+", self.text) is not None


def tokens(path: str, data: bytes) -> list[Token]:
    """The numbers of a text file, outside strings and comments; keys, dates, times and versions are none."""
    pattern = _JSON if path.endswith(".json") else _PLAIN
    return [Token(m.start(), m.end(), m["number"]) for m in pattern.finditer(data) if m["number"]]


def splice(data: bytes, changes: list[tuple[Token, float]]) -> bytes:
    """`data` with numbers replaced; integers stay integers, everything else stays as it is."""
    for token, value in sorted(changes, key=lambda change: -change[0].start):
        data = data[: token.start] + _spell(token, value) + data[token.end :]
    return data


def _spell(token: Token, value: float) -> bytes:
    if token.whole:
        return str(round(value)).encode()
    text = repr(float(f"{value:.12g}"))
    return text.encode()


@dataclass
class Numbers:
    """Perturb one number, perturb many, blend two parents; three-way merge and transplant as for any file."""

    OPERATORS = ("perturb", "perturb-many", "blend", *crossing.CROSSOVERS)

    waits: ClassVar[bool] = False
    operators: tuple[str, ...] = OPERATORS
    steps: dict[str, float] = field(default_factory=dict)
    """Path → step size, learned."""

    def needs_mate(self, operator: str) -> bool:
        return operator == "blend" or operator in crossing.CROSSOVERS

    async def propose(self, request: Request) -> Proposal:
        if request.operator == "merge":
            return crossing.merge(request, lambda _path, _data: True)
        if request.operator == "transplant":
            return crossing.transplant(request, lambda _path, _data: True)
        if request.operator == "blend":
            return _blend(request)
        paths = [path for path in request.receiver.files if path.endswith(SUFFIXES)]
        used: dict[str, float] = {}
        for _ in range(TRIES if paths else 0):
            path = request.rng.choice(paths)
            data = request.receiver.files[path]
            step = used[path] = self.steps.get(path, FIRST_STEP)
            new, summary = _perturb(path, data, step, request.rng, many=request.operator == "perturb-many")
            if new is not None and new != data:
                recipe = {"steps": used}
                return Proposal((request.receiver.commit,), {path: new}, summary[:72], request.operator, recipe=recipe)
        raise VariationError(f"{request.operator}: no number to move in {len(paths)} files ({', '.join(SUFFIXES)})")

    def learn(self, proposal: Proposal, improved: bool) -> None:
        """The one-fifth success rule, for the files that `proposal` perturbed."""
        if proposal.operator.startswith("perturb"):
            for path in proposal.changes:
                step = self.steps.get(path, FIRST_STEP) * (1.5 if improved else 1.5**-0.25)
                self.steps[path] = min(LARGEST, max(SMALLEST, step))


def _perturb(path: str, data: bytes, step: float, rng: random.Random, *, many: bool) -> tuple[bytes | None, str]:
    if path.endswith(".npy"):
        return _perturb_array(path, data, step, rng, many=many)
    found = tokens(path, data)
    if not found:
        return None, ""
    chosen = rng.sample(found, rng.randint(1, len(found)) if many else 1)
    changes = [(token, _moved(token.value, step, rng, whole=token.whole)) for token in chosen]
    line = data.count(b"\n", 0, chosen[0].start) + 1
    if many:
        return splice(data, changes), f"{path}: move {len(chosen)} numbers by steps of {step:.2g}"
    return splice(data, changes), f"{path}:{line} {chosen[0].text.decode()} → {changes[0][1]:.6g}"


def _moved(value: float, step: float, rng: random.Random, *, whole: bool) -> float:
    """A Gaussian step relative to the number's magnitude (1 for small ones); an integer moves by at least one."""
    moved = value + step * max(1.0 if whole else 0.1, abs(value)) * rng.gauss(0, 1)
    if whole and round(moved) == value:
        return value + rng.choice((-1, 1))
    return moved if math.isfinite(moved) else value


def _array(data: bytes) -> np.ndarray:
    try:
        loaded: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise VariationError(f"not a plain .npy file: {error}") from error
    if not isinstance(loaded, np.ndarray) or loaded.dtype.kind not in "fiu" or not loaded.size:
        raise VariationError("the array holds no numbers that can be moved")
    return loaded


def _dump(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _perturb_array(path: str, data: bytes, step: float, rng: random.Random, *, many: bool) -> tuple[bytes, str]:
    array = _array(data).copy()
    count = rng.randint(1, array.size) if many else 1
    for index in rng.sample(range(array.size), count):
        moved = _moved(float(array.flat[index]), step, rng, whole=array.dtype.kind in "iu")
        array.flat[index] = _fitted(array, moved)
    return _dump(array), f"{path}: move {count} of {array.size} numbers by steps of {step:.2g}"


def _fitted(array: np.ndarray, value: float) -> float | int:
    if array.dtype.kind == "f":
        return value
    info = np.iinfo(array.dtype)
    return int(min(max(round(value), info.min), info.max))


def _blend(request: Request) -> Proposal:
    """Numbers both parents moved get a value between or a little beyond theirs; moved by one, that one's."""
    mate = request.mate
    if mate is None:
        raise VariationError("blend needs a mate")
    changes: dict[str, bytes | None] = {}
    for path in sorted(request.theirs):
        ours, theirs = request.receiver.files.get(path), mate.files.get(path)
        if theirs is None or ours == theirs:
            continue
        base = request.base.files.get(path) if request.base else None
        if ours is None or path not in request.ours:
            changes[path] = theirs
        elif path.endswith(".npy"):
            changes[path] = _blend_arrays(base, ours, theirs, request.rng)
        elif path.endswith(SUFFIXES):
            changes[path] = _blend_texts(path, base or ours, ours, theirs, request.rng)
    changes = {path: data for path, data in changes.items() if data != request.receiver.files.get(path)}
    if not changes:
        raise VariationError("blend: the parents do not differ in numbers")
    summary = f"blend {mate.commit[:8]} into {request.receiver.commit[:8]}"
    return Proposal((request.receiver.commit, mate.commit), changes, summary, "blend")


def _mixed(base: float, ours: float, theirs: float, rng: random.Random) -> float:
    if theirs == base:
        return ours
    if ours == base:
        return theirs
    return ours + rng.uniform(-ALPHA, 1 + ALPHA) * (theirs - ours)


def _blend_texts(path: str, base: bytes, ours: bytes, theirs: bytes, rng: random.Random) -> bytes:
    rows = [tokens(path, side) for side in (base, ours, theirs)]
    if len({len(row) for row in rows}) > 1:
        raise VariationError(f"{path}: the parents have not the same numbers")
    mixed = [(o, _mixed(b.value, o.value, t.value, rng)) for b, o, t in zip(*rows, strict=True)]
    return splice(ours, [(token, value) for token, value in mixed if value != token.value])


def _blend_arrays(base: bytes | None, ours: bytes, theirs: bytes, rng: random.Random) -> bytes:
    mine, other = _array(ours).copy(), _array(theirs)
    start = _array(base) if base is not None else mine
    if mine.shape != other.shape or mine.shape != start.shape or mine.dtype != other.dtype:
        raise VariationError("the parents' arrays have different shapes")
    for index in np.flatnonzero(mine != other):
        values = (float(start.flat[index]), float(mine.flat[index]), float(other.flat[index]))
        mine.flat[index] = _fitted(mine, _mixed(*values, rng))
    return _dump(mine)

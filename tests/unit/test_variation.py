"""The offline operators: valid children, small diffs, the right parents, nothing changed that must not be."""

from __future__ import annotations

import ast
import asyncio
import io
import json
import random
import tomllib

import numpy as np
import pytest

from evogit.catalog import load_agent, parse_agent
from evogit.errors import DefinitionError, VariationError
from evogit.values import Proposal, Version, Vocabulary
from evogit.variation.lines import Lines
from evogit.variation.making import make
from evogit.variation.numbers import Numbers, tokens
from evogit.variation.request import Pool, Request, Variation
from evogit.variation.size import size
from evogit.variation.syntax import Syntax

SOURCE = '''"""Docstring."""

import math

LIMIT = 10  # a comment


def f(x, y):
    """What it does."""
    t = x * 2
    if y > 3:
        t = t + 1  # grows ünder
    for i in range(3):
        t -= y
    return -x + t


class C:
    @staticmethod
    def g(a):
        b = a
        return math.floor(a) + 1
'''
VOCABULARY = Vocabulary(names=("LIMIT",), calls=("max(_, _)", "_ ** 2"), numbers=(0.5, 3))


def version(text: str, name: str = "a", path: str = "p.py") -> Version:
    return Version(name * 40, name * 40, 0.0, {path: text.encode()})


def propose(variation: Variation, operator: str, seed: int, **more: object) -> Proposal:
    request = Request(
        receiver=more.get("receiver", version(SOURCE)),  # type: ignore[arg-type]  # tests name what they vary
        operator=operator,
        rng=random.Random(seed),
        vocabulary=VOCABULARY,
        mate=more.get("mate"),  # type: ignore[arg-type]
        base=more.get("base"),  # type: ignore[arg-type]
        ours=frozenset({"p.py"}),
        theirs=frozenset({"p.py"}),
        pool=Pool([version("def h(q):\n    return q % 7\n", "d")]),
    )
    return asyncio.run(variation.propose(request))


MUTATIONS = [o for o in Syntax.OPERATORS if not Syntax().needs_mate(o)]


@pytest.mark.parametrize("operator", MUTATIONS)
def test_mutations_of_syntax_stay_python_and_leave_the_rest_alone(operator: str) -> None:
    done = 0
    for seed in range(60):
        try:
            child = propose(Syntax(), operator, seed)
        except VariationError:
            continue
        done += 1
        data = child.changes["p.py"]
        assert data is not None
        ast.parse(data)
        assert data != SOURCE.encode()
        assert child.parents == ("a" * 40,)
        assert child.operator == operator
        text = data.decode()
        for kept in (
            '"""Docstring."""',
            "import math",
            '"""What it does."""',
            "def f(x, y):",
            "@staticmethod",
            "class C:",
        ):
            assert kept in text
        before, after = SOURCE.splitlines(), text.splitlines()
        assert len(set(before) - set(after)) <= 4, "one small change"
    assert done >= 30


def test_equal_seeds_make_equal_children() -> None:
    for operator in MUTATIONS:
        assert propose(Syntax(), operator, 3).changes == propose(Syntax(), operator, 3).changes


def test_a_wrapped_expression_keeps_its_text() -> None:
    for seed in range(30):
        child = propose(Syntax(), "wrap", seed, receiver=version("def f(x):\n    return x + 1\n"))
        data = child.changes["p.py"]
        assert data is not None
        assert b"x" in data


def test_children_of_what_is_no_python_are_refused() -> None:
    with pytest.raises(VariationError):
        propose(Syntax(), "perturb", 1, receiver=version("def ("))
    with pytest.raises(VariationError):
        propose(Syntax(), "perturb", 1, receiver=version("x", path="p.txt"))


BASE = "def f(x):\n    a = 1\n    b = 2\n    c = 3\n    return a + b + c\n"
OURS = version(BASE.replace("a = 1", "a = 10"))
MATE = version(BASE.replace("c = 3", "c = x"), "m")


@pytest.mark.parametrize("variation", [Syntax(), Lines(), Numbers()])
def test_a_clean_merge_has_both_changes_and_both_parents(variation: Variation) -> None:
    child = propose(variation, "merge", 1, receiver=OURS, mate=MATE, base=version(BASE, "b"))
    assert child.changes["p.py"] == BASE.replace("a = 1", "a = 10").replace("c = 3", "c = x").encode()
    assert child.parents == ("a" * 40, "m" * 40)
    assert child.donor is None


def test_a_transplant_has_one_parent_and_names_its_donor() -> None:
    child = propose(Syntax(), "transplant", 1, receiver=OURS, mate=MATE, base=version(BASE, "b"))
    assert child.parents == ("a" * 40,)
    assert child.donor == "m" * 40


def test_conflicting_hunks_come_from_either_parent() -> None:
    mate = version(BASE.replace("a = 1", "a = 99"), "m")
    seen = set()
    for seed in range(20):
        try:
            child = propose(Syntax(), "merge", seed, receiver=OURS, mate=mate, base=version(BASE, "b"))
        except VariationError:
            seen.add("ours")
            continue
        seen.add(str(child.changes["p.py"]))
    assert len(seen) == 2


def test_exchange_takes_an_expression_of_the_same_function() -> None:
    mate = version("def f(x):\n    return x ** 31\n\n\ndef other():\n    return 777\n", "m")
    for seed in range(20):
        child = propose(Syntax(), "exchange", seed, receiver=version("def f(x):\n    return x + 1\n"), mate=mate)
        data = child.changes["p.py"]
        assert data is not None
        assert b"777" not in data


@pytest.mark.parametrize("operator", ["delete", "duplicate", "swap", "move", "ingredient", "number"])
def test_lines_work_on_any_language(operator: str) -> None:
    text = "int f(int x) {\r\n    int y = 2;\r\n    if (x > 3) {\r\n        y = 7;\r\n    }\r\n    return y;\r\n}\r\n"
    done = 0
    for seed in range(30):
        try:
            child = propose(Lines(), operator, seed, receiver=version(text, path="p.c"))
        except VariationError:
            continue
        done += 1
        assert child.changes["p.c"] != text.encode()
    assert done > 20


TEXTS = {
    "p.json": '{"a": 1, "b 2": [2.5, -3e-2, true], "c": "7"}',
    "p.toml": "# 5 comments\na1 = 1\nb = [2.5, -3e-2]\ns = '9'\nd = 2024-01-02\nt = true\n",
    "p.yaml": "# 5\na: 1\nb: [2.5, -3.0e-2]\nversion: 1.2.3\nname: x7\n",
}


@pytest.mark.parametrize("path", TEXTS)
def test_dial_finds_numbers_and_changes_nothing_else(path: str) -> None:
    data = TEXTS[path].encode()
    assert sorted(t.value for t in tokens(path, data)) == sorted([1.0, 2.5, -0.03])
    for seed in range(20):
        child = propose(Numbers(), "perturb", seed, receiver=version(TEXTS[path], path=path))
        changed = child.changes[path]
        assert changed is not None
        old, new = tokens(path, data), tokens(path, changed)
        assert len(old) == len(new)
        assert sum(a.text != b.text for a, b in zip(old, new, strict=True)) == 1
        whole = next(t for t in new if t.start == old[0].start)
        assert whole.whole
        if path.endswith("json"):
            json.loads(changed)
        if path.endswith("toml"):
            tomllib.loads(changed.decode())


def npy(*values: float) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array(values, dtype=np.float32))
    return buffer.getvalue()


def test_dial_moves_and_blends_arrays() -> None:
    def of(name: str, *values: float) -> Version:
        return Version(name * 40, name * 40, 0.0, {"p.py": b"", "w.npy": npy(*values)})

    child = propose(Numbers(), "perturb", 1, receiver=of("a", 1, 2, 3))
    moved = child.changes["w.npy"]
    assert moved is not None
    array = np.load(io.BytesIO(moved))
    assert (array.dtype, array.shape) == (np.float32, (3,))
    assert (array != [1, 2, 3]).sum() == 1
    request = Request(
        of("a", 2, 2, 5),
        "blend",
        random.Random(1),
        VOCABULARY,
        of("m", 4, 3, 3),
        of("b", 1, 2, 3),
        frozenset({"w.npy"}),
        frozenset({"w.npy"}),
    )
    blended = asyncio.run(Numbers().propose(request)).changes["w.npy"]
    assert blended is not None
    first, second, third = np.load(io.BytesIO(blended))
    assert 1.5 <= first <= 4.5
    assert (second, third) == (3, 5)


def test_steps_follow_the_one_fifth_rule() -> None:
    numbers = Numbers()
    child = propose(numbers, "perturb", 1, receiver=version("[1.0]", path="p.json"))
    numbers.learn(child, improved=True)
    grown = numbers.steps["p.json"]
    numbers.learn(child, improved=False)
    assert numbers.steps["p.json"] < grown


def test_size_counts_nodes_not_comments() -> None:
    assert size({"p.py": b"x = 1\n"}, ["p.py"]) == size({"p.py": b"# long comment\nx = 1\n"}, ["p.py", "gone.py"])


def test_agents_are_made_from_their_definitions() -> None:
    for name in ("tinker", "sprinter", "shuffler", "dial"):
        made = make(load_agent(name, None))
        assert made.operators
        assert not load_agent(name, None).free_code
    with pytest.raises(DefinitionError, match="juggle"):
        make(parse_agent("---\nname: x\ndescription: d\noperator: syntax\narms: [juggle]\n---\nb\n", "x.md"))

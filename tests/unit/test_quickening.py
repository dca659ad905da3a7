"""Rewrites that mean to keep what a program does: what each makes of a form that it knows, and where it has none."""

from __future__ import annotations

import ast

import pytest

from evogit.errors import VariationError
from evogit.values import Version
from evogit.variation.syntax import Syntax
from tests.unit.test_variation import propose, version

SLOW = '''"""What is slow."""

from __future__ import annotations

import re

BREAK = re.compile(r" *\\n\\s*")


class State:
    def __init__(self):
        self.tokens = []
        self.cursor = 0

    def add(self, token):
        """Keep a token."""
        self.tokens.append(token)


def joined(text, state):
    text = BREAK.sub("\\n", text)
    state.add({"raw": text})
    return text.strip()


def total(state, texts):
    found = 0
    for text in texts:
        found += len(joined(text, state)) + state.cursor
    m = BREAK.match("".join(text for text in texts))
    return found if m is None else len(m.group(0))
'''


def children(operator: str, receiver: Version) -> set[str]:
    """Each child by 60 seeds, as text."""
    found = set()
    for seed in range(60):
        child = propose(Syntax(), operator, seed, receiver=receiver)
        (data,) = child.changes.values()
        assert data is not None
        assert child.parents == (receiver.commit,)
        ast.parse(data)
        found.add(data.decode())
    return found


def run(text: str) -> object:
    space: dict[str, object] = {}
    exec(compile(text.replace("from __future__ import annotations\n", ""), "slow.py", "exec"), space)
    state = space["State"]()  # type: ignore[operator]  # a class of the text
    return space["total"](state, ["a  \n b", "c", " d"]), state.tokens  # type: ignore[operator]  # its function


@pytest.mark.parametrize(
    ("operator", "line"),
    [
        ("skip", """    text = (BREAK.sub("\\n", text) if '\\n' in text else text)"""),
        ("hoist", "    state_cursor_ = state.cursor"),
        ("inline", "    (state.tokens.append({'raw': text}))"),
        ("remember", "@functools.lru_cache(maxsize=1024)"),
        ("idiom", "    return found if m is None else len(m[0])"),
        ("idiom", """    m = BREAK.match("".join([text for text in texts]))"""),
    ],
)
def test_each_form_is_rewritten(operator: str, line: str) -> None:
    assert any(line in child.splitlines() for child in children(operator, version(SLOW))), operator


@pytest.mark.parametrize("operator", ["hoist", "inline", "idiom"])
def test_these_keep_what_this_program_does(operator: str) -> None:
    assert {repr(run(child)) for child in children(operator, version(SLOW))} == {repr(run(SLOW))}


def test_a_hoist_leaves_alone_what_the_loop_assigns() -> None:
    text = "def f(s, items):\n    while s.at < 3:\n        s.at += s.by\n    return s\n"
    assert children("hoist", version(text)) == {
        "def f(s, items):\n    s_by_ = s.by\n    while s.at < 3:\n        s.at += s_by_\n    return s\n"
    }


def test_an_argument_with_an_effect_is_not_doubled() -> None:
    text = "def twice(x):\n    return x + x\n\n\ndef f(g):\n    return twice(g())\n"
    with pytest.raises(VariationError):
        propose(Syntax(), "inline", 1, receiver=version(text))


def test_a_name_that_a_module_does_not_have_is_not_brought_in() -> None:
    files = {
        "a.py": b"import re\n\n\ndef words(x):\n    return re.findall('.', x)\n",
        "b.py": b"def f(words):\n    return words('x')\n",
    }
    with pytest.raises(VariationError):
        propose(Syntax(), "inline", 1, receiver=Version("a" * 40, "a" * 40, 0.0, files))


@pytest.mark.parametrize("operator", Syntax.FURTHER)
def test_what_has_no_such_form_is_left_alone(operator: str) -> None:
    with pytest.raises(VariationError):
        propose(Syntax(), operator, 1, receiver=version("X = 1\n"))

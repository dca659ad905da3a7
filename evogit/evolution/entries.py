"""What an entry must hold to be taken in: who may push can write a journal, and the fold must not break on it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, NotRequired, Required

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from evogit.store.journal import Entry

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Natural = Annotated[int, Field(ge=0)]


class _Called(TypedDict, total=False):
    model: Required[str]
    role: Required[str]
    input: Natural
    output: Natural
    cost: Finite
    seconds: Finite
    failed: str


class _Any(TypedDict):
    """What is read of every entry, whatever its kind is."""

    calls: NotRequired[list[_Called]]


class _Found(TypedDict):
    digest: str
    direction: Literal["maximize", "minimize"]
    task: str


class _Scored(TypedDict):
    tree: Hex
    digest: str
    host: str
    agent: str
    status: str
    score: NotRequired[Finite | None]
    metrics: NotRequired[dict[str, Finite]]
    seconds: NotRequired[Finite]
    samples: NotRequired[list[Finite]]
    epoch: NotRequired[int]
    stage: NotRequired[str]


class _Born(_Scored):
    decision: str
    operator: str
    summary: str
    parents: list[Hex]
    step: NotRequired[int]
    skipped: NotRequired[dict[str, dict[str, Natural]]]
    touched: NotRequired[dict[str, list[list[int]]]]


class _Attempted(TypedDict):
    outcome: str
    host: str
    agent: str
    definition: str
    operator: str
    summary: str
    parents: list[Hex]
    step: NotRequired[int]
    touched: NotRequired[dict[str, list[list[int]]]]


class _Judged(TypedDict):
    verdict: str
    than: Hex


class _Noted(TypedDict):
    text: str
    candidates: NotRequired[Natural]


class _Seated(TypedDict):
    host: str
    agents: list[str]
    commit: Hex
    tree: Hex


class _Restarted(_Seated):
    start: Natural


class _Adopted(TypedDict):
    tree: Hex
    parents: NotRequired[list[Hex]]


FORMS: Mapping[str, Any] = {
    "founded": _Found,
    "evaluated": _Scored,
    "born": _Born,
    "attempted": _Attempted,
    "judged": _Judged,
    "noted": _Noted,
    "seated": _Seated,
    "restarted": _Restarted,
    "adopted": _Adopted,
    "any": _Any,
}


@cache
def _form(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(FORMS[name])


def flaw(entry: Entry) -> str | None:
    """Why an entry cannot be taken in, or None. Keys that are not known here are no flaw: newer versions write them."""
    name = entry.kind
    if name == "evaluated":
        name = "born" if "decision" in entry.data else name
        if entry.candidate is None:
            return "names no candidate"
        if entry.data.get("status") == "ok" and entry.data.get("score") is None:
            return "status ok without a score"
    elif name == "decided" and entry.data.get("decision") == "adopt":
        name = "adopted"
    try:
        for form in ("any", name) if name in FORMS else ("any",):
            _form(form).validate_python(entry.data, strict=True)  # "1" is no number where nobody converts it
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return None

"""The tables of the configuration: which keys each has, what they may hold and what they are for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from evogit.definitions import Seconds, Size, Table, is_name

Policy = Literal["paper", "tournament", "best-of-n", "greedy"]
Allocation = Literal["ucb", "matching", "uniform"]
SandboxChoice = Literal["auto", "bubblewrap", "landlock", "limits"]


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError("letters, digits, '-' and '_' only, as it becomes part of branch names")
    return text


class RunTable(Table):
    name: str = Field(default="main", description="the run's name; a repository can hold several")
    task: str | None = Field(default=None, description="the task to evolve, where a command names none")
    seed: int | None = Field(default=None, ge=0, description="of the random numbers; drawn when not given")
    deterministic: bool = Field(
        default=False, description="agents in turn with a logical clock: same seed, same commit ids"
    )

    _checked = field_validator("name")(_name)


class AgentCount(Table):
    name: str
    count: Annotated[int, Field(ge=0, le=100_000)] = 1
    model: str | None = None


def _population(value: object) -> object:
    """``"tinker:48, coder:4:fast"`` as the list of tables it is short for."""
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, list) else value
    rows: list[dict[str, object]] = []
    for part in value.split(","):
        found = re.fullmatch(r"\s*([\w-]+)(?::(\d+))?(?::([\w-]+))?\s*", part)
        if not found:
            raise ValueError('agents as [{name = "tinker", count = 48}], or "tinker:48, coder:4:fast" for short')
        rows.append({"name": found[1], "count": int(found[2] or 1), "model": found[3]})
    return tuple(rows)


class PopulationTable(Table):
    agents: Annotated[tuple[AgentCount, ...], BeforeValidator(_population)] = Field(
        default=(AgentCount(name="tinker", count=16),), min_length=1, description='who evolves, as "tinker:48, dial:4"'
    )


class EvolutionTable(Table):
    policy: Policy = Field(default="tournament", description="how parents are chosen and children accepted")
    tournament_size: int = Field(default=3, ge=1, description="how many compete to be a parent")
    crossover_every: int = Field(
        default=3, ge=0, description="every so many steps of an agent is a crossover (0 = none)"
    )
    island_size: int = Field(default=12, ge=1, description="agents of an island, among which parents are chosen")
    migration: float = Field(
        default=0.05, ge=0, le=1, description="how often a tournament draws from everybody instead"
    )
    niches: bool = Field(default=True, description="keep diversity: one living individual per behaviour")
    allocation: Allocation = Field(default="ucb", description="how operators are chosen by what they achieved so far")
    on_plateau: Literal["stop", "restart"] = Field(
        default="stop", description="what a run does after `patience` candidates, or `tries` children, in vain"
    )
    tries: int | None = Field(
        default=None, ge=1, description="a version is exhausted after so many children, none of them accepted"
    )


class EvaluationTable(Table):
    jobs: int = Field(default=0, ge=0, description="evaluations at a time (0 = one per processor)")
    sandbox: SandboxChoice = Field(
        default="auto", description="how candidates are confined; auto takes the best there is"
    )


class BudgetTable(Table):
    candidates: int | None = Field(default=None, ge=1, description="stop after so many candidates")
    seconds: Seconds | None = Field(default=None, description='stop after this time, as 90, "15m" or "4h"')
    patience: int | None = Field(default=None, ge=1, description="stop after so many candidates without improvement")
    target: float | None = Field(default=None, description="stop when a score as good as this is reached")
    tokens: int | None = Field(default=None, ge=1, description="stop before models use more tokens than this")
    cost: float | None = Field(default=None, ge=0, description="stop before models cost more than this")
    tokens_per_day: int | None = Field(default=None, ge=1, description="the same over all calls of one day (UTC)")
    cost_per_day: float | None = Field(default=None, ge=0, description="the same over all calls of one day (UTC)")


class ModelTable(Table):
    """A chat model. The key itself is never here: `api_key_env` names the variable that holds it."""

    model: str = Field(default="", description="the model's name at the server")
    base_url: str | None = Field(default=None, description="the server, when it is not OpenAI's")
    api_key_env: str | None = Field(default=None, description="the environment variable that holds the key")
    temperature: float | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    timeout: Seconds = 120.0
    max_concurrency: int = Field(default=8, ge=1)
    price_input: float | None = Field(default=None, ge=0, description="per million tokens")
    price_output: float | None = Field(default=None, ge=0, description="per million tokens")
    extra: Mapping[str, Any] = Field(default_factory=dict, description="sent with each request as it is")

    @field_validator("api_key_env")
    @classmethod
    def _a_name_not_a_key(cls, text: str | None) -> str | None:
        if text is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", text):
            raise ValueError("the name of an environment variable, as OPENAI_API_KEY, not the key itself")
        return text

    @field_validator("base_url")
    @classmethod
    def _no_password(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", url):
            raise ValueError("http://HOST/PATH or https://HOST/PATH, without a user, password or query")
        return url


class SyncTable(Table):
    remote: str | None = Field(
        default=None, description="the Git remote to exchange with; nothing is pushed without one"
    )
    every: Seconds = Field(default=60.0, description="time between two exchanges")
    immigrants: Literal["best", "all", "none"] = Field(
        default="best", description="who of other hosts may become a parent here: each host's best, all, or none"
    )
    immigration: float = Field(default=0.1, ge=0, le=1, description="how often parents are looked for among immigrants")
    trust: tuple[str, ...] = Field(
        default=("*",), description='hosts whose scores are believed, as names or patterns; ["*"] believes everybody'
    )
    check: float = Field(
        default=0.1, ge=0, le=1, description="share of other hosts' scores that is measured again before it counts"
    )
    tolerance: float | None = Field(
        default=None, ge=0, description="by how much a score may differ, relative (default: 0, or 0.25 of a noisy task)"
    )

    @field_validator("trust", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(filter(None, re.split(r"[\s,]+", value)))
        return tuple(value) if isinstance(value, list) else value


class EngineTable(Table):
    kind: Literal["local", "ray"] = Field(default="local", description="where evaluations run: here, or on a cluster")
    address: str = Field(default="auto", min_length=1, description="Ray's HOST:PORT; auto is the one running here")
    cpus: float = Field(default=1.0, gt=0, le=1024, description="processors that one evaluation takes of its node")
    gpus: float = Field(default=0.0, ge=0, le=1024, description="GPUs that one evaluation takes of its node")
    memory: Size | None = Field(default=None, description='memory that one evaluation takes of its node, as "2G"')
    resources: Mapping[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="what else one evaluation takes, by the cluster's own names"
    )

    def need(self) -> dict[str, float]:
        """What one evaluation needs of its node, by Ray's names."""
        own = {"CPU": self.cpus, "GPU": self.gpus, "memory": float(self.memory or 0)}
        return {name: amount for name, amount in {**self.resources, **own}.items() if amount}


class Tables(Table):
    run: RunTable = RunTable()
    population: PopulationTable = PopulationTable()
    evolution: EvolutionTable = EvolutionTable()
    evaluation: EvaluationTable = EvaluationTable()
    budget: BudgetTable = BudgetTable()
    models: Mapping[str, ModelTable] = Field(default_factory=dict)
    sync: SyncTable = SyncTable()
    engine: EngineTable = EngineTable()

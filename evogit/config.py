"""The configuration: what each table may hold, and where each value came from.

Sources, each over the one before: defaults, the user's own file, the repository's ``.evogit/config.toml``,
``EVOGIT_TABLE_KEY`` variables, flags. Nothing needs to be configured.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, field_validator

from evogit import toml
from evogit.definitions import (
    Seconds,
    Size,
    Source,
    Table,
    check_keys,
    did_you_mean,
    fail_unknown,
    is_name,
    read_text,
    validate,
)

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


class _Tables(Table):
    run: RunTable = RunTable()
    population: PopulationTable = PopulationTable()
    evolution: EvolutionTable = EvolutionTable()
    evaluation: EvaluationTable = EvaluationTable()
    budget: BudgetTable = BudgetTable()
    models: Mapping[str, ModelTable] = Field(default_factory=dict)
    sync: SyncTable = SyncTable()
    engine: EngineTable = EngineTable()


@dataclass(frozen=True)
class Config:
    """The effective configuration. `origins` has an entry for each key that is not at its default."""

    run: RunTable
    population: PopulationTable
    evolution: EvolutionTable
    evaluation: EvaluationTable
    budget: BudgetTable
    models: Mapping[str, ModelTable]
    sync: SyncTable
    engine: EngineTable
    origins: Mapping[str, str]

    def origin(self, key: str) -> str:
        """Where the value of the dotted `key` came from: "default", a file, a variable's name, or "flag"."""
        return self.origins.get(key, "default")

    def items(self) -> Iterator[tuple[str, Any, str]]:
        """Every dotted key with its value (as JSON would hold it, secrets masked) and its origin."""
        document = self.dump()
        models = document.pop("models")
        tables = {**document, **{f"models.{name}": table for name, table in models.items()}}
        for table, values in tables.items():
            for key, value in values.items():
                yield f"{table}.{key}", value, self.origin(f"{table}.{key}")

    def dump(self) -> dict[str, Any]:
        """The values as a document for JSON, without secrets; `from_dump` reads it back."""
        document = {
            name: getattr(self, name).model_dump(mode="json") for name in _Tables.model_fields if name != "models"
        }
        document["models"] = {name: _mask(table.model_dump(mode="json")) for name, table in self.models.items()}
        return document


DEFAULTS = Config(**dict(_Tables()), origins={})


def default_user_file() -> Path:
    """The user's own configuration file on this platform, whether it exists or not."""
    return platformdirs.user_config_path("evogit") / "config.toml"


def default_cache() -> Path:
    """The folder for what was fetched and can be fetched again."""
    return platformdirs.user_cache_path("evogit")


def describe(key: str) -> str:
    """What the dotted `key` is for, as `evogit config` and help texts say it. Raises `DefinitionError`."""
    path = tuple(key.split("."))
    table = _table_of(path, Source("configuration"))
    return table.model_fields[path[-1]].description or ""


def load(
    repository_root: Path | None,
    environ: Mapping[str, str],
    user_file: Path | None,
    flags: Mapping[str, object],
) -> Config:
    """The effective configuration.

    `flags` maps dotted keys, as ``budget.candidates``, to values, typed or as text; None means not given.
    Raises `DefinitionError` naming the file (or variable, or flag), the key and what was expected.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    files = [user_file, repository_root / ".evogit" / "config.toml" if repository_root else None]
    for path in files:
        if path is not None and path.is_file():
            _overlay(values, origins, _read_file(path), str(path))
    for variable, key, text in _from_environment(environ, values.get("models", {})):
        _overlay(values, origins, _nested(key, _typed(key, text, Source(variable))), variable)
    for flag, value in flags.items():
        if value is not None:
            source = Source("flag")
            _overlay(
                values, origins, _nested(tuple(flag.split(".")), _typed(tuple(flag.split(".")), value, source)), "flag"
            )
    return _finish(values, origins)


def from_dump(document: Mapping[str, Any], origin: str) -> Config:
    """The configuration that `Config.dump` wrote, as a run's ``founded`` entry holds it; `origin` names that."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    _overlay(values, origins, document, origin)
    return _finish(values, origins)


def _finish(values: Mapping[str, Any], origins: Mapping[str, str]) -> Config:
    tables = validate(_Tables, values, Source("configuration"))
    for name, model in tables.models.items():
        if not model.model:
            where = next(
                (origin for key, origin in origins.items() if key.startswith(f"models.{name}.")), "configuration"
            )
            Source(where).fail(("models", name, "model"), "is required: the model's name at its server")
    return Config(**dict(tables), origins=origins)


def _read_file(path: Path) -> dict[str, Any]:
    """The file's tables, checked on their own so that a mistake is told with its file and line."""
    text = read_text(path)
    source = Source(str(path), text)
    raw = toml.parse(text, path)
    check_keys(raw, _Tables.model_fields, source)
    models = raw.get("models", {})
    for name, table in models.items() if isinstance(models, dict) else ():
        if not is_name(name):
            source.fail(("models", name), "expected a name of letters, digits, '-' and '_'")
        if isinstance(table, dict) and "api_key" in table:
            source.fail(("models", name, "api_key"), "a key never stands in a file; api_key_env names its variable")
    validate(_Tables, raw, source)
    return raw


def _overlay(values: dict[str, Any], origins: dict[str, str], layer: Mapping[str, Any], origin: str) -> None:
    """Put `layer` over `values`, key by key; lists and a model's `extra` are replaced as a whole."""
    for table, content in layer.items():
        rows = {(table, name): row for name, row in content.items()} if table == "models" else {(table,): content}
        for path, row in rows.items():
            place = values
            for part in path:
                place = place.setdefault(part, {})
            place.update(row)
            origins.update({".".join((*path, key)): origin for key in row})


def _from_environment(environ: Mapping[str, str], models: Mapping[str, Any]) -> Iterator[tuple[str, toml.Key, str]]:
    """The variables that set a key: ``EVOGIT_BUDGET_CANDIDATES``, ``EVOGIT_MODELS_FAST_BASE_URL``. Empty is not set."""
    tables = list(_Tables.model_fields)
    for variable, text in sorted(environ.items()):
        table, _, rest = variable.removeprefix("EVOGIT_").lower().partition("_")
        if not variable.startswith("EVOGIT_") or not text or not rest:
            continue
        if table == "models":
            yield variable, _model_key(rest, models, Source(variable)), text
        elif table in tables:
            yield variable, (table, rest), text
        elif near := did_you_mean(table, tables):
            # Other EVOGIT_ variables exist (EVOGIT_RESULT); only what looks like a slip is refused.
            Source(variable).fail((), f"there is no table {table!r}{near}")


def _model_key(rest: str, models: Mapping[str, Any], source: Source) -> toml.Key:
    keys = [key for key in ModelTable.model_fields if rest.endswith(f"_{key}")]
    if not keys:
        source.fail((), f"expected EVOGIT_MODELS_NAME_KEY with a key of {', '.join(ModelTable.model_fields)}")
    key = max(keys, key=len)
    slug = rest.removesuffix(f"_{key}")
    return "models", next((name for name in models if name.lower().replace("-", "_") == slug), slug), key


def _typed(key: toml.Key, value: object, source: Source) -> object:
    """`value` for `key`; a text is tried as it is, then as TOML would read it (``16``, ``true``, ``[...]``)."""
    table = _table_of(key, source)
    name = str(key[-1])
    if name not in table.model_fields:
        fail_unknown(source, key, table.model_fields)
    if isinstance(value, str) and not _accepts(table, {name: value}):
        try:
            value = tomllib.loads(f"v = {value}")["v"]
        except tomllib.TOMLDecodeError:
            pass
    validate(table, {name: value}, source, key[:-1])
    return value


def _accepts(table: type[BaseModel], values: Mapping[str, object]) -> bool:
    try:
        table.model_validate(values)
    except ValidationError:
        return False
    return True


def _table_of(key: toml.Key, source: Source) -> type[BaseModel]:
    if key[0] == "models" and len(key) == 3:
        return ModelTable
    if key[0] not in _Tables.model_fields or key[0] == "models":
        fail_unknown(source, key[:1], _Tables.model_fields)
    table = _Tables.model_fields[str(key[0])].annotation
    assert isinstance(table, type)
    assert issubclass(table, BaseModel)
    return table


def _nested(key: toml.Key, value: object) -> dict[str, Any]:
    for part in reversed(key):
        value = {str(part): value}
    assert isinstance(value, dict)
    return value


_SECRET = re.compile(r"(?i)key|token$|secret|password|authorization|cookie")


def _mask(value: Any, name: str = "") -> Any:
    """`value` with whatever in a model's `extra` looks like a secret by its name replaced."""
    if isinstance(value, dict):
        return {key: inner if key == "api_key_env" else _mask(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_mask(inner, name) for inner in value]
    return "***" if isinstance(value, str) and _SECRET.search(name) else value

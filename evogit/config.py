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
from typing import Any

import platformdirs
from pydantic import BaseModel, ValidationError

from evogit import toml
from evogit.definitions import (
    Source,
    check_keys,
    did_you_mean,
    fail_unknown,
    is_name,
    read_text,
    validate,
)
from evogit.tables import (
    BudgetTable,
    EngineTable,
    EvaluationTable,
    EvolutionTable,
    ModelTable,
    PopulationTable,
    RunTable,
    SyncTable,
    Tables,
)


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
            name: getattr(self, name).model_dump(mode="json") for name in Tables.model_fields if name != "models"
        }
        document["models"] = {name: _mask(table.model_dump(mode="json")) for name, table in self.models.items()}
        return document


DEFAULTS = Config(**dict(Tables()), origins={})


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
    tables = validate(Tables, values, Source("configuration"))
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
    check_keys(raw, Tables.model_fields, source)
    models = raw.get("models", {})
    for name, table in models.items() if isinstance(models, dict) else ():
        if not is_name(name):
            source.fail(("models", name), "expected a name of letters, digits, '-' and '_'")
        if isinstance(table, dict) and "api_key" in table:
            source.fail(("models", name, "api_key"), "a key never stands in a file; api_key_env names its variable")
    validate(Tables, raw, source)
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
    tables = list(Tables.model_fields)
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
    if key[0] not in Tables.model_fields or key[0] == "models":
        fail_unknown(source, key[:1], Tables.model_fields)
    table = Tables.model_fields[str(key[0])].annotation
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

"""The configuration: which source wins, what is refused and how, and that no secret gets through."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from evogit import config
from evogit.errors import DefinitionError


def load(
    tmp_path: Path,
    *,
    user: str | None = None,
    repository: str | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> config.Config:
    user_file, root = tmp_path / "config.toml", tmp_path / "repo"
    (root / ".evogit").mkdir(parents=True, exist_ok=True)
    if user is not None:
        user_file.write_text(user)
    if repository is not None:
        (root / ".evogit/config.toml").write_text(repository)
    return config.load(root, environ or {}, user_file, flags or {})


def refused(call: Callable[[], object]) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        call()
    return caught.value


def test_everything_works_with_no_configuration_at_all() -> None:
    nothing = config.load(None, {}, None, {})
    assert nothing == config.DEFAULTS
    assert [(agent.name, agent.count) for agent in nothing.population.agents] == [("tinker", 16)]
    assert (nothing.run.name, nothing.evolution.policy, nothing.evaluation.jobs) == ("main", "tournament", 0)
    assert nothing.budget.candidates is None
    assert {origin for _, _, origin in nothing.items()} == {"default"}


def test_each_source_wins_over_the_one_before(tmp_path: Path) -> None:
    keys = ("candidates", "patience", "seconds", "target")
    loaded = load(
        tmp_path,
        user="[budget]\ncandidates = 1\npatience = 1\nseconds = 1\ntarget = 1",
        repository="[budget]\npatience = 2\nseconds = 2\ntarget = 2",
        environ={"EVOGIT_BUDGET_SECONDS": "3m", "EVOGIT_BUDGET_TARGET": "3"},
        flags={"budget.target": 4.0, "budget.candidates": None},
    )
    assert [getattr(loaded.budget, key) for key in keys] == [1, 2, 180, 4]
    assert [loaded.origin(f"budget.{key}") for key in keys] == [
        str(tmp_path / "config.toml"),
        str(tmp_path / "repo/.evogit/config.toml"),
        "EVOGIT_BUDGET_SECONDS",
        "flag",
    ]


def test_populations_are_tables_or_short(tmp_path: Path) -> None:
    table = load(
        tmp_path, user='[population]\nagents = [{name = "tinker", count = 48}, {name = "coder", model = "fast"}]'
    )
    short = load(tmp_path, flags={"population.agents": "tinker:48, coder:1:fast"})
    variable = load(tmp_path, environ={"EVOGIT_POPULATION_AGENTS": "tinker:48,coder:1:fast"})
    assert table.population == short.population == variable.population


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("EVOGIT_RUN_NAME", "2024", "2024"),
        ("EVOGIT_RUN_DETERMINISTIC", "true", True),
        ("EVOGIT_RUN_SEED", "7", 7),
        ("EVOGIT_EVALUATION_JOBS", "4", 4),
        ("EVOGIT_BUDGET_SECONDS", "1h30m", 5400.0),
        ("EVOGIT_BUDGET_TARGET", "-0.5", -0.5),
        ("EVOGIT_EVALUATION_SANDBOX", "limits", "limits"),
        ("EVOGIT_BUDGET_CANDIDATES", "", None),
    ],
)
def test_variables_take_the_type_of_their_key(tmp_path: Path, variable: str, text: str, value: object) -> None:
    table, key = variable.removeprefix("EVOGIT_").lower().split("_", 1)
    loaded = load(tmp_path, environ={variable: text})
    assert getattr(getattr(loaded, table), key) == value
    assert loaded.origin(f"{table}.{key}") == (variable if text else "default")


def test_other_variables_of_ours_are_left_alone(tmp_path: Path) -> None:
    assert load(tmp_path, environ={"EVOGIT_RESULT": "/x", "EVOGIT_CI": "1", "PATH": "x"}) == config.DEFAULTS


def test_models_merge_key_by_key(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        user='[models.my-fast]\nmodel = "a"\nbase_url = "http://localhost:1/v1"\ntimeout = "2m"',
        repository='[models.my-fast]\nmodel = "b"\nextra = {top_k = 3}',
        environ={"EVOGIT_MODELS_MY_FAST_API_KEY_ENV": "MY_KEY", "EVOGIT_MODELS_OTHER_MODEL": "c"},
    )
    fast = loaded.models["my-fast"]
    assert (fast.model, fast.base_url, fast.timeout, fast.api_key_env) == ("b", "http://localhost:1/v1", 120, "MY_KEY")
    assert loaded.models["other"].model == "c"
    assert loaded.origin("models.my-fast.model").endswith("repo/.evogit/config.toml")
    assert ("models.my-fast.extra", {"top_k": 3}) in [(key, value) for key, value, _ in loaded.items()]


@pytest.mark.parametrize(
    ("text", "line", "key", "expected"),
    [
        ("[budgt]\ncandidates = 1", 1, "budgt", "unknown key, did you mean 'budget'?"),
        ("[budget]\n\ncandidate = 1", 3, "budget.candidate", "did you mean 'candidates'?; known here: candidates"),
        ("[budget]\ncandidates = 0", 2, "budget.candidates", "greater than or equal to 1, not 0"),
        ('[budget]\nseconds = "4 hours"', 2, "budget.seconds", '"4h"'),
        ('[evolution]\npolicy = "papers"', 2, "evolution.policy", "'paper', 'tournament', 'best-of-n' or 'greedy'"),
        ('[run]\nname = "a/b"', 2, "run.name", "letters, digits"),
        ("[population]\nagents = []", 2, "population.agents", "at least 1 item"),
        ('[population]\nagents = [\n  {nam = "x"},\n]', 2, "population.agents[0].nam", "did you mean 'name'?"),
        ('[population]\nagents = "a b"', 2, "population.agents", 'or "tinker:48, coder:4:fast" for short'),
        ('[models.x]\nmodle = "y"', 2, "models.x.modle", "did you mean 'model'?"),
        ("models.x.max_tokens = 0", 1, "models.x.max_tokens", "greater than or equal to 1"),
        ("run = 1", 1, "run", "a table"),
        ("[run\n", 1, "", "not valid TOML"),
    ],
)
def test_a_mistake_is_told_with_file_line_key_and_expectation(
    tmp_path: Path, text: str, line: int, key: str, expected: str
) -> None:
    error = refused(lambda: load(tmp_path, user=text))
    assert (error.file, error.key) == (f"{tmp_path / 'config.toml'}:{line}", key)
    assert expected in error.expected


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("EVOGIT_BUDGET_CANDIDATE", "1", "EVOGIT_BUDGET_CANDIDATE: budget.candidate: unknown key, did you mean"),
        ("EVOGIT_BUGDET_CANDIDATES", "1", "there is no table 'bugdet', did you mean 'budget'?"),
        ("EVOGIT_BUDGET_CANDIDATES", "many", "budget.candidates: expected a whole number, not 'many'"),
        ("EVOGIT_MODELS_FAST_MODLE", "x", "expected EVOGIT_MODELS_NAME_KEY with a key of model, base_url"),
        ("EVOGIT_MODELS_FAST_BASE_URL", "http://h", "EVOGIT_MODELS_FAST_BASE_URL: models.fast.model: is required"),
    ],
)
def test_a_mistake_in_a_variable_names_it(tmp_path: Path, variable: str, text: str, message: str) -> None:
    assert message in str(refused(lambda: load(tmp_path, environ={variable: text})))


def test_a_mistake_in_a_flag_says_so(tmp_path: Path) -> None:
    assert str(refused(lambda: load(tmp_path, flags={"budget.target": "x"}))).startswith(
        "flag: budget.target: expected"
    )
    assert "unknown key" in str(refused(lambda: load(tmp_path, flags={"bugdet.target": 1})))


@pytest.mark.parametrize(
    "line",
    ['api_key = "sk-123"', 'api_key_env = "sk-123"', 'base_url = "https://user:sk-123@host/v1"'],
)
def test_a_key_in_a_file_is_refused_and_not_repeated(tmp_path: Path, line: str) -> None:
    error = refused(lambda: load(tmp_path, user=f'[models.fast]\nmodel = "m"\n{line}'))
    assert error.file.endswith(":3")
    assert "sk-123" not in str(error)


def test_the_dump_is_json_without_secrets_and_is_read_back(tmp_path: Path) -> None:
    text = """
[models.fast]
model = "m"
api_key_env = "MY_KEY"
[models.fast.extra]
seed = 1
headers = {Authorization = "Bearer sk-123", x-api-key = "sk-123"}
max_token = 5
"""
    loaded = load(tmp_path, user=text, environ={"MY_KEY": "sk-123"}, flags={"population.agents": "dial:3"})
    document = json.loads(json.dumps(loaded.dump()))
    assert "sk-123" not in json.dumps(document)
    assert document["models"]["fast"]["api_key_env"] == "MY_KEY"
    assert document["models"]["fast"]["extra"]["max_token"] == 5
    again = config.from_dump(document, "founded")
    assert again.dump() == loaded.dump()
    assert again.population == loaded.population
    assert again.origin("run.name") == "founded"


def test_loading_twice_gives_the_same_and_changes_nothing(tmp_path: Path) -> None:
    environ = {"EVOGIT_RUN_NAME": "x"}
    flags = {"budget.candidates": 5}
    assert load(tmp_path, environ=environ, flags=flags) == load(tmp_path, environ=environ, flags=flags)
    assert (environ, flags) == ({"EVOGIT_RUN_NAME": "x"}, {"budget.candidates": 5})


def test_every_key_says_what_it_is_for() -> None:
    assert {key for key, _, _ in config.DEFAULTS.items()} >= {
        "run.name",
        "budget.patience",
        "sync.remote",
        "engine.kind",
    }
    assert config.describe("budget.patience") == "stop after so many candidates without improvement"
    assert config.describe("models.fast.base_url").startswith("the server")

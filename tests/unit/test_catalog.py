"""Definitions are data: what is read, what is refused and how it is told, and that storing loses nothing."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from evogit import catalog
from evogit.catalog import EvaluationSpec, Stage, Task
from evogit.errors import DefinitionError, UsageError
from evogit.values import Vocabulary

TOML = """\
# A comment that must survive.
description = "Pack items into bins"
direction = "minimize"
evolve = ["heuristic.py", "lib/**/*.py"]
protect = ["lib/fixed"]
target = 0.5
metrics = ["waste", "bins"]

[evaluation]
function = "evaluate.py:evaluate"
deadline = "2m"
repeats = 3
noisy = true
epoch_every = 500
preload = ["numpy"]

[evaluation.validation]
function = "evaluate.py:validate"
deadline = 300

[limits]
memory = "512M"
cpu = "90s"

[vocabulary]
names = ["capacity"]
calls = ["np.maximum(_, _)"]
expressions = ["gap / capacity"]
numbers = [1, 0.5]

[parameters]
domain = "weibull"
sizes = [100, 200]
deep = { list = [1, 2.5, true] }
"""

FILES = {
    "task.toml": TOML,
    "goal.md": "# Goal\n\nWaste less.\n",
    "evaluate.py": "def evaluate(folder): ...\n",
    "data/table.csv": "1,2\n",
    "seed/heuristic.py": "def priority(): ...\n",
    "seed/lib/deep/code.py": "pass\n",
}


def write(folder: Path, files: Mapping[str, str | bytes] = FILES) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "packing")


def refused(call: Callable[[], object]) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        call()
    return caught.value


def with_toml(folder: Path, change: Callable[[str], str]) -> Path:
    (folder / "task.toml").write_text(change(TOML))
    return folder


# ---- what is read -----------------------------------------------------------------------------------------------


def test_a_task_is_read_as_it_stands(folder: Path) -> None:
    task = catalog.load_task_folder(folder)
    assert task.name == "packing"
    assert task.goal == "# Goal\n\nWaste less.\n"
    assert (task.direction, task.target, task.metrics) == ("minimize", 0.5, ("waste", "bins"))
    assert task.evaluation == EvaluationSpec(
        stages=(Stage(function="evaluate.py:evaluate", deadline=120, repeats=3),),
        validation=Stage(name="validation", function="evaluate.py:validate", deadline=300),
        noisy=True,
        epoch_every=500,
        preload=("numpy",),
    )
    assert (task.limits.memory, task.limits.cpu, task.limits.processes) == (512 << 20, 90, 32)
    assert task.vocabulary == Vocabulary(("capacity",), ("np.maximum(_, _)",), ("gap / capacity",), (1, 0.5))
    assert task.parameters == {"domain": "weibull", "sizes": [100, 200], "deep": {"list": [1, 2.5, True]}}
    assert set(task.files) == {"evaluate.py", "data/table.csv"}
    assert set(task.seed) == {"heuristic.py", "lib/deep/code.py"}
    assert task.source == folder.resolve()
    assert re.fullmatch("[0-9a-f]{16}", task.digest)


def test_a_cascade_has_named_stages(folder: Path) -> None:
    stages = """
[[evaluation.stages]]
command = ["python", "tests.py"]
threshold = 1
[[evaluation.stages]]
name = "speed"
function = "evaluate.py:evaluate"
"""
    task = catalog.load_task_folder(
        with_toml(folder, lambda text: re.sub(r"(?s)\[evaluation\].*?(?=\[limits)", stages, text))
    )
    first, second = task.evaluation.stages
    assert (first.name, first.command, first.threshold) == ("stage-1", ("python", "tests.py"), 1.0)
    assert (second.name, second.function) == ("speed", "evaluate.py:evaluate")


def test_seed_keeps_bytes_and_executable_bits_but_no_compiled_python(folder: Path) -> None:
    write(
        folder, {"seed/run.sh": b"\xff\x00\r\n", "seed/__pycache__/heuristic.cpython-311.pyc": b"", "seed/old.pyc": b""}
    )
    (folder / "seed/run.sh").chmod(0o755)
    write(folder, {"__pycache__/evaluate.cpython-311.pyc": b""})
    task = catalog.load_task_folder(folder)
    assert task.seed["run.sh"] == (b"\xff\x00\r\n", True)
    assert not [name for name in (*task.seed, *task.files) if "pyc" in name]


def test_a_file_name_that_is_not_utf8_survives(folder: Path) -> None:
    (folder / os.fsdecode(b"na\xefve.txt")).write_bytes(b"")
    task = catalog.load_task_folder(folder)
    assert os.fsdecode(b"na\xefve.txt") in task.files
    assert len(task.digest) == 16


# ---- storing and reading back -----------------------------------------------------------------------------------


def test_what_is_stored_is_read_back_the_same(folder: Path) -> None:
    write(folder, {"tool": "#!/bin/sh\n"})
    (folder / "tool").chmod(0o755)
    task = catalog.load_task_folder(folder)
    stored = catalog.task_files(task)
    assert stored["task.toml"] == (TOML.encode(), False)
    assert stored["tool"] == (b"#!/bin/sh\n", True)
    assert not [name for name in stored if name.startswith("seed/")]
    again = catalog.task_from_files("packing", stored)
    assert again == dataclasses.replace(task, seed={}, source=None)


def test_a_task_changed_in_memory_is_stored_as_changed(folder: Path) -> None:
    task = dataclasses.replace(catalog.load_task_folder(folder), target=0.25, protect=('a"b\\c€',))
    stored = catalog.task_files(dataclasses.replace(task, protect=("lib",)))
    again = catalog.task_from_files("packing", stored)
    assert (again.target, again.protect, again.digest) == (0.25, ("lib",), task.digest)


def test_a_task_made_in_code_can_be_stored() -> None:
    spec = EvaluationSpec(
        stages=(Stage(name="a", command=("sh", "-c", 'echo "\t\'é"')), Stage(name="b", command=("x",), threshold=-1.5)),
        validation=Stage(name="final", command=("y",)),
    )
    task = Task(
        name="made", description='say "hi"', goal="Better.", direction="maximize", evolve=("**",), protect=(),
        evaluation=spec, limits=catalog.Limits(cpu=3), vocabulary=Vocabulary(numbers=(1e-9,)),
        parameters={"rows": [{"a": 1}, {"b": [[1], [2]]}], "odd key": {"x": "y"}}, target=None, files={}, seed={},
    )  # fmt: skip
    again = catalog.task_from_files("made", catalog.task_files(task))
    digest = catalog.score_digest(task)
    assert again == dataclasses.replace(task, digest=digest, definition=again.definition)


def changed(folder: Path, change: Callable[[str], str]) -> str:
    return catalog.load_task_folder(with_toml(folder, change)).digest


def test_the_digest_is_of_what_can_change_a_score(folder: Path) -> None:
    before = changed(folder, str)
    assert changed(folder, lambda text: text.replace("# A comment", "# Another")) == before
    assert changed(folder, lambda text: text.replace("Pack items", "Put things")) == before
    assert changed(folder, lambda text: text.replace("target = 0.5", "target = 0.4")) == before
    assert changed(folder, lambda text: text.replace("capacity", "c")) == before
    assert changed(folder, lambda text: text.replace("weibull", "or")) != before
    assert changed(folder, lambda text: text.replace("512M", "256M")) != before
    assert changed(folder, lambda text: text.replace("repeats = 3", "repeats = 5")) != before
    with_toml(folder, str)
    write(folder, {"seed/heuristic.py": "other\n"})
    assert catalog.load_task_folder(folder).digest == before
    write(folder, {"evaluate.py": "other\n"})
    assert catalog.load_task_folder(folder).digest != before
    write(folder, {"evaluate.py": "#!/bin/sh\n"})
    script = catalog.load_task_folder(folder).digest
    (folder / "evaluate.py").chmod(0o755)  # a script is run whatever its mode is
    assert catalog.load_task_folder(folder).digest == script


# ---- finding ----------------------------------------------------------------------------------------------------


def test_the_users_own_definition_wins_over_a_built_in_one(tmp_path: Path) -> None:
    built_in = {task.name for task in catalog.list_tasks(None)}
    name = min(built_in, default="packing")
    write(tmp_path / ".evogit/tasks" / name)
    assert catalog.load_task(name, tmp_path).description == "Pack items into bins"
    assert {task.name for task in catalog.list_tasks(tmp_path)} == built_in | {name}


@pytest.mark.parametrize("name", ["pakcing", "packin", "../packing", "", "/etc"])
def test_an_unknown_task_names_the_nearest_and_the_command(tmp_path: Path, name: str) -> None:
    write(tmp_path / ".evogit/tasks/packing")
    with pytest.raises(UsageError, match="evogit tasks") as caught:
        catalog.load_task(name, tmp_path)
    assert ("'packing'?" in str(caught.value)) == ("pack" in name or "pak" in name)


def test_an_unknown_agent_names_the_nearest_and_the_command(tmp_path: Path) -> None:
    write(tmp_path / ".evogit/agents", {"gardener.md": "---\noperator: lines\n---\n"})
    with pytest.raises(UsageError, match=r"'gardener'\?\n`evogit agents`"):
        catalog.load_agent("gardner", tmp_path)
    assert catalog.load_agent("gardener", tmp_path).operator == "lines"
    assert "gardener" in [agent.name for agent in catalog.list_agents(tmp_path)]


def test_every_definition_we_ship_loads() -> None:
    catalog.list_tasks(None)
    catalog.list_agents(None)


# ---- mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "expected"),
    [
        ("evolve =", "evolv =", 4, "evolv", "unknown key, did you mean 'evolve'?"),
        ("deadline = \"2m\"", "deadlin = 3", 11, "evaluation.deadlin", "did you mean 'deadline'?"),
        ("deadline = \"2m\"", "deadline = \"soon\"", 11, "evaluation.deadline", "expected a duration"),
        ("deadline = 300", "deadline = -1", 19, "evaluation.validation.deadline", "greater than 0"),
        ("deadline = 300", "dedline = 1", 19, "evaluation.validation.dedline", "did you mean 'deadline'?"),
        ("\"minimize\"", "\"down\"", 3, "direction", "'maximize' or 'minimize'"),
        ("direction = \"minimize\"\n", "", None, "direction", "is required"),
        ("[\"heuristic.py\", \"lib/**/*.py\"]", "[]", 4, "evolve", "at least 1 item"),
        ("[\"heuristic.py\", \"lib/**/*.py\"]", "\"heuristic.py\"", 4, "evolve", "expected a list"),
        ("lib/**/*.py", "../x", 4, "evolve[1]", "leaves it"),
        ("lib/fixed", "/etc/passwd", 5, "protect[0]", "relative to the tree"),
        ("lib/fixed", ".git/config", 5, "protect[0]", "Git's own"),
        ("heuristic.py\",", "evaluate.py\",", 4, "evolve[0]", "evaluator's own file"),
        ("heuristic.py\", \"lib/**/*.py", "heuristics.py", 4, "evolve", "matches no file in seed/"),
        ("repeats = 3", "repeats = \"3\"", 12, "evaluation.repeats", "a whole number, not '3'"),
        ("repeats = 3", "repeats = true", 12, "evaluation.repeats", "a whole number, not True"),
        ("evaluate.py:evaluate", "evalute.py:evaluate", 10, "evaluation.function", "not in the task's folder"),
        ("evaluate.py:evaluate", "evaluate", 10, "evaluation.function", "\"file.py:name\""),
        ("function = \"evaluate.py:evaluate\"\n", "", 9, "evaluation", "exactly one of command"),
        ("repeats = 3", "command = [\"x\"]", 9, "evaluation", "exactly one of command"),
        ("repeats = 3", "[[evaluation.stages]]\ncommand = [\"x\"]", 10, "evaluation.function", "belongs into one"),
        ("\"512M\"", "\"lots\"", 22, "limits.memory", "expected a size in bytes"),
        ("memory", "memroy", 22, "limits.memroy", "did you mean 'memory'?"),
        ("sizes = [100, 200]", "sizes = [1, 2024-01-01]", 33, "parameters.sizes[1]", "not 2024-01-01"),
        ("deep = {", "deep = {x = nan, ", 34, "parameters.deep.x", "not nan"),
        ("numbers = [1, 0.5]", "numbers = [1, \"a\"]", 29, "vocabulary.numbers[1]", "a number, not 'a'"),
        ("protect = [", "protect = [[", 6, "", "not valid TOML"),
        ("[evaluation]\n", "[evaluation]\nfunction = 1\n", 11, "", "not valid TOML: Cannot overwrite a value"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_file_line_key_and_expectation(
    folder: Path, old: str, new: str, line: int | None, key: str, expected: str
) -> None:
    assert old in TOML
    error = refused(lambda: catalog.load_task_folder(with_toml(folder, lambda text: text.replace(old, new, 1))))
    assert error.key == key
    assert expected in error.expected
    assert error.file == str(folder.resolve() / "task.toml") + (f":{line}" if line else "")


def test_the_right_stage_is_pointed_at(folder: Path) -> None:
    text = """direction = "maximize"
evolve = ["**"]
[evaluation]
[[evaluation.stages]]
command = ["a"]
[[evaluation.stages]]
command = ["b"]
threshold = "high"
"""
    error = refused(lambda: catalog.load_task_folder(with_toml(folder, lambda _: text)))
    assert (error.file[-3:], error.key) == ("l:8", "evaluation.stages[1].threshold")
    error = refused(lambda: catalog.load_task_folder(with_toml(folder, lambda _: text.replace('threshold = "high"', ""))
        and with_toml(folder, lambda _: text.replace('threshold = "high"', 'name = "stage-1"'))))  # fmt: skip
    assert (error.file[-3:], error.key) == ("l:8", "evaluation.stages[1].name")


@pytest.mark.parametrize(
    ("hot", "expected"),
    [
        ("src/parser.py:prase", "expected a function of src/parser.py after the colon, not {}, did you mean 'parse'?"),
        ("src/parser.py:Parser", "expected a function of src/parser.py after the colon, not {}, did you mean 'parse'?"),
        ("src/p.py:a", "expected a file that agents may change before the colon, not {}, did you mean 'src/parser.py'"),
        ("bench.py:time", "expected a file that agents may change before the colon, not {}"),
        ("src/parser.py", 'expected "file.py:name", not {}'),
        ("src/broken.py:parse", "expected a function of Python, and src/broken.py cannot be read: "),
    ],
)  # fmt: skip
def test_a_hot_function_that_is_not_there_is_told(folder: Path, hot: str, expected: str) -> None:
    with_toml(
        folder, lambda text: text.replace("[vocabulary]", f'[vocabulary]\nhot = ["src/parser.py:parse", "{hot}"]')
    )
    task = dataclasses.replace(catalog.load_task_folder(folder), evolve=("src/*.py",))
    files = {
        "src/parser.py": b"class Parser:\n    async def parse(self): ...\n",
        "src/broken.py": b"def parse(:\n",
        "bench.py": b"def time(): ...\n",
    }
    error = refused(lambda: catalog.check_hot(task, files))
    assert (error.file, error.key) == (f"{task.source}/task.toml:26", "vocabulary.hot[1]")
    assert error.expected.startswith(expected.format(repr(hot)))


def test_missing_files_and_folders_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "goal.md").unlink()
    assert "goal.md: is missing" in str(refused(lambda: catalog.load_task_folder(folder)))
    assert "task.toml" in str(refused(lambda: catalog.load_task_folder(tmp_path / "nowhere")))


def test_a_folder_link_and_a_git_folder_are_refused(folder: Path) -> None:
    (folder / "seed/.git").mkdir()
    assert "a Git folder" in str(refused(lambda: catalog.load_task_folder(folder)))
    (folder / "seed/.git").rmdir()
    (folder / "seed/loop").symlink_to(folder, target_is_directory=True)
    assert "a symbolic link to a folder" in str(refused(lambda: catalog.load_task_folder(folder)))


def test_text_that_is_not_utf8_and_a_dangling_link_are_refused(folder: Path) -> None:
    write(folder, {"goal.md": b"gr\xfc\xdfe"})
    assert "must be UTF-8 text (byte 2 is not)" in str(refused(lambda: catalog.load_task_folder(folder)))
    write(folder, FILES)
    (folder / "data/link").symlink_to("nowhere")
    assert "data/link: cannot be read" in str(refused(lambda: catalog.load_task_folder(folder)))


@pytest.mark.parametrize("name", ["two words", "a.lock", "ä"])
def test_a_name_must_fit_into_a_ref(tmp_path: Path, name: str) -> None:
    assert "letters, digits" in str(refused(lambda: catalog.load_task_folder(write(tmp_path / name))))


# ---- agents -----------------------------------------------------------------------------------------------------

AGENT = """---
name: coder
description: Writes code
operator: mutate
arms: [search-replace, merge]
format: search-replace
models: {fast: 2, strong: 1}
temperature: 0.7
context: {budget: 4000, parts: [feedback, metrics]}
---

# You are a coder

--- is not a fence here.
---
The end.
"""


def test_an_agent_is_read_as_it_stands() -> None:
    agent = catalog.parse_agent(AGENT, Path("agents/coder.md"))
    assert (agent.name, agent.operator, agent.arms) == ("coder", "mutate", ("search-replace", "merge"))
    assert (agent.temperature, dict(agent.models)) == (0.7, {"fast": 2, "strong": 1})
    assert (agent.context.budget, agent.context.parts) == (4000, ("feedback", "metrics"))
    assert agent.prompt.startswith("# You are a coder\n")
    assert agent.prompt.endswith("---\nThe end.")


@pytest.mark.parametrize(
    ("operator", "free"), [("syntax", False), ("lines", False), ("cross", True), ("command", True), ("judge", False)]
)
def test_only_models_and_commands_write_free_code(operator: str, free: bool) -> None:
    text = f"---\noperator: {operator}\n"
    assert catalog.parse_agent(f"{text}---\n", Path("x.md")).free_code is free
    assert catalog.parse_agent(f"{text}free_code: {not free}\n---", Path("x.md")).free_code is not free


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "expected"),
    [
        ("operator: mutate", "operator: magic", 4, "operator", "'syntax', 'lines'"),
        ("operator: mutate\n", "", None, "operator", "is required"),
        ("arms:", "arm:", 5, "arm", "unknown key, did you mean 'arms'?"),
        ("[search-replace, merge]", "edit", 5, "arms", "expected a list"),
        ("format: search-replace\n", "", None, "", "needs a format, one of section"),
        ("operator: mutate", "operator: cross", None, "", "needs a format"),
        ("models: {fast: 2", "model: fast\nmodels: {fast: 2", None, "", "one of model: NAME and models"),
        ("budget: 4000", "budget: 4", 9, "context.budget", "200"),
        ("name: coder", "name: author", 2, "name", "expected 'coder', as the file is called"),
        ("name: coder", "name: 5", 2, "name", "text in quotes, not 5"),
        ("[search-replace, merge]", "[search-replace, merge", 6, "", "not valid YAML"),
        ("---\nname", "name", 1, "", "between two lines '---'"),
        ("description: Writes code", "description: a: b", 3, "", "not valid YAML: mapping values are not allowed"),
    ],
)
def test_a_mistake_in_an_agent_is_told(old: str, new: str, line: int | None, key: str, expected: str) -> None:
    error = refused(lambda: catalog.parse_agent(AGENT.replace(old, new, 1), Path("coder.md")))
    assert error.key == key
    assert expected in error.expected
    assert error.file == "coder.md" + (f":{line}" if line else "")


def test_empty_front_matter_says_what_is_needed() -> None:
    assert "at least an operator, one of syntax, lines" in str(refused(lambda: catalog.parse_agent("---\n---\n", "x")))

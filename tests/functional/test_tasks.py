"""`evogit tasks`: what tasks need, the scaffold, and the check, which finds what is wrong with a task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evogit import catalog
from evogit.errors import DefinitionError, EvaluationError
from evogit.fetching import FetchError, fetched
from evogit.needs import NEEDS, look, require
from tests.functional.test_cli import evogit

ELSEWHERE = {"bin-packing-designer", "speed-up-library", "web-app"}
"""Tasks whose check needs more than Python (a model, an index, Node), and has a test of its own."""
BUILT_IN = [task.name for task in catalog.list_tasks(None)]
TASKS = Path(__file__).parents[2] / "tasks"


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name not in ELSEWHERE])
def test_every_built_in_task_passes_its_check(name: str, tmp_path: Path) -> None:
    done = evogit("tasks", "check", name, "--short", at=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reference: beats the seed" in done.stdout or name == "online-bin-packing"


def test_the_list_tells_needs_and_measurements(tmp_path: Path) -> None:
    (tmp_path / ".evogit/tasks").mkdir(parents=True)
    assert evogit("tasks", "new", "mine", at=tmp_path).returncode == 0
    rows = {row["name"]: row for row in json.loads(evogit("tasks", "--json", at=tmp_path).stdout)}
    assert set(BUILT_IN) <= set(rows)
    told = evogit("tasks", "mine", at=tmp_path / "..")
    assert told.returncode == 2
    assert "there is no task 'mine'" in told.stderr


def test_the_scaffold_works_as_it_is_and_in_a_repository(repo: Path) -> None:
    made = evogit("tasks", "new", "curve", at=repo)
    assert made.returncode == 0, made.stderr
    assert (repo / ".evogit/tasks/curve/seed/program.py").is_file()
    assert evogit("tasks", "new", "curve", at=repo).returncode == 2
    checked = evogit("tasks", "check", "curve", "--short", "--json", at=repo)
    report = json.loads(checked.stdout)
    assert checked.returncode == 0, report
    assert report["ok"]
    assert {"seed", "noise", "measured", "time", "locks", "trials/bad", "trials/reference"} <= {
        finding["name"] for finding in report["findings"]
    }


def spoiled(folder: Path, **changes: str) -> dict[str, str]:
    """The findings that failed, after the scaffold's files were changed: path with _ for / and . → text."""
    assert evogit("tasks", "new", "t", at=folder).returncode == 0
    for path, text in changes.items():
        (folder / "t" / {"toml": "task.toml", "judge": "evaluate.py", "seed": "seed/program.py"}[path]).write_text(text)
    done = evogit("tasks", "check", "t", "--short", "--json", at=folder)
    assert done.returncode == 1, done.stdout + done.stderr
    return {f["name"]: f["text"] for f in json.loads(done.stdout)["findings"] if f["state"] == "failed"}


TOML = 'direction = "minimize"\nevolve = ["program.py"]\n[evaluation]\nfunction = "evaluate.py:evaluate"\n'


def test_a_judge_that_imports_its_candidate_is_found_out(tmp_path: Path) -> None:
    judge = """
import importlib.util

def error(x, y):
    return (x - y) ** 2

def evaluate(folder):
    spec = importlib.util.spec_from_file_location("program", folder / "program.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {"score": error(module.curve(0.5), 0.6)}
"""
    found = spoiled(tmp_path, toml=TOML, judge=judge, seed="def curve(x):\n    return x\n")
    assert any("replaces its judge's functions" in name for name in found), found


def test_undeclared_noise_a_broken_seed_and_a_stale_measurement_are_found(tmp_path: Path) -> None:
    noise = "import time\ndef evaluate(folder):\n    return time.perf_counter()\n"
    toml = TOML + "[measured]\nseed = -5.0\n"
    (tmp_path / "a").mkdir()
    found = spoiled(tmp_path / "a", toml=toml, judge=noise)
    assert "noisy is not set" in found["noise"]
    assert "[measured] says -5" in found["measured"]
    (tmp_path / "b").mkdir()
    assert "ZeroDivisionError" in spoiled(tmp_path / "b", judge="def evaluate(folder):\n    return 1 / 0\n")["seed"]


def test_a_hot_function_that_is_not_there_ends_the_check_and_the_run(repo: Path) -> None:
    assert evogit("tasks", "new", "curve", at=repo).returncode == 0
    toml = repo / ".evogit/tasks/curve/task.toml"
    toml.write_text(toml.read_text().replace("[vocabulary]", '[vocabulary]\nhot = ["program.py:sovle"]'))
    for command in (("tasks", "check", "curve"), ("run", "--task", "curve", "--candidates", "1")):
        done = evogit(*command, at=repo)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "vocabulary.hot[0]" in done.stderr
        assert "not 'program.py:sovle'" in done.stderr


def test_a_missing_need_is_a_line_with_the_command(tmp_path: Path, repo: Path) -> None:
    empty = str(tmp_path / "empty")
    for need in (need for need in NEEDS if need not in ("model", "network")):
        found = look(need, path=empty)
        assert found.present is False
        assert "apt install" in found.text
        with pytest.raises(EvaluationError, match=f"needs what is not here:\n  {need}: .*apt install"):
            require("some-task", [need], path=empty)
    assert evogit("tasks", "new", "asks", at=repo).returncode == 0
    toml = repo / ".evogit/tasks/asks/task.toml"
    toml.write_text(toml.read_text().replace("[evaluation]", '[evaluation]\nmodel = "fast"'))
    listed = evogit("tasks", "asks", at=repo)
    assert "needs model: MISSING, configure [models.fast] in .evogit/config.toml" in listed.stdout
    toml.write_text(toml.read_text().replace("needs = []", 'needs = ["compilr"]'))
    assert "did you mean 'compiler'?" in evogit("tasks", "asks", at=repo).stderr


def test_a_compiler_without_headers_is_no_compiler(tmp_path: Path) -> None:
    fake = tmp_path / "cc"
    fake.write_text("#!/bin/sh\necho 'stdio.h: No such file' >&2\nexit 1\n")
    fake.chmod(0o755)
    found = look("compiler", path=str(tmp_path))
    assert found.present is False
    assert "libc6-dev" in found.text


FETCH = """
[fetch]
package = "{package}"
version = "3.0.2"
sha256 = "{digest}"
[fetch.files]
"src" = "lib"
"""
TWICE = FETCH.replace('"lib"', '["lib", "kept/lib"]')


def fetching(folder: Path, package: str = "mistune", digest: str = "0" * 64, text: str = FETCH) -> catalog.Task:
    evogit("tasks", "new", "t", at=folder)
    with open(folder / "t/task.toml", "a") as file:
        file.write(text.format(package=package, digest=digest))
    return catalog.load_task_folder(folder / "t")


def test_no_network_is_said_with_what_to_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_RETRIES", "0")
    task = fetching(tmp_path)
    with pytest.raises(FetchError, match=r"needs the network once[^$]*pip download --no-deps mistune==3\.0\.2"):
        fetched(task, tmp_path / "cache")
    assert task.needs == ("network",)


def test_what_was_fetched_is_kept_by_its_hash_and_mapped(tmp_path: Path) -> None:
    import hashlib
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in {"p-1/src/a.py": b"a", "p-1/src/deep/b.py": b"b", "p-1/setup.py": b"no"}.items():
            member = tarfile.TarInfo(path)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
        archive.addfile(tarfile.TarInfo("p-1/src/../../../etc/evil"))
        link = tarfile.TarInfo("p-1/src/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / f"{digest}.tar.gz").write_bytes(buffer.getvalue())
    task = fetching(tmp_path, digest=digest)
    once = {"lib/a.py": (b"a", False), "lib/deep/b.py": (b"b", False)}
    assert fetched(task, cache) == once
    (tmp_path / "twice").mkdir()
    twice = fetching(tmp_path / "twice", digest=digest, text=TWICE)
    assert fetched(twice, cache) == once | {f"kept/{path}": file for path, file in once.items()}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TWICE.replace("kept", ".."), "fetch.files.src: expected a path inside the tree"),
        (FETCH.replace('"lib"', '"../lib"'), "fetch.files.src: expected a path inside the tree"),
        (FETCH.replace("{digest}", "abc"), "fetch.sha256: expected the 64 hexadecimal digits"),
        (FETCH.replace("version", "verison"), "fetch.verison: unknown key, did you mean 'version'?"),
    ],
)
def test_a_mistake_in_fetch_is_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        fetching(tmp_path, text=text)
    assert said in str(caught.value)


def test_a_parameter_is_set_when_a_repository_begins(tmp_path: Path) -> None:
    made = evogit("new", "c32", "--task", "circle-packing", "--set", "circles=32", at=tmp_path)
    assert made.returncode == 0, made.stderr
    task = catalog.load_task("circle-packing", tmp_path / "c32")
    assert task.parameters["circles"] == 32
    assert task.measured is None
    for wrong, said in {
        "circle=32": "did you mean 'circles'?",
        "circles=many": "expected something like 26",
        "circles": "expected KEY=VALUE",
    }.items():
        refused = evogit("new", "other", "--task", "circle-packing", "--set", wrong, at=tmp_path)
        assert refused.returncode == 2
        assert said in refused.stderr
    assert not (tmp_path / "other").exists()

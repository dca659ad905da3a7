"""One piece of work by a program, a shell script in the place of a coding tool: what it sees and what is taken."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from evogit.catalog import list_agents
from evogit.definitions import Source
from evogit.errors import DefinitionError, VariationError
from evogit.tables import ModelTable
from evogit.variation import confinement
from evogit.variation.command import program_of
from evogit.variation.program import Outcome, amount, read_program, work
from evogit.variation.request import Retired

FILES = {"program.py": b"one\n", "lib/deep.py": b"two\n", "README.md": b"three\n", "run.py": b"four\n"}
SECRET = "sk-planted-0123456789"


def editable(path: str) -> bool:
    return path.endswith(".py")


@pytest.fixture(params=["bubblewrap", "bare"])
def search(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A PATH on which bubblewrap is found, or everything but it."""
    if request.param == "bubblewrap":
        found = shutil.which("bwrap")
        if found is None or not confinement.works(found):
            pytest.skip("needs bubblewrap")
        return os.environ["PATH"]
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "env", "sed", "git", "sleep", "setsid", "cat", "ls", "ln", "mkfifo", "rm", "mkdir", "chmod",
                 "touch", "head", "tr", "printf", "python3", "kill"):  # fmt: skip
        if there := shutil.which(name):
            (folder / name).symlink_to(there)
    return str(folder)


def script(text: str, **options: Any) -> dict[str, Any]:
    return {"command": ["sh", "-c", text, "tool", "{folder}", "{prompt}", "{home}"], **options}


def do(
    search: str,
    options: Mapping[str, Any],
    *,
    environ: Mapping[str, str] | None = None,
    model: ModelTable | None = None,
    hidden: tuple[Path, ...] = (),
    files: Mapping[str, bytes] = FILES,
) -> Outcome:
    program = read_program(options, Source("agents/tool.md", "", "yaml"))
    environ = {"PATH": search, "HOME": os.environ["HOME"], "LC_ALL": "C.UTF-8"} | dict(environ or {})
    return asyncio.run(work(program, "the prompt", files, editable, environ, model=model, hidden=hidden))


def test_new_changed_and_deleted_files_are_the_child_committed_or_not(search: str) -> None:
    edit = "echo new > program.py; rm lib/deep.py; mkdir -p a/b; echo more > a/b/c.py; git add -A && git commit -qm did"
    outcome = do(search, script(f"{edit}; git log --format=%an/%s; git remote"))
    assert outcome.changes == {"program.py": b"new\n", "lib/deep.py": None, "a/b/c.py": b"more\n"}
    assert outcome.output.decode().splitlines() == ["EvoGit/did", "EvoGit/start"]
    assert (outcome.code, outcome.late, outcome.notes) == (0, False, [])


def test_the_prompt_comes_on_standard_input_unless_a_file_is_asked_for(search: str) -> None:
    assert do(search, {"command": ["cat"]}).output == b"the prompt"
    assert do(search, script('cat "$2"; cat')).output == b"the prompt"
    assert do(search, script('cat "$2"; cat', stdin=True)).output == b"the prompt" * 2


def test_what_else_it_did_is_ignored_and_said(search: str) -> None:
    text = (
        "ln -s /etc/passwd link.py; mkfifo pipe.py; echo x > README.md; mkdir -p __pycache__ .tool nested/.git;"
        "echo x > __pycache__/a.py; echo x > .tool/b.py; echo x > nested/.git/c.py; rm -r lib; ln -s /etc lib;"
        "echo x > '-odd:name.py'; rm program.py; ln -s run.py program.py; echo '*.pyc' > x.pyc"
    )
    outcome = do(search, script(text, leftovers=[".tool"]))
    assert outcome.changes == {}
    assert sorted(outcome.notes) == [
        "-odd:name.py: '-odd:name.py' cannot be a file's name everywhere",
        "README.md: outside what may change",
        "lib: a symbolic link",
        "link.py: not a regular file",
        "nested/.git: belongs to Git",
        "pipe.py: not a regular file",
        "program.py: not a regular file",
    ]


def test_too_much_is_no_child(search: str) -> None:
    outcome = do(search, script("i=0; while [ $i -lt 501 ]; do echo x > f$i.py; i=$((i+1)); done"))
    assert outcome.changes == {}
    assert "501 files" in outcome.failed
    outcome = do(search, script("head -c 5000000 /dev/zero > large.py; echo x > small.py"))
    assert outcome.changes == {"small.py": b"x\n"}
    assert outcome.notes == ["large.py: larger than 4194304 bytes"]


def test_permissions_taken_away_hide_nothing_and_leave_nothing(
    search: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    outcome = do(search, script("echo x > program.py; chmod 000 program.py lib; mkdir -p $HOME/a/b; chmod 000 $HOME/a"))
    assert outcome.changes == {"program.py": b"x\n"}
    assert list((tmp_path / "tmp").iterdir()) == []


def test_only_named_variables_pass_and_secrets_are_taken_out(search: str) -> None:
    environ = {"TOOL_API_KEY": SECRET, "COLOUR": "blue", "OTHER": "hunter22", "GIT_DIR": "/nowhere"}
    options = script("env; head -c 3 /dev/zero", environment=["TOOL_API_KEY", "COLOUR"], set={"FIXED": "{folder}"})
    said = do(search, options, environ=environ).output.decode()
    assert "TOOL_API_KEY=***" in said
    assert "COLOUR=blue" in said
    assert "/work\n" in said.partition("FIXED=")[2]
    assert f"HOME={os.environ['HOME']}\n" not in said
    assert "hunter22" not in said
    assert "GIT_DIR" not in said
    assert "NO_COLOR=1" in said


def test_a_secret_in_a_file_is_no_child(search: str) -> None:
    options = script('echo "key = $TOOL_TOKEN" > program.py', environment=["TOOL_TOKEN"])
    outcome = do(search, options, environ={"TOOL_TOKEN": SECRET})
    assert outcome.changes == {}
    assert outcome.failed == "it wrote the value of TOOL_TOKEN into a file"


def test_the_model_s_key_is_the_one_for_its_server(search: str) -> None:
    options = script('echo $OPENAI_API_KEY | tr a-z A-Z; echo "$URL"', key="OPENAI_API_KEY", set={"URL": "{base_url}"})
    both = {"OPENAI_API_KEY": "not-for-others", "ROUTER_KEY": "for-the-router"}
    model = ModelTable(model="m", base_url="http://127.0.0.1:9/v1", api_key_env="ROUTER_KEY")
    assert do(search, options, environ=both, model=model).output.split() == [
        b"FOR-THE-ROUTER",
        b"http://127.0.0.1:9/v1",
    ]
    local = ModelTable(model="m", base_url="http://127.0.0.1:9/v1")
    assert do(search, options, model=local).output.split()[0] == b"NONE"
    with pytest.raises(Retired, match="needs the variable ROUTER_KEY"):
        do(search, options, model=model)
    with pytest.raises(Retired, match="needs the variable OPENAI_API_KEY"):
        do(search, options)


def test_what_is_missing_is_said_with_what_to_do(search: str) -> None:
    with pytest.raises(Retired, match=r"nonesuch is not installed; install it: pipx install nonesuch"):
        do(search, {"command": ["nonesuch"], "install": "pipx install nonesuch"})
    with pytest.raises(Retired, match="needs the variable ONE_KEY or OTHER_TOKEN"):
        do(search, script("true", environment=["ONE_KEY", "PLAIN", "OTHER_TOKEN"]))
    assert do(search, script("true", environment=["ONE_KEY", "OTHER_TOKEN"]), environ={"OTHER_TOKEN": "x"}).code == 0
    with pytest.raises(Retired, match="needs a model"):
        do(search, {"command": ["sh", "{model}"]})


def test_what_cannot_be_started_is_said(search: str, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "not-a-program").write_bytes(b"\x7fELF nothing")
    (folder / "not-a-program").chmod(0o755)
    options, environ = {"command": ["not-a-program"]}, {"PATH": f"{folder}:{search}"}
    if shutil.which("bwrap", path=search):
        outcome = do(search, options, environ=environ)
        # bubblewrap's exec may hand it to a shell, which has an exit status of its own.
        assert outcome.code in (1, 126, 127)
        assert (outcome.changes, b"not-a-program" in outcome.output) == ({}, True)
        return
    with pytest.raises(VariationError, match="cannot start"):
        do(search, options, environ=environ)


def test_the_deadline_ends_the_whole_tree(search: str) -> None:
    outcome = do(search, script("(setsid sleep 4712 &); (sleep 4712 &); echo began; sleep 4712", deadline=1.0))
    assert outcome.late
    assert outcome.output == b"began\n"
    assert _running("4712") == []


def test_a_child_left_behind_neither_lives_on_nor_holds_up_the_end(search: str) -> None:
    outcome = do(search, script("(setsid sleep 4713 &); echo x > program.py", deadline=100.0))
    assert (outcome.late, outcome.changes) == (False, {"program.py": b"x\n"})
    assert _running("4713") == []


def test_cancellation_ends_the_tree_and_removes_the_folder(
    search: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    program = read_program(script("touch $3/here; (setsid sleep 4714 &); sleep 4714"), Source("tool.md"))

    async def cancel() -> None:
        environ = {"PATH": search, "HOME": os.environ["HOME"]}
        task = asyncio.create_task(work(program, "", FILES, editable, environ))
        async with asyncio.timeout(60):
            while not list((tmp_path / "tmp").glob("*/home/here")):
                await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert _running("4714") == []
    assert list((tmp_path / "tmp").iterdir()) == []


def _running(argument: str) -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline", "status"])
    return [p for p in found if p.info["cmdline"] == ["sleep", argument] and p.info["status"] != "zombie"]


def test_output_without_end_is_bounded_and_keeps_both_ends(search: str) -> None:
    outcome = do(search, script("echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo last; exit 3"))
    assert outcome.code == 3
    assert outcome.output.startswith(b"first\nxxx")
    assert outcome.output.endswith(b"xlast\n")
    assert b"bytes left out" in outcome.output
    assert len(outcome.output) < 1 << 21


def test_usage_is_read_from_the_output_and_the_report(search: str) -> None:
    last = {"usage": r"(?P<input>\S+) in, (?P<output>\S+) out(?:, (?P<cost>\S+))?"}
    text = "echo 1.2k in, 30 out; echo 2,000 in, 40 out, '$0.25'; echo 7 in, 8 out > $3/report.txt"
    assert do(search, script(text, **last)).used == {"input": 2000, "output": 40, "cost": 0.25}
    assert do(search, script(text, **last, sum=True)).used == {"input": 3200, "output": 70, "cost": 0.25}
    assert do(search, script(text, **last, report="report.txt")).used == {"input": 7, "output": 8}
    assert do(search, script("rm -f $3/report.txt", **last, report="report.txt")).used == {}
    assert [amount(t) for t in ("12.3k", "1,234", "$.5", "2M", "0.05.", "k", "")] == [
        12300,
        1234,
        0.5,
        2e6,
        0.05,
        None,
        None,
    ]


def test_settings_stand_in_the_private_home(search: str) -> None:
    options = script("cat $HOME/.tool/settings.json", files={".tool/settings.json": '{"analytics": false}'})
    assert do(search, options).output == b'{"analytics": false}'


def test_the_real_home_is_there_only_when_asked_for(search: str) -> None:
    (Path(os.environ["HOME"]) / "mine").write_text("seen")
    assert do(search, script("cat $HOME/mine")).output != b"seen"
    assert do(search, script("cat $HOME/mine && touch $HOME/written", home=True)).output == b"seen"
    assert (Path(os.environ["HOME"]) / "written").exists()


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
def test_no_part_of_what_is_hidden_is_uncovered_for_a_program_inside_it(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "bin").mkdir(parents=True)
    (repository / "secret.txt").write_text("seen")
    (repository / ".venv/bin").mkdir(parents=True)
    (repository / ".venv/lib.txt").write_text("library")
    text = f"#!/bin/sh\ncat {repository}/secret.txt {repository}/.venv/lib.txt {tmp_path}/other.txt\n"
    (tmp_path / "other.txt").write_text("seen")
    for place in (tmp_path / "tool", repository / "tool", repository / "bin/tool", repository / ".venv/bin/tool"):
        place.write_text(text)
        place.chmod(place.stat().st_mode | stat.S_IXUSR)
        search = f"{place.parent}:{os.environ['PATH']}"
        said = do(search, {"command": ["tool"]}, hidden=(repository,)).output.decode()
        assert "seen" not in said
        assert ("library" in said) == (place.parent.parent.name == ".venv")
        assert "not found" not in said


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
def test_the_machine_is_read_only_and_other_services_out_of_reach(tmp_path: Path) -> None:
    target = Path(__file__).parent / "written-by-a-program"
    (tmp_path / "mine").write_text("seen")
    text = f"touch {target}; touch /tmp/fine && echo fine; ls /run; cat {tmp_path}/mine"
    said = do(os.environ["PATH"], script(text)).output.decode()
    assert not target.exists()
    assert "fine" in said
    assert "docker.sock" not in said
    assert "seen" not in said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"comand": ["x"]}, "unknown key, did you mean 'command'"),
        ({}, "options.command: is required"),
        ({"command": []}, "options.command"),
        ({"command": "aider"}, "options.command: expected a list"),
        ({"command": ["x"], "usage": "("}, "options.usage: no regular expression"),
        ({"command": ["x"], "usage": "(?P<tokens>1)"}, "options.usage: needs named groups, of input, output and cost"),
        ({"command": ["x"], "set": {"MY_API_KEY": "1"}}, "options.set.MY_API_KEY: a secret never stands in a file"),
        ({"command": ["x"], "environment": ["A=1"]}, "options.environment: expected the name"),
        ({"command": ["x"], "files": {"../x": ""}}, "options.files: ../x: an empty part"),
        ({"command": ["x"], "files": {"a": ""}, "home": True}, "options.files: a: the real home is not written to"),
        ({"command": ["x"], "deadline": "soon"}, "options.deadline: expected a duration"),
    ],
)
def test_a_mistake_names_file_and_key(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        read_program(options, Source("agents/tool.md", "", "yaml"))
    assert str(caught.value).startswith("agents/tool.md")
    assert expected in str(caught.value)


def test_every_program_that_comes_with_evogit_is_well_defined() -> None:
    programs = {agent.name: program_of(agent) for agent in list_agents(None) if agent.operator == "command"}
    assert programs.keys() >= {"aider", "mini-swe-agent", "qwen-code", "claude", "codex"}
    assert all(program.install and program.usage and not program.home for program in programs.values())
    assert all(program.key or program.environment for program in programs.values())

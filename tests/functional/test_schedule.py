"""Scheduled starts: added, started, told of, removed; and the real cron daemon for two real minutes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from tests.functional.test_cli import evogit

KEY = "sk-this-is-never-to-be-seen"


@pytest.fixture
def project(repo: Path) -> Path:
    made = evogit("init", "--goal", "Answer 42", "--command", "python bench.py", "--evolve", "src/*.py", at=repo)
    assert made.returncode == 0, made.stderr
    return repo


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A crontab with a line of somebody else's."""
    path = tmp_path / "crontab"
    path.write_text('MAILTO="x"\n5 4 * * *   other   job\n')
    return path


RUN = ("run", "--candidates", "15", "--agents", "tinker:3", "--seed", "1", "--deterministic")


def add(at: Path, table: Path, *options: str, command: tuple[str, ...] = RUN) -> str:
    done = evogit("schedule", "add", "0 2 * * *", "--crontab", str(table), *options, "--", *command, at=at)
    assert done.returncode == 0, done.stderr
    return done.stdout


def keys(at: Path) -> Path:
    path = at / "keys.env"
    path.write_text(f"SOME_API_KEY={KEY}\n")
    path.chmod(0o600)
    return path


def test_a_start_as_cron_does_it(project: Path, table: Path, tmp_path: Path) -> None:
    foreign, told = table.read_text(), tmp_path / "told.json"
    add(project, table, "--env-file", str(keys(tmp_path)), "--notify", f"cat > '{told}'; env; echo told")
    line = table.read_text().removeprefix(foreign)
    assert line.startswith("0 2 * * * ")
    assert KEY not in line
    # As cron: sh, the line without its times, nothing but cron's own environment, another folder.
    command = line.split(maxsplit=5)[5].replace("\\%", "%")
    bare = {"HOME": os.environ["HOME"], "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
    done = subprocess.run(["/bin/sh", "-c", command], cwd="/", env=bare, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    summary = json.loads(told.read_text())
    assert (summary["exit_code"], summary["candidates"], summary["run"]) == (0, 15, "main")
    assert summary["improved"] == (summary["best"] != summary["best_before"])
    log = evogit("schedule", "logs", at=project).stdout
    assert "15 candidates in" in log
    assert "told" in log
    assert f"PATH={os.environ['PATH']}" in log
    assert KEY not in log + "".join(p.read_text() for p in (project / ".git/evogit/schedules").iterdir())
    (row,) = json.loads(evogit("schedule", "list", "--json", "--crontab", str(table), at=project).stdout)
    assert (row["name"], row["by"], row["last"]["exit_code"]) == ("run", "cron", 0)
    assert evogit("schedule", "remove", "run", "--crontab", str(table), at=project).returncode == 0
    assert table.read_text() == foreign
    assert "15 candidates in" in evogit("schedule", "logs", "run", at=project).stdout


def test_keys_reach_the_command_and_no_log(project: Path, table: Path, tmp_path: Path) -> None:
    config = project / ".evogit/config.toml"
    config.parent.mkdir(exist_ok=True)
    with config.open("a") as file:
        file.write('\n[models.fast]\nmodel = "m"\nbase_url = "http://127.0.0.1:9"\napi_key_env = "SOME_API_KEY"\n')
    add(project, table, command=("models", "list"))
    add(project, table, "--name", "keyed", "--env-file", str(keys(tmp_path)), command=("models", "list"))
    for name in ("models", "keyed"):
        evogit("schedule", "start", name, at=project)
    without, keyed = (evogit("schedule", "logs", name, at=project).stdout for name in ("models", "keyed"))
    assert without.replace("models\n", "") != keyed.replace("keyed\n", "")
    assert KEY not in keyed
    (tmp_path / "keys.env").chmod(0o644)
    assert evogit("schedule", "start", "keyed", at=project).returncode == 1
    assert "chmod 600" in evogit("schedule", "logs", "keyed", at=project).stdout


def test_who_ends_the_start_ends_the_run_and_what_was_found_is_kept(project: Path, table: Path, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    endless = ("run", "--seconds", "3600", "--agents", "tinker:2")
    add(project, table, "--notify", f"cat > '{told}'", command=endless)
    words = [sys.executable, "-m", "evogit", "-C", str(project), "schedule", "start", "run"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as start:
        deadline = time.monotonic() + 100
        while "accepted" not in evogit("log", at=project).stdout:
            assert start.poll() is None
            assert time.monotonic() < deadline, "nothing was accepted"
            time.sleep(0.2)
        start.send_signal(signal.SIGTERM)
        assert start.communicate(timeout=100) == ("", "")
    assert start.returncode == 130
    summary = json.loads(told.read_text())
    assert (summary["exit_code"], summary["candidates"] > 0) == (130, True)
    assert evogit("fsck", at=project).returncode == 0
    assert evogit("run", "--candidates", "1", "-q", at=project).returncode == 0, "nobody holds the run any more"


def test_overlap_is_quiet_and_old_logs_go(project: Path, table: Path) -> None:
    add(project, table, command=("agents",))
    add(project, table)
    private = project / ".git/evogit"
    with FileLock(str(private / "schedules/agents.lock")):
        done = evogit("schedule", "start", "agents", at=project)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (private / "main/writers").mkdir(parents=True)
    with FileLock(str(private / "main/writers/0.lock")):
        done = evogit("schedule", "start", "run", at=project)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "another process holds the run" in (private / "logs/run/skipped.log").read_text()
    assert "still at work" in evogit("schedule", "logs", "agents", "--list", at=project).stdout
    assert list((private / "logs/run").glob("2*")) == []
    for day in range(1, 25):
        (private / f"logs/agents/2025-01-{day:02}T00-00-00Z.log").write_text("old\n")
    assert evogit("schedule", "start", "agents", at=project).returncode == 0
    left = sorted(path.name for path in (private / "logs/agents").glob("2*.log"))
    assert (len(left), left[0]) == (20, "2025-01-06T00-00-00Z.log")


def test_the_summary_is_of_the_run_that_the_command_names(project: Path, table: Path) -> None:
    add(project, table, command=(*RUN, "--run", "other"))
    assert evogit("schedule", "start", "run", at=project).returncode == 0
    (row,) = json.loads(evogit("schedule", "logs", "--json", at=project).stdout)
    assert (row["summary"]["run"], row["summary"]["candidates"]) == ("other", 15)


def test_mistakes_are_told_when_they_are_typed(project: Path, table: Path) -> None:
    before = table.read_text()
    for when, command, said in (
        ("0 2 * * *", ("run", "--tiem", "4h"), "No such option: --tiem"),
        ("0 2 * * *", ("rnu",), "no command 'evogit rnu'"),
        ("0 2 * * *", ("schedule", "list"), "cannot be scheduled"),
        ("0 26 * * *", ("run",), "'26' is no hour"),
    ):
        done = evogit("schedule", "add", when, "--crontab", str(table), "--", *command, at=project)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    add(project, table, "--name", "n", command=("run", "--time", "4h", "--max-cost", "5"))
    done = evogit("schedule", "add", "@daily", "--name", "n", "--crontab", str(table), "--", "run", at=project)
    assert (done.returncode, "scheduled already" in done.stderr) == (2, True)
    assert evogit("schedule", "remove", "m", "--crontab", str(table), at=project).returncode == 2
    assert table.read_text().count("\n") == before.count("\n") + 1


def test_systemd_units_start_the_same(project: Path, table: Path) -> None:
    done = evogit("schedule", "add", "30 1 * * 1-5", "--systemd", "--", *RUN, at=project)
    assert "OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 01:30:00" in done.stdout
    if shutil.which("systemd-analyze"):
        units = project / "units"
        units.mkdir()
        for part in done.stdout.split("# ~/.config/systemd/user/")[1:]:
            name, _, text = part.partition("\n")
            (units / name).write_text(text)
        checked = subprocess.run(
            ["systemd-analyze", "--user", "verify", *map(str, units.iterdir())],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "XDG_RUNTIME_DIR": str(units)},
        )
        assert [line for line in checked.stderr.splitlines() if "evogit-" in line and "Service" not in line] == []
    assert evogit("schedule", "remove", "run", "--crontab", str(table), at=project).returncode == 0


APART = ["unshare", "--mount", "--propagation", "private"]
HIDE = "for at in /var/spool/cron/crontabs /etc/cron.d /run; do mount -t tmpfs -o mode=1777 tmpfs $at || exit 9; done; "
HIDE += "mount --bind /dev/null /etc/crontab || exit 9; "


@pytest.mark.slow
@pytest.mark.longest
@pytest.mark.timeout(400)
def test_the_real_cron_for_two_minutes(project: Path, tmp_path: Path) -> None:
    """crontab(1) and cron(8) as installed, where nobody else's tables are: mounts of their own hide the machine's."""
    if shutil.which("crontab") is None or shutil.which("cron") is None:
        pytest.skip("needs cron, which is not installed")
    if os.getuid() != 0:
        pytest.skip("the cron daemon needs root")
    if subprocess.run([*APART, "sh", "-c", HIDE + "true"], capture_output=True, check=False).returncode:
        pytest.skip("this container allows no mounts, and the machine's own crontab is not to be touched")
    command = f"'{sys.executable}' -m evogit schedule add '* * * * *' --env-file '{keys(tmp_path)}' "
    command += f"--notify 'cat >> \"{tmp_path}/told\"' -- {' '.join(RUN)}"
    script = HIDE + f"echo '1 1 1 1 * foreign' | crontab - && {command} && crontab -l && exec cron -f"
    told, output = tmp_path / "told", tmp_path / "output"
    with output.open("wb") as out:
        daemon = subprocess.Popen([*APART, "sh", "-c", script], cwd=project, stdout=out, stderr=out)
        try:
            deadline = time.monotonic() + 300
            while (not told.exists() or told.read_text().count("\n") < 2) and time.monotonic() < deadline:
                assert daemon.poll() is None, output.read_text()
                time.sleep(0.5)
        finally:
            daemon.kill()
            daemon.wait()
    first, second = [json.loads(line) for line in told.read_text().splitlines()[:2]]
    assert [each["exit_code"] for each in (first, second)] == [0, 0], first
    assert [each["candidates"] for each in (first, second)] == [15, 15]
    assert second["best_before"] == first["best"]
    assert first["started"] < second["started"]
    printed = output.read_text()
    assert "1 1 1 1 * foreign" in printed
    assert KEY not in printed
    assert "exit code 0" in evogit("schedule", "logs", "--list", at=project).stdout

"""Cron expressions, lines in a crontab among others' lines, systemd's calendar, the file of keys, what is carried."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from evogit.errors import EvoGitError, UsageError
from evogit.scheduling import plan as plans
from evogit.scheduling import systemd, tab
from evogit.scheduling.expression import calendar, check

FOREIGN = """\
# m h  dom mon dow   command
MAILTO="ops@example.org"
PATH = "/odd:/bin"   \t
 17 *\t* * *   cd / && run-parts --report /etc/cron.hourly   
@daily   backup '100%' # evogit:not-ours
#0 3 * * * /usr/bin/python3 -m evogit schedule start old # evogit:99999999:old
this is no cron line at all
~ 1-3/2 * * mon,7 echo \\% a # comment  # more

0 0 * * * caf\udce9
"""  # noqa: W291


@pytest.mark.parametrize("text", ["0 2 * * *", "*/5 0-6,22 1,15 jan-mar MON-FRI", "@daily", "0 2 * * 7", "0 0 29 2 *"])
def test_what_cron_understands_passes(text: str) -> None:
    assert check(f"  {text} ") == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("61 * * * *", "'61' is no minute (0 to 59"),
        ("0 25 * * *", "'25' is no hour"),
        ("0 2 * *", "expected five fields"),
        ("0 2 * * * run", "got 6"),
        ("", "got 0"),
        ("@nightly", "none of @reboot"),
        ("5-1 * * * *", "'5-1' is no minute"),
        ("*/0 * * * *", "'*/0' is no minute"),
        ("0 2 ? * *", "'?' is no day of the month"),
        ("0 2 * foo *", "'foo' is no month"),
        ("0 2 * * 8", "'8' is no day of the week"),
        ("0 2 31 2,4 *", "there is no day 31 in month 2,4"),
        ("0 2 * *\n* * * * * rm", "expected five"),
    ],
)
def test_what_it_does_not_is_refused_by_field(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(text)
    assert said in str(caught.value)


@pytest.mark.parametrize("foreign", ["", FOREIGN, FOREIGN.rstrip("\n"), "\n\n", "no newline"])
def test_lines_come_and_go_and_others_stay(foreign: str) -> None:
    place, command = "0123abcd", "/opt/my python/bin -m evogit schedule start n -C '/r/100% #1'"
    added = tab.with_line(foreign, place, "n", "0 2 * * 7", command)
    assert added.startswith(foreign)
    assert added.split("\n")[-2] == rf"0 2 * * 7 {command.replace('%', chr(92) + '%')} # evogit:0123abcd:n"
    both = tab.with_line(added, place, "n-2", "@daily", "/bin/true")
    assert [(line.name, line.expression, line.enabled) for line in tab.ours(both, place)] == [
        ("n", "0 2 * * 7", True),
        ("n-2", "@daily", True),
    ]
    assert tab.ours(both, "ffffffff") == []
    assert tab.without(tab.without(both, place, "n"), place, "n-2").rstrip("\n") == foreign.rstrip("\n")
    assert tab.without(foreign, place, "n") == foreign


def test_a_line_that_its_owner_commented_out_is_known_as_such() -> None:
    text = tab.with_line("", "0123abcd", "n", "0 2 * * *", "/bin/true")
    (line,) = tab.ours(f"# {text}", "0123abcd")
    assert (line.enabled, line.expression, line.name) == (False, "0 2 * * *", "n")


def test_a_crontab_in_a_file_keeps_bytes_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "tab"
    file.write_bytes(FOREIGN.encode(errors="surrogateescape"))
    table = tab.Tab(file)
    table.write(tab.with_line(table.read(), "0123abcd", "n", "@daily", "/bin/true"))
    table.write(tab.without(table.read(), "0123abcd", "n"))
    assert file.read_bytes() == FOREIGN.encode(errors="surrogateescape")


def test_without_crontab_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EvoGitError, match="apt install cron"):
        tab.Tab().read()


CALENDARS = [
    ("0 2 * * *", ["OnCalendar=*-*-* 02:00:00"]),
    ("*/20 8-9 * * 1-3", ["OnCalendar=Mon,Tue,Wed *-*-* 08,09:00,20,40:00"]),
    ("0 0 1 jan 7", ["OnCalendar=*-01-01 00:00:00", "OnCalendar=Sun *-01-* 00:00:00"]),
    ("@weekly", ["OnCalendar=Sun *-*-* 00:00:00"]),
    ("@reboot", ["OnStartupSec=1min"]),
]


@pytest.mark.parametrize(("expression", "lines"), CALENDARS)
def test_systemd_starts_at_the_same_moments(expression: str, lines: list[str]) -> None:
    assert calendar(expression) == lines
    if shutil.which("systemd-analyze"):
        for line in lines:
            name, _, value = line.partition("=")
            kind = "calendar" if name == "OnCalendar" else "timespan"
            done = subprocess.run(["systemd-analyze", kind, value], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr


def test_units_quote_what_systemd_would_expand() -> None:
    plan = plans.Plan("n", "0 2 * * *", ("run", "--seconds", "4h"), '/r/100% $HOME "x"', "/p/python")
    text = systemd.units(plan, "0123abcd")
    assert r'"-C" "/r/100%% $$HOME \"x\""' in text
    assert "evogit-0123abcd-n.timer" in text


def env_file(at: Path, text: str, mode: int = 0o600) -> Path:
    path = at / "keys.env"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_of_keys_is_read(tmp_path: Path) -> None:
    text = "# keys\nexport A_KEY='s e=c'\n\nB=\"x\"\n C = y \nEMPTY=\n"
    assert plans.read_env_file(env_file(tmp_path, text)) == {"A_KEY": "s e=c", "B": "x", "C": "y", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("A=hush-hush", 0o644, "everybody on this machine may open it (mode 644). Type: chmod 600"),
        ("A=hush-hush", 0o640, "its group on this machine"),
        ("B=1\nhush-hush", 0o600, "line 2: expected NAME=VALUE"),
        ("9hush-hush=1", 0o600, "line 1"),
    ],
)
def test_a_file_of_keys_is_refused_without_a_word_of_it(tmp_path: Path, text: str, mode: int, said: str) -> None:
    with pytest.raises(EvoGitError) as caught:
        plans.read_env_file(env_file(tmp_path, text, mode))
    assert said in str(caught.value)
    assert "hush" not in str(caught.value)


def test_no_key_is_carried() -> None:
    environ = {"PATH": "/b", "EVOGIT_BUDGET_TOKENS": "5", "EVOGIT_KEY": "k", "EVOGIT_OWN": "k", "OPENAI_API_KEY": "k"}
    environ |= {"EVOGIT_MODELS_FAST_API_KEY": "k", "EVOGIT_MODELS_FAST_API_KEY_ENV": "FAST", "SSH_AUTH_SOCK": "x"}
    assert plans.carried(environ, ["EVOGIT_OWN"]) == {
        "PATH": "/b",
        "EVOGIT_BUDGET_TOKENS": "5",
        "EVOGIT_MODELS_FAST_API_KEY_ENV": "FAST",
    }

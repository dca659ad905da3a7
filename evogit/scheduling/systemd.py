"""The same start as units of systemd, for those who prefer its timers to cron."""

from __future__ import annotations

from evogit.scheduling.expression import calendar
from evogit.scheduling.plan import Plan


def units(plan: Plan, place: str) -> str:
    """A service and a timer of the user's own systemd, with where each goes and how the timer is switched on."""
    name = f"evogit-{place}-{plan.name}"
    words = [plan.python, "-P", "-m", "evogit", "schedule", "start", plan.name, "-C", plan.directory]
    times = "\n".join(calendar(plan.expression))
    return f"""\
# ~/.config/systemd/user/{name}.service
[Unit]
Description=EvoGit: {_text(" ".join(plan.arguments))}

[Service]
Type=oneshot
ExecStart={" ".join(map(_quoted, words))}

# ~/.config/systemd/user/{name}.timer
[Unit]
Description=EvoGit: {_text(plan.name)} at {_text(plan.expression)}

[Timer]
{times}
AccuracySec=1s
Persistent={"false" if plan.expression == "@reboot" else "true"}

[Install]
WantedBy=timers.target

# Write the two files, then type:
#   systemctl --user daemon-reload && systemctl --user enable --now {name}.timer
#   loginctl enable-linger   (so that it also starts while you are not logged in)
"""


def _quoted(word: str) -> str:
    """One argument as systemd reads it: its own escapes, % and $ doubled."""
    for sign, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(sign, written)
    return f'"{word}"'


def _text(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("%", "%%")

"""Cron expressions: checked before cron sees them, and as systemd writes the same moments."""

from __future__ import annotations

from crontab import CronSlices

from evogit.errors import UsageError

FIELDS = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 7),
)
SHORT = ("@reboot", "@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


def check(expression: str) -> str:
    """`expression` with single spaces.

    Raises:
        UsageError: cron would not understand it, or it names a day that never comes; says which field and why.
    """
    words = expression.split()
    if len(words) == 1 and words[0].startswith("@"):
        if words[0].lower() not in SHORT:
            raise UsageError(f"cron expression {expression!r}: {words[0]} is none of {', '.join(SHORT)}")
        return words[0].lower()
    if len(words) != len(FIELDS):
        names = ", ".join(name for name, _, _ in FIELDS)
        raise UsageError(
            f"cron expression {expression!r}: expected five fields ({names}), got {len(words)}. "
            'In quotes, as "0 2 * * *" for two in the morning'
        )
    for at, (word, (name, low, high)) in enumerate(zip(words, FIELDS, strict=True)):
        try:
            found = CronSlices(" ".join(word if i == at else "*" for i in range(len(FIELDS))))
            values = _values(found, at)
        except (ValueError, KeyError) as error:
            said = str(error.args[0]) if error.args else "not understood"
            raise UsageError(
                f"cron expression {expression!r}: {word!r} is no {name} ({low} to {high}, lists 1,2, ranges 1-5, "
                f"steps */10): {said}"
            ) from None
        if not values:
            raise UsageError(f"cron expression {expression!r}: {word!r} names no {name} at all")
    _check_day(expression, words)
    return " ".join(words)


def _check_day(expression: str, words: list[str]) -> None:
    """Refuse a day such as 31 February: cron would wait for it in silence for ever."""
    if words[2].startswith("*") or not words[4].startswith("*"):
        return
    found = CronSlices(" ".join(words))
    longest = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
    if not any(day <= longest.get(month, 31) for day in _values(found, 2) for month in _values(found, 3)):
        raise UsageError(f"cron expression {expression!r}: there is no day {words[2]} in month {words[3]}")


def _values(slices: CronSlices, at: int) -> list[int]:
    return sorted({int(value) for value in slices[at]})


def calendar(expression: str) -> list[str]:
    """The same moments as lines of a systemd timer.

    Cron starts when the day of the month or the day of the week fits, if both are restricted; systemd when both fit:
    hence two lines then.
    """
    if expression == "@reboot":
        return ["OnStartupSec=1min"]
    slices = CronSlices(expression)
    words = slices.render().split() if not expression.startswith("@") else _long(expression).split()
    slices = CronSlices(" ".join(words))

    def listed(at: int, form: str = "02d") -> str:
        return "*" if words[at] == "*" else ",".join(format(value, form) for value in _values(slices, at))

    week = "" if words[4] == "*" else ",".join(dict.fromkeys(WEEKDAYS[day % 7] for day in _values(slices, 4))) + " "
    month, time = listed(3), f"{listed(1)}:{listed(0)}:00"
    if words[2].startswith("*") or words[4].startswith("*"):
        return [f"OnCalendar={week}*-{month}-{listed(2)} {time}"]
    return [f"OnCalendar=*-{month}-{listed(2)} {time}", f"OnCalendar={week}*-{month}-* {time}"]


def _long(short: str) -> str:
    return {
        "@hourly": "0 * * * *",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@weekly": "0 0 * * 0",
        "@monthly": "0 0 1 * *",
    }.get(short, "0 0 1 1 *")

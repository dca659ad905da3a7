"""What a run looks like while it goes on: live on a terminal, plain lines elsewhere, JSON lines for scripts."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from evogit.cli.place import number
from evogit.evolution import events
from evogit.evolution.budget import Budget
from evogit.evolution.events import Event, Listener

BARS = "▁▂▃▄▅▆▇█"
EVERY_SECONDS, EVERY_CANDIDATES = 5.0, 500


@contextlib.contextmanager
def display(style: str, budget: Budget) -> Iterator[Listener]:
    """A listener in one of the styles json, quiet, plain, live."""
    if style == "json":
        yield _print_json
    elif style == "quiet":
        yield _quiet
    elif style == "plain":
        yield Plain().listen
    else:
        board = Board(budget)
        with Live(board, console=Console(), refresh_per_second=8, transient=True) as live:
            board.console = live.console
            yield board.listen
        for line in board.summary():
            print(line)


def _print_json(event: Event) -> None:
    if not isinstance(event, events.Turn):
        print(json.dumps(events.as_dict(event), ensure_ascii=False, allow_nan=False), flush=True)


def _quiet(event: Event) -> None:
    if isinstance(event, events.Notice):
        print(f"note: {event.text}", file=sys.stderr)


def restarted(event: events.Restarted) -> str:
    return f"{event.reason}: {event.agents} agents begin again from the start; best so far {number(event.best)}"


def decided(event: events.Decided) -> str:
    reason = f": {event.reason}" if event.reason else ""
    return f"{event.author} said {event.verb} {event.commit[:10]}{reason}"


def cluster(engine: dict[str, Any]) -> str:
    """What a cluster is and did, in a line."""
    nodes, slots = len(engine["nodes"]), sum(engine["nodes"].values())
    line = f"engine {engine['kind']} at {engine['address']}: {nodes} node{'s' * (nodes != 1)}, "
    line += f"{slots} slot{'s' * (slots != 1)}"
    if engine["evaluations"]:
        line += f"; {engine['evaluations']} evaluations, {engine['shipped']} objects ({engine['bytes']} bytes) shipped"
    if engine["lost"]:
        line += f"; {engine['lost']} workers lost, {engine['retried']} evaluations tried again elsewhere"
    return line


def last_words(event: events.Finished) -> list[str]:
    """The end of a run in two lines."""
    share = f"{100 * event.accepted / event.candidates:.0f} %" if event.candidates else "–"
    best = f"best {number(event.best_score)} at {event.best_commit[:10]}" if event.best_commit else "no score yet"
    reasons = ", ".join(f"{reason} {count}" for reason, count in Counter(event.rejected).most_common())
    bill = [f"{role} {row['calls']:.0f} calls, {row['tokens']:.0f} tokens" for role, row in event.roles.items()]
    lines = [
        f"{event.reason}: {event.candidates} candidates in {event.seconds:.1f} s, "
        f"{event.accepted} accepted ({share}), {best}"
    ]
    if reasons:
        lines.append(f"rejected: {reasons}")
    if event.engine.get("kind", "local") != "local":
        lines.append(cluster(event.engine))
    if bill:
        lines.append(f"models: {event.tokens} tokens, cost {event.cost:.4f} ({'; '.join(bill)})")
    return lines


@dataclass
class Plain:
    """Lines for logs: new bests, epochs, and progress now and then."""

    candidates: int = 0
    accepted: int = 0
    best: float | None = None
    _begun: float = field(default_factory=time.monotonic)
    _told: float = field(default_factory=time.monotonic)

    def listen(self, event: Event) -> None:
        for line in self.lines(event):
            print(line, flush=True)

    def lines(self, event: Event) -> list[str]:
        if isinstance(event, events.Started):
            self.best = event.best
            what = f"resumed after {event.candidates} candidates" if event.resumed else "founded"
            jobs = f"{event.jobs} job{'s' if event.jobs > 1 else ''}"
            agents = f"{len(event.agents)} agent{'s' if len(event.agents) > 1 else ''}"
            return [
                f"run {event.run} {what}: {event.task}, {agents}, {jobs}, {event.sandbox}, best {number(event.best)}",
                *([cluster(event.engine)] if event.engine.get("kind", "local") != "local" else []),
            ]
        if isinstance(event, events.Candidate):
            return self._candidate(event)
        if isinstance(event, events.EpochTurned):
            return [f"epoch {event.epoch}: training data redrawn, best {number(event.best)}"]
        if isinstance(event, events.Restarted):
            return [restarted(event)]
        if isinstance(event, events.Validated):
            mark = ", the new champion" if event.best else ""
            return [f"validated {event.commit[:10]} by {event.agent}: {number(event.score)}{mark}"]
        if isinstance(event, events.Notice):
            return [f"note: {event.text}"]
        if isinstance(event, events.Decided):
            return [decided(event)]
        if isinstance(event, events.Noted):
            return ["the scribe notes:", *(f"  {line}" for line in event.text.splitlines())]
        if isinstance(event, events.Finished):
            return last_words(event)
        return []

    def _candidate(self, event: events.Candidate) -> list[str]:
        self.candidates += 1
        self.accepted += event.decision == "accepted"
        lines = []
        if event.best:
            self.best = event.score
            lines.append(f"new best {number(event.score)} by {event.agent} ({event.operator}): {event.summary}")
        now = time.monotonic()
        if self.candidates % EVERY_CANDIDATES == 0 or now - self._told >= EVERY_SECONDS:
            self._told = now
            rate = self.candidates / max(now - self._begun, 1e-9)
            lines.append(
                f"{self.candidates} candidates, {self.accepted} accepted, {rate:.1f}/s, best {number(self.best)}"
            )
        return lines


@dataclass
class Row:
    """One agent on the board."""

    definition: str
    doing: str = "–"
    score: float | None = None
    last: str = ""
    accepted: int = 0


@dataclass
class Board:
    """The live display. Rich asks for it a few times a second; events only change its numbers."""

    budget: Budget
    console: Console | None = None
    started: events.Started | None = None
    finished: events.Finished | None = None
    rows: dict[str, Row] = field(default_factory=dict)
    candidates: int = 0
    accepted: int = 0
    best: float | None = None
    first: float | None = None
    epoch: int = 0
    champion: str = ""
    history: list[float] = field(default_factory=list)
    operators: dict[str, list[int]] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    cost: float = 0.0
    news: deque[str] = field(default_factory=lambda: deque(maxlen=3))
    _begun: float = field(default_factory=time.monotonic)

    def listen(self, event: Event) -> None:
        if isinstance(event, events.Started):
            self.started, self.best, self.first = event, event.best, event.best
            self.rows = {name: Row(definition) for name, definition in event.agents.items()}
        elif isinstance(event, events.Turn):
            self.rows.setdefault(event.agent, Row("")).doing = event.operator
        elif isinstance(event, events.Skipped):
            self.rejected[event.reason] += 1
            self._tried(event.operator, accepted=False)
            self._paid(event)
        elif isinstance(event, events.Candidate):
            self._candidate(event)
        elif isinstance(event, events.EpochTurned):
            self.epoch, self.best = event.epoch, event.best
            self.news.append(f"epoch {event.epoch}: training data redrawn")
        elif isinstance(event, events.Restarted):
            self.news.append(restarted(event))
        elif isinstance(event, events.Validated) and event.best:
            self.champion = f"{number(event.score)} ({event.agent})"
            self.news.append(f"validated {event.commit[:8]}: {number(event.score)}")
        elif isinstance(event, events.Notice):
            self.news.append(event.text)
        elif isinstance(event, events.Decided):
            self.news.append(decided(event))
        elif isinstance(event, events.Noted):
            self.news.append(f"noted: {' '.join(event.text.split())}")
        elif isinstance(event, events.Finished):
            self.finished = event

    def _paid(self, event: events.Candidate | events.Skipped) -> None:
        self.tokens += event.tokens
        self.cost += event.cost

    def _candidate(self, event: events.Candidate) -> None:
        self.candidates += 1
        self._paid(event)
        row = self.rows.setdefault(event.agent, Row(""))
        row.last = event.decision
        self._tried(event.operator, accepted=event.decision == "accepted")
        if event.decision == "accepted":
            self.accepted += 1
            row.score, row.accepted = event.score, row.accepted + 1
        else:
            self.rejected[event.decision] += 1
        if event.best and event.score is not None:
            self.best = event.score
            self.history.append(event.score)
            self.news.append(f"new best {number(event.score)}: {event.summary}")

    def _tried(self, operator: str, *, accepted: bool) -> None:
        counts = self.operators.setdefault(operator, [0, 0])
        counts[0] += 1
        counts[1] += accepted

    def __rich__(self) -> Group:
        size = shutil.get_terminal_size()
        parts: list[Text | Table] = [*self._head(size.columns), self._agents(size.columns, max(1, size.lines - 12))]
        parts += [self._line("operators", self._operators(), size.columns)]
        reasons = "  ".join(f"{reason} {count}" for reason, count in self.rejected.most_common(8))
        parts += [self._line("rejected", reasons or "–", size.columns)]
        if size.lines > 15:
            parts += [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in self.news]
        return Group(*parts)

    def _head(self, columns: int) -> list[Text]:
        spent = time.monotonic() - self._begun
        rate = self.candidates / spent if spent else 0.0
        started = self.started
        name = f"{started.run}: {started.task}, {started.sandbox}" if started else "starting …"
        share = f"{100 * self.accepted / self.candidates:.0f} %" if self.candidates else "–"
        title = Text(name, style="bold", no_wrap=True, overflow="ellipsis")
        best = Text.assemble(
            ("best ", "dim"),
            (number(self.best), "bold green"),
            ("  from ", "dim"),
            number(self.first),
            ("  validated ", "dim") if self.champion else "",
            self.champion,
            "  ",
            (sparkline(self.history, max(4, columns // 4)), "green"),
            no_wrap=True,
            overflow="ellipsis",
        )
        counts = f"{self.candidates} candidates  {share} accepted  {rate:.1f}/s  {clock(spent)}{self._left(spent)}"
        if self.tokens:
            counts += f"  {self.tokens} tokens, cost {self.cost:.4f}"
        return [title, best, Text(counts, no_wrap=True, overflow="ellipsis")]

    def _left(self, spent: float) -> str:
        parts = []
        if self.budget.seconds is not None:
            parts.append(f"{clock(max(0.0, self.budget.seconds - spent))} left")
        if self.budget.candidates is not None:
            parts.append(f"{max(0, self.budget.candidates - self.candidates)} candidates left")
        return "  " + ", ".join(parts) if parts else ""

    def _agents(self, columns: int, height: int) -> Table:
        """The agents with the best scores, in as many columns as there is room for."""
        direction = self.started.direction if self.started else "maximize"
        sign = -1 if direction == "maximize" else 1
        order = sorted(
            self.rows.items(), key=lambda item: (item[1].score is None, sign * (item[1].score or 0.0), item[0])
        )
        across = max(1, min(3, columns // 52, -(-len(order) // height)))
        shown = order[: across * height]
        table = Table.grid(padding=(0, 2))
        lines = -(-len(shown) // across) if shown else 0
        for line in range(lines):
            cells: list[Text] = []
            for column in range(across):
                at = column * lines + line
                if at < len(shown):
                    cells.append(self._cell(*shown[at]))
            table.add_row(*cells)
        if len(order) > len(shown):
            table.add_row(Text(f"and {len(order) - len(shown)} more agents", style="dim"))
        return table

    def _cell(self, name: str, row: Row) -> Text:
        style = "green" if row.last == "accepted" else "dim"
        return Text.assemble(
            f"{name:<12.12} ",
            f"{number(row.score):>10} ",
            (f"{row.doing:<11.11} ", "cyan"),
            (row.last, style),
            no_wrap=True,
            overflow="ellipsis",
        )

    def _operators(self) -> str:
        rows = sorted(self.operators.items(), key=lambda item: -item[1][1])
        return "  ".join(f"{name} {accepted}/{tried}" for name, (tried, accepted) in rows) or "–"

    @staticmethod
    def _line(title: str, text: str, columns: int) -> Text:
        return Text.assemble((f"{title} ", "dim"), text[: max(10, 2 * columns - 12)])

    def summary(self) -> list[str]:
        return last_words(self.finished) if self.finished else []


def sparkline(values: list[float], width: int) -> str:
    """The history as bars, scaled between its ends; only the last of each stretch when it is longer than `width`."""
    if not values:
        return ""
    if len(values) > width:
        values = [values[(n + 1) * len(values) // width - 1] for n in range(width)]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1))] for value in values)


def clock(seconds: float) -> str:
    """Seconds as 0:07 or 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

"""`status`: where a run stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evogit.cli.best import describe
from evogit.cli.bill import describe as describe_bill
from evogit.cli.bill import outcome_lines
from evogit.cli.place import Directory, Json, Place, RunName, here, number, print_json

if TYPE_CHECKING:
    from evogit.evolution.population import Population


def status(json: Json = False, directory: Directory = None, run: RunName = None) -> None:
    """Show where a run stands: candidates, rejections by reason, every agent's score, operators, the best."""
    place = here(directory, run)
    population = place.population()
    found = describe_run(place, population)
    if json:
        print_json(found)
        return
    state = "running now" if found["running"] else "not running"
    share = f"{100 * population.accepted / population.candidates:.0f} %" if population.candidates else "–"
    print(f"run {found['run']}: {found['task']}, {state}")
    print(f"candidates {population.candidates}, accepted {population.accepted} ({share}), {found['seconds']:.0f} s")
    if found["best"]:
        print(f"best {number(found['best']['score'])} at {found['best']['commit'][:10]} by {found['best']['agent']}")
    if found["rejected"]:
        print("rejected: " + ", ".join(f"{reason} {count}" for reason, count in found["rejected"].items()))
    for definition, operators in found["operators"].items():
        print(f"operators of {definition}:")
        for name, arm in operators.items():
            print(f"  {name:<14}{arm['tried']:>7} tried{arm['accepted']:>7} accepted{100 * arm['rate']:>7.1f} %")
    for line in outcome_lines(found["outcomes"]):
        print(line)
    if found["tokens"]:
        print(f"models used {found['tokens']} tokens, cost {found['cost']:.4f} (evogit stats shows by whom)")
    for line in decision_lines(found["decisions"]):
        print(line)
    if len(found["hosts"]) > 1:
        print("hosts:")
        for host in found["hosts"]:
            print(f"  {host_line(host)}")
    print("agents:")
    for agent in found["agents"]:
        print(f"  {agent['name']:<18}{agent['commit'][:10]}  {number(agent['score'])}")


def describe_run(place: Place, population: Population) -> dict[str, Any]:
    """The run as JSON; `seconds` from the first entry to the last."""
    from evogit.evolution.session import living_refs
    from evogit.store.repository import busy

    agents = []
    for (host, agent), commit in living_refs(place.objects(), place.run).items():
        tree = population.trees.get(commit)
        evaluation = population.result(tree, population.epoch) if tree else None
        score = evaluation.score if evaluation else None
        agents.append({"name": agent, "host": host, "commit": commit, "score": score})
    champion = population.best()
    described = describe_bill(population)
    operators = {
        definition: {
            name: {"tried": arm.tried, "accepted": arm.accepted, "rate": arm.accepted / arm.tried if arm.tried else 0.0}
            for name, arm in sorted(allocation.arms.items())
        }
        for definition, allocation in sorted(population.operators.items())
    }
    return {
        "run": place.run,
        "task": population.founded.get("task"),
        "running": busy(place.repository, place.run),
        "candidates": population.candidates,
        "accepted": population.accepted,
        "rejected": dict(population.rejected.most_common()),
        "epoch": population.epoch,
        "agents": agents,
        "hosts": describe_hosts(population),
        "best": describe(place, population, champion) if champion else None,
        "operators": operators,
        "outcomes": described["outcomes"],
        "tokens": sum(row["input"] + row["output"] for row in described["spent"]["model"].values()),
        "cost": sum(row["cost"] for row in described["spent"]["model"].values()),
        "notes": [text for _, text in population.memory.notes],
        "guests": [guest(population, commit) for commit in population.guests()],
        "decisions": describe_decisions(place, population),
        "guidance": [guidance.text for guidance in population.decisions.guidance],
        "seconds": (population.last - population.first) / 1000,
    }


def describe_hosts(population: Population) -> list[dict[str, Any]]:
    """Who has written here, as JSON: when last (seconds since 1970), how much, its best by its own word."""
    findings = population.findings
    rows = []
    for name, seen in sorted(population.hosts.items()):
        best = seen.best(population.digest, population.epoch, population.direction)
        rows.append(
            {
                "host": name,
                "last_seen": seen.last / 1000,
                "candidates": seen.candidates,
                "accepted": seen.accepted,
                "best": {"score": best[0], "commit": best[1]} if best else None,
                "believed": findings.trust.believes(name),
                "refuted": findings.caught.get(name, 0),
            }
        )
    return rows


def host_line(row: dict[str, Any]) -> str:
    """A host for people."""
    import time

    from evogit.cli.reviewscreen import age

    best = f"best {number(row['best']['score'])} at {row['best']['commit'][:10]}" if row["best"] else "no score yet"
    word = "" if row["believed"] else f"; {row['refuted']} claims refuted" if row["refuted"] else "; not believed"
    seen = age(time.time() - row["last_seen"])
    return f"{row['host']:<24}seen {seen:<10}{row['candidates']:>7} candidates  {best}{word}"


def guest(population: Population, commit: str) -> dict[str, Any]:
    """A version that a person keeps in the population, as JSON."""
    tree = population.trees.get(commit)
    evaluation = population.result(tree, population.epoch) if tree else None
    said = population.decisions.of(commit)
    return {"commit": commit, "fate": said.fate or "pin", "score": evaluation.score if evaluation else None}


def describe_decisions(place: Place, population: Population) -> dict[str, Any]:
    """What people decided and what holds of it, as JSON. `waiting`: tags that no running process has read yet."""
    from evogit.evolution.decisions import as_rows
    from evogit.evolution.tags import unread

    decisions = population.decisions
    standing = decisions.standing.items()
    exclusive = decisions.exclusive
    return {
        "made": as_rows(decisions),
        "promoted": {commit: said.name for commit, said in standing if said.fate == "promote"},
        "pruned": [commit for commit, said in standing if said.fate == "prune"],
        "pinned": [commit for commit, said in standing if said.pinned],
        "adopted": [commit for commit, said in standing if said.fate == "adopt"],
        "exclusive": exclusive.commit if exclusive else None,
        "extinct": len(population.fate.extinct),
        "goal_stage": len(decisions.stages),
        "waiting": [name for name, _ in unread(place.objects(), place.run, decisions)],
    }


def decision_lines(found: dict[str, Any]) -> list[str]:
    """What holds of people's decisions, a line where there is any."""
    parts = [f"promoted {name} ({commit[:10]})" for commit, name in found["promoted"].items()]
    parts += [
        f"{verb} {', '.join(c[:10] for c in found[verb])}" for verb in ("pruned", "pinned", "adopted") if found[verb]
    ]
    parts += [f"everybody continues from {found['exclusive'][:10]}"] if found["exclusive"] else []
    parts += [f"stage {found['goal_stage']} of the goal"] if found["goal_stage"] else []
    lines = [f"decided: {'; '.join(parts)}"] if parts else []
    if found["waiting"]:
        lines.append(f"tags to be read by the next process: {', '.join(found['waiting'])}")
    return lines

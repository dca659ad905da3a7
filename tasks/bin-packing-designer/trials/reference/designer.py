"""Written by hand: begins with a solver that works, says exactly what is wanted, and tells what went wrong and how far off it is."""

import re
import signal

from asking import ask

START = """
def pack(items, capacity):
    bins = []
    for item in sorted(items, reverse=True):
        fitting = [one for one in bins if sum(one) + item <= capacity]
        if fitting:
            max(fitting, key=sum).append(item)
        else:
            bins.append([item])
    return bins
"""
QUESTION = """Improve this Python function for one-dimensional bin packing. It used {used} bins in all on {count} instances, and
{least} would be perfect.

```python{best}```

Write the whole module anew with a function pack(items, capacity) that uses fewer bins. It is given a list of integers
and returns a list of bins, each a list of those integers; every item must be in exactly one bin, no bin may hold more
than capacity. All items are known before the first is placed. An idea: {idea}. Only the standard library; under a
second for 250 items. {wrong}Answer with one Python code block and nothing else."""
IDEAS = (
    "for each bin in turn, after its largest item search for the two or three smaller items that fill it best",
    "after best fit decreasing, empty the least filled bin by swapping its items into others, again and again",
    "try many random orders near the decreasing one, and keep the packing with the fewest bins",
)


def design(instances, capacity, requests):
    best, fewest = START, tried(START, instances, capacity)
    least = sum(-(-sum(items) // capacity) for items in instances)
    wrong = ""
    for number in range(requests):
        question = QUESTION.format(
            used=fewest, count=len(instances), least=least, best=best, idea=IDEAS[number % len(IDEAS)], wrong=wrong
        )
        try:
            reply = ask([{"role": "user", "content": question}], max_tokens=900, temperature=0.7)
        except RuntimeError:
            break
        source = code(reply)
        bins = tried(source, instances, capacity)
        if bins is not None and bins < fewest:
            best, fewest, wrong = source, bins, ""
        elif bins is None:
            wrong = "An earlier answer returned an invalid packing, raised, or was too slow: check with care. "
    return best


def code(reply):
    """What stands in the reply's first fence, or all of it."""
    found = re.search(r"```(?:python)?\n(.*?)```", reply, re.DOTALL)
    return found.group(1) if found else reply


def late(number, frame):
    raise TimeoutError("too slow")


def tried(source, instances, capacity):
    """Bins used in all, or None if the solver does not work."""
    signal.signal(signal.SIGALRM, late)
    used = 0
    for items in instances:
        signal.alarm(3)
        try:
            space = {}
            exec(source, space)
            bins = space["pack"](list(items), capacity)
            if sorted(x for one in bins for x in one) != sorted(items) or max(map(sum, bins)) > capacity:
                return None
            used += len(bins)
        except Exception:
            return None
        finally:
            signal.alarm(0)
    return used

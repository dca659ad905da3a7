"""The one error boundary: every failure becomes a message and an exit code here, and nowhere else.

0 fine, 1 expected failure, 2 usage, 3 bug (a log file is named), 5 another process holds this run, 130 interrupted.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

import typer
from typer.exceptions import TyperException

from evogit.cli.app import app
from evogit.errors import EvoGitError

USAGE, BUG, INTERRUPTED = 2, 3, 130
SHARED = ("-C", "--run")


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; its exit code."""
    try:
        result = app(reordered(arguments), prog_name="evogit", standalone_mode=False)
    except EvoGitError as error:
        _say(str(error))
        return error.exit_code
    except typer.Exit as stop:
        return int(stop.exit_code)
    except TyperException as error:
        # Only usage errors can show themselves with the command's usage line; their class is private to Typer.
        show = getattr(error, "show", None)
        show(sys.stderr) if show else _say(error.format_message())
        return USAGE
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has gone: nothing is wrong. Python must not try to flush to it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BaseExceptionGroup as group:  # task groups wrap what ended them, Ctrl-C too
        return _group(group)
    except ImportError:  # GitPython's, among others
        if shutil.which("git"):
            return _bug(traceback.format_exc())
        _say("Git, which EvoGit keeps everything in, is not here. Debian, Ubuntu: apt install git")
        return 1
    except Exception:  # noqa: BLE001  # the boundary: whatever is left is a bug of ours
        return _bug(traceback.format_exc())
    return result if isinstance(result, int) else 0


def reordered(arguments: list[str]) -> list[str]:
    """``-C DIR`` and ``--run NAME`` before the command, as Git allows, moved to where every command has them."""
    moved: list[str] = []
    at = 0
    while at < len(arguments):
        word = arguments[at]
        if word in SHARED and at + 1 < len(arguments):
            moved += arguments[at : at + 2]
            at += 2
        elif word.startswith("--run=") or (word.startswith("-C") and len(word) > 2):
            moved.append(word)
            at += 1
        else:
            break
    rest = arguments[at:]
    if rest[:1] in (["models"], ["tasks"], ["schedule"]) and len(rest) > 1 and not rest[1].startswith("-"):
        return [*rest[:2], *moved, *rest[2:]]
    return [*rest[:1], *moved, *rest[1:]] if rest else arguments


def _group(group: BaseExceptionGroup[BaseException]) -> int:
    """A task group's failures: the first that was expected speaks for all."""
    expected, rest = group.split(EvoGitError)
    if expected is not None and rest is None:
        first: BaseException = expected
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        assert isinstance(first, EvoGitError)
        _say(str(first))
        return first.exit_code
    if group.split(KeyboardInterrupt)[0] is not None:
        _say("interrupted")
        return INTERRUPTED
    return _bug("".join(traceback.format_exception(group)))


def _say(message: str) -> None:
    print(f"error: {message}" if message != "interrupted" else message, file=sys.stderr)


def _bug(text: str) -> int:
    handle, name = tempfile.mkstemp(prefix="evogit-bug-", suffix=".log")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    _say(f"this is a bug in EvoGit, not in what you did: {text.strip().splitlines()[-1]}\nDetails are in {Path(name)}")
    return BUG


if __name__ == "__main__":
    main()

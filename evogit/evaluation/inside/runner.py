"""Run a Python judge, and say by a word that only this knows that the judge came to its own end.

A candidate that the judge imports could otherwise write a result and leave with exit status 0, by os._exit or sys.exit.
A candidate that it starts as a program can neither read this process nor open its result, which has no name elsewhere.
"""

import ctypes
import json
import os
import sys
import traceback
import types
from importlib.machinery import PathFinder

PR_SET_DUMPABLE = 4


class Standard:
    """Find the standard library before the candidate's files: a statistics.py beside the judge is not the judge's.

    What the judge has under such a name itself is kept, and `test`, because that is what projects call their own.
    """

    def __init__(self, folder: str, own: set[str]) -> None:
        self.folder = folder
        self.own = own

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:  # noqa: ARG002
        if path is not None or name not in sys.stdlib_module_names or name == "test":
            return None
        beside = os.path.join(self.folder, name)
        if beside + ".py" in self.own or os.path.join(beside, "__init__.py") in self.own:
            return None
        return PathFinder.find_spec(name, [place for place in sys.path if place != self.folder])


def run(asked: int, told: int, result: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    with os.fdopen(asked, "rb") as pipe:
        word, trusted = json.loads(pipe.read())
    os.set_inheritable(told, False)
    os.set_inheritable(result, False)
    del sys.argv[:4]
    path = os.path.abspath(sys.argv[0])
    sys.path[0] = os.path.dirname(path)
    own = {path, *(os.path.abspath(name) for name in trusted)}
    inside = os.getcwd() + os.sep
    sys.meta_path.insert(0, Standard(sys.path[0], own))  # type: ignore[arg-type]
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    main.__file__ = path
    try:
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec")
        exec(code, main.__dict__)
    except SystemExit as stop:
        last, here = path, stop.__traceback__
        while here is not None:
            name = os.path.join(inside, here.tb_frame.f_code.co_filename)
            last = name if name.startswith(inside) else last
            here = here.tb_next
        if last not in own:
            print(f"{os.path.relpath(last)} called sys.exit({stop.code!r}) in the judge's process", file=sys.stderr)
            sys.exit(1)
        if stop.code not in (None, 0):
            raise
    except BaseException as error:  # noqa: BLE001  # told as the interpreter would
        traceback.print_exception(type(error), error, error.__traceback__.tb_next if error.__traceback__ else None)
        sys.exit(1)
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(told, word.encode())
    os._exit(0)  # what a candidate left to be done at exit is not the judge's


run(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

"""Programs that try to win without being good, each a few lines before an honest program: what a judge must withstand.

`evogit tasks check` puts them into every task's own seed. What the sandbox must withstand is tried elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

_CLAIM = """\
import atexit, json, os, sys
def _claim():
    text = json.dumps({{"score": {best}, "metrics": {{"score": {best}}}}})
    print(text, flush=True)
    try:
        with open(os.environ.get("EVOGIT_RESULT", "result.json"), "w") as file:
            file.write(text)
    except OSError:
        pass
    for number in range(3, 64):
        try:
            os.write(number, text.encode())
        except OSError:
            pass
"""

_PATCH = """\
import builtins, sys
def _patch():
    installed = (sys.prefix, sys.base_prefix, "/usr/lib", "/evogit")
    for name, module in list(sys.modules.items()):
        space = getattr(module, "__dict__", {{}})
        file = getattr(module, "__file__", None) or ""
        if name == "__main__" or space is globals() or not file or file.startswith(installed):
            continue
        for key, value in list(space.items()):
            if callable(value) and getattr(value, "__module__", "") == name:
                try:
                    setattr(module, key, lambda *a, **k: {best})
                except Exception:  # this text is a hostile program: it goes on whatever happens
                    pass
    for name in ("sum", "abs", "max", "min"):
        setattr(builtins, name, lambda *a, **k: {best})
_patch()
"""

_HUNT = """\
import gc, sys
def _hunt():
    frame = sys._getframe()
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if isinstance(value, dict) and not value.keys() & {{"__builtins__", "__name__"}}:
                value.update({{"score": {best}, "metrics": {{"score": {best}}}}})
        frame = frame.f_back
    for value in gc.get_objects():
        if type(value) is dict and "score" in value and "__name__" not in value:
            value["score"] = {best}
try:
    _hunt()
except Exception:  # this text is a hostile program: it goes on whatever happens
    pass
"""


def hostile_programs(best: float, *, endless: bool) -> Mapping[str, str]:
    """What each does → its code. `best`: the score it claims. `endless`: also one that never ends."""
    programs = {
        "leaves at once with exit status 0": "import os\nos._exit(0)",
        "writes a result and leaves": _CLAIM.format(best=best) + "_claim()\nos._exit(0)",
        "writes a result everywhere, then and at exit": _CLAIM.format(best=best) + "_claim()\natexit.register(_claim)",
        "replaces its judge's functions": _PATCH.format(best=best),
        "changes its judge's values": _HUNT.format(best=best),
    }
    if endless:
        programs["never ends"] = "while True: pass"
    return programs

"""Score a web page: lint it, build it, look at it in a browser. The candidate's files only ever run in the candidate's
own process (building) and in a page of the browser; what counts is what the browser shows.
"""

import io
import json
import os
import posixpath
import shutil
import subprocess
import tarfile
from pathlib import Path

import checks

MODULES = "node_modules"
BROWSER = "/usr/lib/chromium/chromium", "/usr/lib64/chromium-browser/chromium-browser", "/opt/google/chrome/chrome"
COMMANDS = ("chromium", "chromium-browser", "google-chrome")
LARGEST = 8 << 20  # bytes of a built page
VIEWS = {"axe": ["1440-light", "375-light", "1440-dark"], "ink": ["1440-light", "375-dark"]}
FAMILIES = {
    "sans-serif": ("Inter", "Noto Sans", "Liberation Sans", "DejaVu Sans"),
    "serif": ("Noto Serif", "Liberation Serif", "DejaVu Serif"),
    "monospace": ("Noto Sans Mono", "Liberation Mono", "DejaVu Sans Mono"),
}
FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>/usr/share/fonts</dir><dir>/usr/local/share/fonts</dir><cachedir>{cache}</cachedir>{families}
<match target="pattern"><edit name="family" mode="append_last">{default}</edit></match></fontconfig>
"""
"""The default is for system-ui, which Tailwind asks for first: without one, every page came out with serifs."""
QUIET = {"OPENSSL_CONF": "/dev/null", "NODE_NO_WARNINGS": "1", "NO_COLOR": "1"}
"""Node ends at once where it finds an OpenSSL configuration that it may not read."""
BUILD = (
    f'node {MODULES}/vite/bin/vite.js build --configLoader native --outDir "$TMPDIR/dist" --emptyOutDir'
    ' --logLevel warn >&2 && tar -cf - -C "$TMPDIR/dist" .'
)


def lint(folder, candidate):
    """1 if ESLint has nothing to say, 0 with what it says."""
    linting = ["node", f"{MODULES}/eslint/bin/eslint.js", "--max-warnings", "0", "--format", "json", "src"]
    done = candidate.run(linting, environment=QUIET, deadline=50)
    try:
        files = json.loads(done.output)
        said = [
            f"{os.path.relpath(file['filePath'], folder)}:{m.get('line', 1)}: {m['message']} ({m['ruleId']})"
            for file in files
            for m in file["messages"]
        ]
    except (ValueError, KeyError, TypeError):
        return {"score": 0.0, "feedback": f"ESLint does not run: {tail(done.errors or done.output, folder)}"}
    if not files:
        return {"score": 0.0, "feedback": "src has no files"}
    return {"score": 0.0 if said or done.status else 1.0, "feedback": "\n".join(said[:12])}


def page(folder, candidate, parameters):
    """The weighted part of the checks that hold, of those up to the stage of the goal in force."""
    site = Path(os.environ["TMPDIR"]) / "site"
    sizes = build(folder, candidate, site)
    if isinstance(sizes, str):
        raise candidate.Failed(f"vite build fails:\n{sizes}")
    facts, pictures = browse(folder, site)
    facts["bytes"] = sizes
    settings = {
        "stage": int(parameters["stage"]),
        "most": {name: parameters[f"most_{name}"] for name in ("js", "css", "total", "elements")},
    }
    asked = [check for check in checks.CHECKS if check.stage <= settings["stage"]]
    wrong = {check.name: check.find(facts, settings) for check in asked}
    whole = sum(check.weight for check in asked)
    kept = sum(check.weight for check in asked if not wrong[check.name])
    lines = [f"- {name}: {text}" for name, text in wrong.items() if text]
    told = f"{len(asked) - len(lines)} of {len(asked)} checks hold at stage {settings['stage']}"
    return {
        "score": kept / whole,
        "metrics": {"checks": len(asked) - len(lines), **{f"{kind}_bytes": size for kind, size in sizes.items()}},
        "feedback": "\n".join([told, *lines]),
        "artifacts": pictures,
    }


def build(folder, candidate, site):
    """Build in the candidate's process, and unpack what comes out of it. The sizes by kind, or what is wrong."""
    done = candidate.run(["sh", "-c", BUILD], environment={**QUIET, "NODE_ENV": "production"}, deadline=60)
    if done.status:
        return tail(done.errors, folder)
    sizes = {"js": 0, "css": 0, "total": 0}
    shutil.rmtree(site, ignore_errors=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(done.output)) as archive:
            for member in archive:
                name = posixpath.normpath(member.name)
                if not member.isfile() or name.startswith(("/", "..")):
                    continue
                sizes["total"] += member.size
                kind = {".js": "js", ".mjs": "js", ".css": "css"}.get(posixpath.splitext(name)[1])
                if kind:
                    sizes[kind] += member.size
                if sizes["total"] > LARGEST:
                    return f"the built page has more than {LARGEST >> 20} MiB"
                (site / name).parent.mkdir(parents=True, exist_ok=True)
                (site / name).write_bytes(archive.extractfile(member).read())
    except tarfile.TarError as error:
        return f"the build left no page: {error}"
    return sizes if (site / "index.html").is_file() else "the build left no index.html"


def browse(folder, site):
    """What the browser saw, and its pictures by name."""
    out = Path(os.environ["TMPDIR"]) / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    fonts = out / "fonts.conf"
    default = "".join(f"<string>{each}</string>" for each in FAMILIES["sans-serif"])
    families = "".join(map(family, FAMILIES))
    fonts.write_text(FONTS.format(cache=out / "fontcache", families=families, default=default))
    settings = {
        "settle": 40, "tallest": 7000, "quality": 50, "widths": checks.WIDTHS, "between": checks.BETWEEN, **VIEWS,
        "sections": {name: selector for name, (selector, _, _) in checks.NAMES.items()},
    }  # fmt: skip
    driver = Path(__file__).with_name("browser.mjs")
    modules = (Path(folder) / MODULES).resolve()
    done = subprocess.run(
        ["node", driver, modules, site, browser(), out],
        input=json.dumps(settings).encode(),
        capture_output=True,
        env={
            **os.environ,
            **QUIET,
            "FONTCONFIG_FILE": str(fonts),
            "XDG_CONFIG_HOME": str(out),
            "XDG_CACHE_HOME": str(out),
        },
        cwd=out,
        check=False,
    )
    try:
        facts = json.loads((out / "facts.json").read_text())
    except (OSError, ValueError):
        raise RuntimeError(f"the browser does not work here: {tail(done.stderr)}") from None
    if "broken" in facts:
        raise RuntimeError(f"the page cannot be looked at: {facts['broken']}")
    return facts, {path.name: path.read_bytes() for path in sorted(out.glob("page-*.webp"))}


def family(name):
    """A generic family's preferences: the system's own are in /etc, which is not here."""
    wanted = "".join(f"<family>{each}</family>" for each in FAMILIES[name])
    return f"<alias><family>{name}</family><prefer>{wanted}</prefer></alias>"


def browser():
    """The program itself: what distributions call chromium is a script that wants more of /etc than there is here."""
    found = [path for path in BROWSER if os.access(path, os.X_OK)]
    return found[0] if found else next(filter(None, map(shutil.which, COMMANDS)), COMMANDS[0])


def tail(said, folder=None):
    """The end of what a program said, without traces through packages and without where they are on this machine."""
    text = said.decode("utf-8", "replace")
    for place, name in ((folder and (folder / MODULES).resolve(), MODULES), (folder, "")):
        text = text.replace(f"file://{place}/", f"{place}/").replace(f"{place}/", f"{name}/".lstrip("/"))
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("at ")]
    return "\n".join(lines).strip()[-3000:]

"""The person's own editor, as Git finds it, on files in a private folder."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from evogit.cli.place import Place


def edited(place: Place, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those of `files` (path → bytes) that the person changed and saved.

    Raises:
        UsageError: the editor cannot be started or ended with an error; nothing is taken from it then.
    """
    from evogit.errors import UsageError
    from evogit.store.repository import editor

    command = editor(place.repository)
    with tempfile.TemporaryDirectory(prefix="evogit-edit-") as folder:
        for path, data in files.items():
            target = Path(folder) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        # As Git does it: the setting is a piece of shell.
        line = " ".join([command, *(shlex.quote(path) for path in files)])
        code = subprocess.run(["sh", "-c", line], cwd=folder, check=False).returncode
        if code:
            raise UsageError(f"the editor ended with exit code {code} ({command}); nothing was changed")
        return {path: data for path in files if (data := (Path(folder) / path).read_bytes()) != files[path]}

"""`config`: every value in force and where it came from."""

from __future__ import annotations

from evogit.cli.place import Directory, Json, RunName, configuration, folder, print_json


def config(json: Json = False, directory: Directory = None, run: RunName = None) -> None:
    """Show the configuration in force, key by key, and where each value came from.

    Sources, each over the one before: defaults, your own file, .evogit/config.toml, EVOGIT_TABLE_KEY variables, flags.
    """
    from evogit.errors import StoreError
    from evogit.store.repository import find

    at = folder(directory)
    try:
        root = find(at).root
    except StoreError:
        root = None
    found = configuration(root, {"run.name": run})
    if json:
        print_json({key: {"value": value, "origin": origin} for key, value, origin in found.items()})
        return
    for key, value, origin in found.items():
        print(f"{key} = {value!r}  ({origin})")

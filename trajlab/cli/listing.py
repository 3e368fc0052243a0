"""``trajlab list [methods|sources|commands]``."""

from __future__ import annotations

from collections.abc import Sequence

from trajlab.catalog import unknown
from trajlab.cli.tables import groups


def run(arguments: Sequence[str]) -> None:
    """Print the names that there are; imports none of what it lists."""
    if arguments and arguments[0] in ("-h", "--help"):
        print("usage: trajlab list [methods|sources|commands]")
        return
    there = groups()
    for name in arguments:
        if name not in there:
            raise ValueError(unknown("list", name, there))
    for name in arguments or there:
        width = max(map(len, there[name]), default=0)
        print(f"{name}\n" + "\n".join(f"  {key:<{width}}  {what}".rstrip() for key, what in there[name].items()))

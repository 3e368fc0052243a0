"""``trajlab list [methods|baselines|sources|chaos|commands]``."""

from __future__ import annotations

from collections.abc import Sequence

from trajlab.catalog import unknown
from trajlab.cli.tables import groups

LONG = ("chaos",)  #: lists that are shown when they are asked for


def run(arguments: Sequence[str]) -> None:
    """Print the names that there are; imports none of what it lists."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(f"usage: trajlab list [{'|'.join(groups())}]")
        return
    there = groups()
    for name in arguments:
        if name not in there:
            raise ValueError(unknown("list", name, there))
    for name in arguments or [name for name in there if name not in LONG]:
        width = max(map(len, there[name]), default=0)
        print(f"{name}\n" + "\n".join(f"  {key:<{width}}  {what}".rstrip() for key, what in there[name].items()))

"""``trajlab card METHOD``: the page of docs/methods that belongs to a method."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import trajlab
from trajlab import models
from trajlab.cli.options import subject


def run(arguments: Sequence[str]) -> None:
    """Print a card."""
    name, _ = subject(arguments, "method", list(models.TABLE), "card")
    print(find(name).read_text(encoding="utf-8").rstrip())


def find(name: str) -> Path:
    """Where the card is: in docs/methods of a checkout, or where the installation put it.

    Raises:
        FileNotFoundError: it is in neither place.
    """
    here = Path(trajlab.__file__).parents[1] / "docs" / "methods" / f"{name}.md"
    if here.is_file():
        return here
    try:
        for file in metadata.files("trajlab") or []:
            if file.parts[-3:] == ("trajlab", "methods", f"{name}.md"):
                return Path(str(file.locate()))
    except metadata.PackageNotFoundError:
        pass
    raise FileNotFoundError(f"the card of {name} is neither in {here.parent} nor in the installed files; reinstall trajlab")

"""Options from dataclasses by tyro: the settings of a config are the options of a command."""

from __future__ import annotations

import dataclasses
import io
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro

from trajlab.catalog import unknown

T = TypeVar("T")
HELP = ("-h", "--help")


def parse(what: type[T], arguments: Sequence[str], command: str) -> T:
    """Read the arguments of a command into a dataclass; ``--help`` prints the options and ends with status 0.

    Raises:
        ValueError: an option is unknown (with the nearest), missing, or its value does not fit; in one line.
    """
    known = names(what)
    for argument in arguments:
        option = argument.partition("=")[0].removeprefix("--").replace("_", "-")
        if argument.startswith("--") and argument != "--help" and option not in known:
            raise ValueError(f"trajlab {command}: {unknown('option', '--' + option, ['--' + name for name in known])}")
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            return tyro.cli(what, args=list(arguments), prog=f"trajlab {command}")
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise ValueError(f"{one_line(complaint.getvalue())} (trajlab {command} --help)") from None


def one_line(box: str) -> str:
    """The first paragraph of one of tyro's boxes, without its frame."""
    lines = [line.strip("│ ").strip() for line in box.splitlines() if not re.match(r"[╭╰]", line)]
    first = next((i for i, line in enumerate(lines) if set(line) == {"─"}), len(lines))
    return " ".join(filter(None, lines[:first])) or " ".join(box.split())


def names(what: type) -> list[str]:
    """The long names of all options of a dataclass and of the dataclasses in it."""
    found: list[str] = []
    for name, hint in get_type_hints(what).items():
        if dataclasses.is_dataclass(hint):
            found += names(hint)
        else:
            long = name.replace("_", "-")
            found += [long, f"no-{long}"] if hint is bool else [long]
    return found


def copied(config: type, defaults: Any = None, *, leave_out: Sequence[str] = (), unset: bool = False) -> type:
    """A dataclass with the fields and the documentation of a config, but without its checks: those come when the config is built.

    Args:
        config: a dataclass, torch-free.
        defaults: an instance to take the defaults from, such as a preset.
        leave_out: fields that are no options.
        unset: let every default be None, which stands for "as the recipe says".
    """
    hints = get_type_hints(config)
    made: list[Any] = []
    for field in dataclasses.fields(config):
        if field.name in leave_out:
            continue
        value = field.default if defaults is None else getattr(defaults, field.name)
        made.append((field.name, hints[field.name] | None, None) if unset else (field.name, hints[field.name], value))
    document = re.sub(r"\n\s*Raises:.*", "\n", config.__doc__ or "", flags=re.S)
    return dataclasses.make_dataclass(f"{config.__name__}Options", made, frozen=True, namespace={"__doc__": document, "__module__": __name__})


def command(name: str, document: str, own: Sequence[tuple[str, Any, Any]], **groups: type) -> type:
    """The dataclass of a command: its own options (name, type, default), then groups of options from configs."""
    required = [(n, t) for n, t, d in own if d is dataclasses.MISSING]
    optional = [(n, t, d) for n, t, d in own if d is not dataclasses.MISSING]
    nested = [(n, Annotated[g, tyro.conf.OmitArgPrefixes], dataclasses.field(default_factory=g)) for n, g in groups.items()]
    return dataclasses.make_dataclass(name, [*required, *optional, *nested], frozen=True, namespace={"__doc__": document, "__module__": __name__})


def chosen(options: Any) -> dict[str, Any]:
    """The options that were set, by name."""
    return {k: v for k, v in vars(options).items() if v is not None}


def peek(arguments: Sequence[str], option: str, otherwise: str) -> str:
    """The value of one option before the others can be read, because their defaults depend on it."""
    for here, after in zip(arguments, [*arguments[1:], ""]):
        if here == option:
            return after
        if here.startswith(option + "="):
            return here.partition("=")[2]
    return otherwise


def subject(arguments: Sequence[str], what: str, known: Sequence[str], command: str) -> tuple[str, list[str]]:
    """Split off the first word, which names a method or a kind of source; ``--help`` in its place lists what there is and ends.

    Raises:
        ValueError: the word is missing or unknown (with the nearest).
    """
    if arguments and arguments[0] in HELP:
        print(f"usage: trajlab {command} {what.upper()} ...\n\n{what.upper()} is one of: {', '.join(sorted(known))}\n\n"
              f"trajlab {command} {what.upper()} --help shows its options.")
        sys.exit(0)
    if not arguments or arguments[0].startswith("-"):
        raise ValueError(f"trajlab {command} needs a {what} first: one of {', '.join(sorted(known))}")
    if arguments[0] not in known:
        raise ValueError(unknown(what, arguments[0], known))
    return arguments[0], list(arguments[1:])

"""``trajlab COMMAND ...``: finds the command, and turns errors into one line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any

import trajlab
from trajlab.catalog import load, unknown
from trajlab.cli import TABLE

MISUSE, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status: 0, or 2 with one line on stderr, or 130 where it was interrupted.

    ``--debug`` anywhere shows the traceback instead.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [a for a in given if a != "--debug"]
    warnings.showwarning = _warn
    try:
        return dispatch(given)
    except KeyboardInterrupt:
        print("trajlab: interrupted; what was written is kept, and the same command goes on where it can", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone, as in `trajlab list | head -1`
        return 0
    except Exception as error:
        if debug:
            raise
        print(f"trajlab: {told(error)}", file=sys.stderr)
        return MISUSE


def dispatch(given: list[str]) -> int:
    """Run one command, or print the overview or the version."""
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if given[0] in ("-V", "--version"):
        print(f"trajlab {trajlab.__version__}")
        return 0
    if given[0] not in TABLE:
        raise ValueError(unknown("command", given[0], TABLE))
    load(TABLE[given[0]][0])(given[1:])
    return 0


def overview() -> str:
    rows = "\n".join(f"  {name:<10}{what}" for name, (_, what) in TABLE.items())
    return (f"trajlab {trajlab.__version__}: fit, sample, forecast and judge trajectory models\n\nusage: trajlab COMMAND ...\n\n{rows}\n\n"
            "trajlab COMMAND --help says more; --debug shows the traceback of an error.")


def told(error: Exception) -> str:
    """An error as one line. What is no error of usage is named by its type, so that it can be reported."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ValueError | TypeError | ImportError | OSError | RuntimeError) and not isinstance(error, UnicodeError | NotImplementedError):
        return text
    return f"{type(error).__name__}: {text} (run again with --debug for the traceback)"


def _warn(message: Warning | str, *_: Any) -> None:
    print(f"trajlab: warning: {' '.join(str(message).split())}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

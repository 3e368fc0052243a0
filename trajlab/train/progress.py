"""The progress bar of a run: a bar with rate, loss and remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn


def clock(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    minutes, second = divmod(int(max(seconds, 0.0) + 0.5), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}" if hour else f"{minute}:{second:02d}"


class Bar:
    """Shows how far a run is, on standard error; with ``show`` False it does nothing.

    It draws itself when it is told something, at most four times a second, and has no thread of its own.
    """

    EVERY_TERMINAL, EVERY_PLAIN = 0.25, 30.0

    def __init__(self, show: bool = True) -> None:
        self.show, self._drawn = show, -float("inf")
        self.console = Console(file=sys.stderr)
        self._live = show and self.console.is_terminal
        columns = (TextColumn("training"), BarColumn(bar_width=30), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=self.console, auto_refresh=False) if self._live else None
        self._task = self._bar.add_task("starting", total=1.0) if self._bar else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def due(self) -> bool:
        """Whether it is time to draw again."""
        return self.show and time.monotonic() - self._drawn >= (self.EVERY_TERMINAL if self._live else self.EVERY_PLAIN)

    def update(self, step: int, progress: float, loss: float, rate: float, remaining: float) -> None:
        """Draw: step, fraction of the budget spent, loss, steps a second and seconds left."""
        self._drawn = time.monotonic()
        text = f"step {step:,}  loss {loss:.4g}  {rate:.3g} steps/s  {clock(remaining)} left"
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=min(progress, 1.0), description=text, refresh=True)
        else:
            self.note(f"{100 * min(progress, 1.0):3.0f} %  {text}")

    def note(self, text: str) -> None:
        """A line that stays."""
        if self.show:
            self.console.print(text, highlight=False, soft_wrap=True)

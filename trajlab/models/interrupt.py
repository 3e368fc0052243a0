"""Ctrl-C between two steps instead of within one, and a progress bar for long roll-outs."""

from __future__ import annotations

import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn


class Interrupt:
    """While entered, the first SIGINT only sets ``asked``; the second one interrupts at once. Does nothing outside the main thread."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


class Bar:
    """How far a roll-out is, on standard error: a bar on a terminal, a plain line every half minute elsewhere."""

    def __init__(self, total: int, stride: float, show: bool = True) -> None:
        self.total, self.stride, self.show = total, stride, show
        self.console = Console(stderr=True) if show else None
        self.live = show and sys.stderr.isatty()
        self.began = self.drawn = time.monotonic()
        self.first: int | None = None
        self.bar = Progress(TextColumn("roll-out"), BarColumn(bar_width=30), TextColumn("{task.description}"), console=self.console,
                            auto_refresh=False) if self.live else None
        self.task = self.bar.add_task("starting", total=total) if self.bar else None

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar:
            self.bar.stop()

    def update(self, step: int, systems: int) -> None:
        """Draw, if it is time to."""
        if self.first is None:
            self.first = step - 1
        if not self.show or step % 16:
            return
        now = time.monotonic()
        if now - self.drawn < (0.25 if self.live else 30.0):
            return
        self.drawn = now
        rate = (step - self.first) / max(now - self.began, 1e-9)
        text = (f"{step * self.stride / 1000:.4g} of {self.total * self.stride / 1000:.4g} ps  {systems} systems  {rate:.3g} steps/s  "
                f"{(self.total - step) / rate:.0f} s left")
        if self.bar and self.task is not None:
            self.bar.update(self.task, completed=step, description=text, refresh=True)
        elif self.console:
            self.console.print(f"roll-out: {text}", highlight=False, soft_wrap=True)

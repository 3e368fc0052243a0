"""What a run reports as it goes: JSON lines in ``metrics.jsonl``, and the same lines in memory."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any


class Log:
    """Lines of metrics, kept in memory and appended to a file where there is a folder.

    Args:
        folder: of the run, or None to keep the lines in memory only.
        position: length in bytes of the part of an existing file that belongs to this run; what was written after the checkpoint that
            is resumed from is cut off, so that no step is reported twice.
    """

    def __init__(self, folder: Path | None, position: int = 0) -> None:
        self.path = None if folder is None else folder / "metrics.jsonl"
        self.lines: list[dict[str, Any]] = []
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab+") as file:
            file.seek(0)
            whole = file.read(position).rpartition(b"\n")  # a line torn by a power failure is dropped
            file.truncate(len(whole[0] + whole[1]))
        self.lines = [json.loads(line) for line in whole[0].splitlines()]

    def add(self, line: dict[str, Any]) -> None:
        """Append one line; an OSError that names the file where it cannot be written."""
        self.lines.append(line)
        if self.path is None:
            return
        try:
            with open(self.path, "a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            free = shutil.disk_usage(self.path.parent).free / 1e6
            text = f"{self.path} cannot be written: {error.strerror}; {free:.1f} MB are free; make room and run again with the same folder"
            raise OSError(error.errno, text) from error

    def position(self) -> int:
        """Length of the file in bytes, after it has been flushed to the disk."""
        if self.path is None or not self.path.exists():
            return 0
        with open(self.path, "ab") as file:
            os.fsync(file.fileno())
            return file.tell()

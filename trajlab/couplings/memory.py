"""Amounts of memory in words, and what plans take of it."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["in_words", "needed", "parse"]

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
BASE = 50_000_000  #: blocks and vectors beside the tables


def parse(memory: Any) -> int:
    """Bytes of ``"4GB"``, ``"500 MB"``, ``"1.5GiB"`` or a number of bytes.

    Raises:
        TypeError: neither text nor a whole number.
        ValueError: text that is no amount, or an amount of nothing.
    """
    if isinstance(memory, bool) or not isinstance(memory, str | int):
        raise TypeError(f"memory is a {type(memory).__name__}; text such as '4GB' or a whole number of bytes was wanted")
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(memory))
    if match is None or match[2].upper() not in UNITS or not float(match[1]) > 0:
        raise ValueError(f"memory={memory!r} came; a positive amount was wanted, such as '500MB', '4GB' or '1.5GiB', or a number of bytes")
    return int(float(match[1]) * UNITS[match[2].upper()])


def in_words(amount: float) -> str:
    """Bytes as text."""
    unit, size = next(((u, UNITS[u]) for u in ("GB", "MB", "KB") if amount >= UNITS[u]), ("B", 1))
    return f"{amount / size:.3g} {unit}"


def needed(method: str, n: int, m: int, item: int, batch: int, metas: int, rank: int, entropic: bool) -> int:
    """Bytes that a method takes at its peak, beside the populations themselves.

    Args:
        method: its name.
        n, m: cells.
        item: bytes of an entry.
        batch, metas, rank: settings of the method.
        entropic: whether there is a temperature.
    """
    k = min(metas, max(n, m))
    table = {
        "exact": 64 * n * m,  # costs twice, the arcs of the simplex and the plan
        "sinkhorn": item * n * m,
        "minibatch": item * max(n, m) * min(2 * batch, max(n, m)) if entropic else 64 * (2 * batch) ** 2,
        "low_rank": 8 * 6 * (n + m) * rank,
        "meta_cells": (item if entropic else 64) * k * k + 8 * k * 64,
    }
    return BASE + table[method]

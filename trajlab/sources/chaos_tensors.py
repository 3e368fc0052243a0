"""Right-hand sides that were written with numpy's functions, on tensors: the same code with torch's functions, so that gradients pass through."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

__all__ = ["on_tensors"]


class Functions:
    """numpy's elementary functions; those of torch where an argument is a tensor."""

    pi = np.pi

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def either(*values: Any) -> Any:
            import torch

            return getattr(torch if any(isinstance(v, torch.Tensor) for v in values) else np, name)(*values)

        return either


def on_tensors(function: FunctionType) -> Callable[..., Any]:
    """A copy of a plain function, and of the functions of its module that it may call, whose ``np`` are `Functions`."""
    return _copied(function, {})


def _copied(function: FunctionType, done: dict[int, dict[str, Any]]) -> FunctionType:
    there = function.__globals__
    if id(there) not in done:
        mine = done[id(there)] = dict(there)
        for name, value in there.items():
            if name == "np":
                mine[name] = Functions()
            elif isinstance(value, FunctionType) and (value.__globals__ is there or name == "inner"):
                mine[name] = _copied(value, done)
    return FunctionType(function.__code__, done[id(there)], function.__name__, function.__defaults__, function.__closure__)

"""What comes from the package dysts: tables of the systems, right-hand sides and changes of coordinates. No other file imports it.

Source of the catalogue: Gilpin, "Chaos as an interpretable benchmark for forecasting and data-driven modelling" (2021).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata, resources
from types import SimpleNamespace
from typing import Any

import numpy as np

from trajlab.dynamics import compiled

__all__ = ["parameters", "postprocessed", "rates", "record", "step", "version"]

FILES = {"ode": "chaotic_attractors.json", "delay": "chaotic_attractors.json", "map": "discrete_maps.json"}


@cache
def _tables(file: str) -> dict[str, Any]:
    return json.loads(resources.files("dysts").joinpath("data", file).read_text(encoding="utf-8"))


def version() -> str:
    """Of the installed package."""
    return metadata.version("dysts")


def own(name: str) -> str:
    """The name that the package uses."""
    return "Duffing" if name == "DuffingMap" else name


def record(name: str, kind: str) -> dict[str, Any]:
    """The package's columns about a system, as they are."""
    return dict(_tables(FILES[kind])[own(name)])


def parameters(name: str, kind: str) -> dict[str, np.ndarray]:
    """Parameters in alphabetical order, as float64 arrays."""
    return {k: np.asarray(v, dtype=np.float64) for k, v in sorted(record(name, kind)["parameters"].items())}


def _class(name: str, kind: str) -> Any:
    if kind == "map":
        from dysts import maps as room
    else:
        from dysts import flows as room
    return getattr(room, own(name))


def _plain(function: Any) -> Any:
    while isinstance(function, staticmethod):
        function = function.__func__
    return getattr(function, "py_func", function)


def _static(what: Any, attribute: str) -> tuple[Any, bool]:
    """A method as a plain function, and whether it is static."""
    held = next((vars(c)[attribute] for c in what.__mro__ if attribute in vars(c)), None)
    return _plain(held), isinstance(held, staticmethod)


def rates(name: str, arrays: Mapping[str, np.ndarray], dim: int) -> Callable[..., Any]:
    """The right-hand side of an ODE as f(t, x, p), for flat parameters p in alphabetical order; numba compiles it and Python can call it."""
    from trajlab.sources.chaos_ported import PORTED

    if name in PORTED:
        return _wrapped(PORTED[name], "x", arrays)
    inner, _ = _static(_class(name, "ode"), "_rhs")
    return _wrapped(_jitable(inner), ", ".join(f"x[{i}]" for i in range(dim)) + ", t", arrays)


def _jitable(function: Any) -> Any:
    """Let compiled code call a plain function; itself it stays as it is."""
    if not compiled.available():
        return function
    from numba.extending import register_jitable

    return register_jitable(function)


def _wrapped(inner: Any, state: str, arrays: Mapping[str, np.ndarray]) -> Callable[..., Any]:
    """``inner(state, *parameters)`` as ``f(t, x, p)``: numba cannot spread an array over arguments, so the call is written out."""
    words, at = [], 0
    for value in arrays.values():
        words.append(f"p[{at}:{at + value.size}]" if value.ndim else f"p[{at}]")
        at += value.size
    space: dict[str, Any] = {"inner": inner}
    exec(f"def rates(t, x, p):\n    return inner({', '.join([state, *words])})\n", space)
    return space["rates"]


def postprocessed(name: str, x: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Raw states ``[... dim]`` with phases and angles mapped to bounded coordinates; a system without such is returned as it is."""
    function, static = _static(_class(name, "ode"), "_postprocessing")
    if function is None:
        return x
    given = () if static else (SimpleNamespace(**{k: v if v.ndim else float(v) for k, v in arrays.items()}),)
    columns = function(*given, *np.moveaxis(x, -1, 0))
    return np.stack([np.broadcast_to(c, x.shape[:-1]) for c in columns], -1)


def step(name: str, kind: str) -> Callable[..., Any]:
    """The law of a map, f(*x, *parameters), or of a delay system, f(x, delayed, t, *parameters), as a plain function."""
    return _jitable(_static(_class(name, kind), "_rhs")[0])

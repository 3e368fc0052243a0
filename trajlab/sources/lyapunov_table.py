"""The shipped table of Lyapunov spectra, ``data/lyapunov.json``, made by ``python benchmarks/lyapunov_table.py``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import trajlab
from trajlab.catalog import unknown

__all__ = ["LyapunovRecord", "find", "provenance", "tabulated", "tabulated_names"]

FILE = "lyapunov.json"


@dataclass(frozen=True)
class LyapunovRecord:
    """The Lyapunov spectrum of one system; rates are per unit of its time (maps: per step), in nats.

    Attributes:
        name: of the system.
        kind: ``"ode"``, ``"map"`` or ``"delay"``.
        dim: of the phase space; a delay system has infinitely many exponents and a few are listed.
        period: the system's time scale, in its units.
        exponents: from the largest down.
        error: of each: standard error and step change in quadrature.
        standard_error: of each: the larger of that over windows and that over blocks within windows.
        step_change: of each: value at twice the step minus value.
        windows: the exponents of each window, ``[window][k]``.
        sum, divergence: of all exponents, and the mean divergence (maps: log |det J|) along the same orbits; None where there is none.
        mismatch: their largest difference over the windows, over the larger of |divergence| and the largest |exponent|.
        kaplan_yorke, kaplan_yorke_error: dimension of Kaplan and Yorke.
        entropy, entropy_error: sum of the positive exponents.
        duration: of a window.
        rtol: relative tolerances of the finer and the coarser step.
        exact: whether derivatives are exact to rounding.
        chaotic: whether the orbit from the tabulated start is.
        flags: what speaks against the numbers.
        seed: of the first vectors.
        evaluations, cpu_seconds: what it cost, without compilation.
        failed: why there are no numbers, or nothing.
    """

    name: str
    kind: str
    dim: int
    period: float
    exponents: tuple[float, ...] = ()
    error: tuple[float, ...] = ()
    standard_error: tuple[float, ...] = ()
    step_change: tuple[float, ...] = ()
    windows: tuple[tuple[float, ...], ...] = ()
    sum: float | None = None
    divergence: float | None = None
    mismatch: float | None = None
    kaplan_yorke: float = math.nan
    kaplan_yorke_error: float = math.nan
    entropy: float = math.nan
    entropy_error: float = math.nan
    duration: float = math.nan
    rtol: tuple[float, ...] = ()
    exact: bool = True
    chaotic: bool = False
    flags: tuple[str, ...] = ()
    seed: int = 0
    evaluations: int = 0
    cpu_seconds: float = 0.0
    failed: str = ""

    @classmethod
    def of(cls, result: Any, kind: str, period: float, seed: int, cpu_seconds: float) -> Self:
        """From a `trajlab.dynamics.lyapunov.Lyapunov`."""
        dimension, entropy = result.kaplan_yorke, result.entropy
        return cls(
            result.name, kind, result.dim, float(period), _row(result.exponents), _row(result.error, 3), _row(result.standard_error, 3),
            _row(result.step_change, 3), tuple(_row(window) for window in result.windows), _number(result.sum), _number(result.divergence),
            _number(result.mismatch, 3), _short(dimension[0]), _short(dimension[1], 3), _short(entropy[0]), _short(entropy[1], 3), result.duration,
            result.rtol, result.exact, result.chaotic, result.flags, seed, result.evaluations, round(cpu_seconds, 3))

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """From a record of the file."""
        return cls(**{key: _tuples(value) for key, value in record.items()})

    def to_json(self) -> dict[str, Any]:
        """As a record of the file; what is not a number is left out."""
        return {key: value for key, value in asdict(self).items() if not (isinstance(value, float) and math.isnan(value))}

    @property
    def largest(self) -> float:
        """The largest exponent; NaN where there are no numbers."""
        return self.exponents[0] if self.exponents else math.nan

    @property
    def lyapunov_time(self) -> float:
        """1 / largest exponent, in the system's time; infinite where the orbit is not chaotic."""
        return 1 / self.largest if self.chaotic else math.inf

    @property
    def per_period(self) -> tuple[float, ...]:
        """Exponents per period."""
        return tuple(value * self.period for value in self.exponents)


def _row(values: Any, digits: int = 7) -> tuple[float, ...]:
    return tuple(_short(value, digits) for value in values)


def _short(value: float, digits: int = 7) -> float:
    return float(f"{float(value):.{digits}g}")


def _number(value: float, digits: int = 7) -> float | None:
    return None if math.isnan(value) else _short(value, digits)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def find() -> Path:
    """Where the table is: in ``data`` of a checkout, or where the installation put it.

    Raises:
        FileNotFoundError: it is in neither place.
    """
    here = Path(trajlab.__file__).parents[1] / "data" / FILE
    if here.is_file():
        return here
    try:
        for file in metadata.files("trajlab") or []:
            if file.parts[-3:] == ("trajlab", "data", FILE):
                return Path(str(file.locate()))
    except metadata.PackageNotFoundError:
        pass
    raise FileNotFoundError(f"{FILE} is neither in {here.parent} nor in the installed files; reinstall trajlab, or make it by "
                            "python benchmarks/lyapunov_table.py")


@cache
def _file() -> dict[str, Any]:
    return json.loads(find().read_text(encoding="utf-8"))


@cache
def _records() -> dict[str, LyapunovRecord]:
    return {name: LyapunovRecord.from_json(record) for name, record in _file()["systems"].items()}


def provenance() -> dict[str, Any]:
    """How the table was made: versions, settings, seeds, date."""
    return dict(_file()["provenance"])


def tabulated_names() -> list[str]:
    """The systems of the table."""
    return list(_records())


def tabulated(name: str) -> LyapunovRecord:
    """The record of a system.

    Raises:
        ValueError: the table does not have it; the nearest names are told.
        FileNotFoundError: there is no table.
    """
    if name not in _records():
        raise ValueError(unknown("tabulated system", name, _records()))
    return _records()[name]

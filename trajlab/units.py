"""Units in which trajectories are stored, and the constants that follow from them.

Molecular dynamics is stored in Angstrom, femtoseconds, atomic mass units and electronvolts; traffic in metres, seconds and
radians. Readers convert once, at the door; inside the house nobody converts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Self

AMU_A2_FS2 = 103.642697  #: electronvolts in one amu (Angstrom/fs)^2
BOLTZMANN = 8.617333262e-5  #: Boltzmann constant, eV/K
KCAL_MOL = 0.0433641043  #: electronvolts in one kcal/mol
ASE_TIME = 10.180505710774743  #: femtoseconds in ASE's unit of time, Angstrom sqrt(amu/eV)
ACCELERATION = 1.0 / AMU_A2_FS2  #: Angstrom/fs^2 for one (eV/Angstrom)/amu

_LENGTH = {"angstrom": 1e-10, "nm": 1e-9, "bohr": 5.29177210903e-11, "um": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0, "km": 1e3}
_TIME = {"fs": 1e-15, "ps": 1e-12, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "day": 86400.0,
         "week": 604800.0, "month": 2629800.0, "year": 31557600.0, "ase": ASE_TIME * 1e-15, "au": 2.4188843265857e-17}
_MASS = {"amu": 1.66053906660e-27, "g": 1e-3, "kg": 1.0, "me": 9.1093837015e-31}
_ENERGY = {"eV": 1.602176634e-19, "kcal/mol": 6.9476954570e-21, "kJ/mol": 1.66053906717e-21, "hartree": 4.3597447222071e-18, "J": 1.0}
_TABLES = {"length": _LENGTH, "time": _TIME, "mass": _MASS, "energy": _ENERGY}
UNITLESS = "1"


@dataclass(frozen=True)
class Units:
    """Names of the units of length, time, mass and energy; ``"1"`` where a quantity has none (an ODE in its own variables)."""

    length: str = UNITLESS
    time: str = UNITLESS
    mass: str = UNITLESS
    energy: str = UNITLESS

    def __post_init__(self) -> None:
        for quantity, name in asdict(self).items():
            if name != UNITLESS and name not in _TABLES[quantity]:
                raise ValueError(f"unknown unit of {quantity}: {name!r}; known are {', '.join(_TABLES[quantity])}, or {UNITLESS!r} for none")

    @classmethod
    def md(cls) -> Self:
        """Angstrom, femtosecond, amu, eV: everything that comes out of a molecular dynamics reader."""
        return cls(length="angstrom", time="fs", mass="amu", energy="eV")

    @classmethod
    def si(cls) -> Self:
        """Metre and second: traffic and pedestrians."""
        return cls(length="m", time="s")

    def __str__(self) -> str:
        return f"{self.length}, {self.time}, {self.mass}, {self.energy}"


def factor(quantity: str, source: str, target: str) -> float:
    """The number that turns a value in ``source`` into one in ``target``, e.g. ``factor("time", "ps", "fs") == 1000``.

    Raises:
        ValueError: a unit is unknown, or one of the two is unitless and the other is not.
    """
    if source == target:
        return 1.0
    table = _TABLES[quantity]
    for name in (source, target):
        if name not in table:
            raise ValueError(f"cannot convert {quantity} from {source!r} to {target!r}: {name!r} is not one of {', '.join(table)}")
    return table[source] / table[target]

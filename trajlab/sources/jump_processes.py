"""Reference Markov jump processes, whose rates are known: the flashing ratchet, ion channel, alanine dipeptide, rings, births and deaths, and more.

Each comes with a card that says whence its numbers are. `jump_process` finds one by name; `JumpProcess.simulate` draws paths from it.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from trajlab.catalog import load, unknown
from trajlab.dynamics.jumps.from_mfpt import generator_from_mfpt
from trajlab.dynamics.jumps.generator import checked, from_rates, stationary
from trajlab.dynamics.jumps.simulate import simulate
from trajlab.sources import JUMP_PROCESSES
from trajlab.sources.jump_process_cards import CARDS, ProcessCard
from trajlab.types import JumpPaths, Units

__all__ = ["JumpProcess", "alanine_dipeptide", "birth_death", "flashing_ratchet", "illness_death", "ion_channel", "jump_process", "protein_folding",
           "random", "ring", "two_mode_switching"]


@dataclass(frozen=True, eq=False)
class JumpProcess:
    """A Markov jump process that is known.

    Attributes:
        q: generator, ``[state state]``, in 1/``units.time``.
        name: in the table of `trajlab list`.
        times: customary looks, ``(horizon, number)``.
        names: of the states.
        initial: where paths start: ``"stationary"``, a state, or probabilities.
        parameters: what it was made with.
    """

    q: Float[np.ndarray, "state state"]
    name: str
    times: tuple[float, int]
    names: tuple[str, ...] = ()
    initial: Any = "stationary"
    parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        q = checked(self.q, f"generator of {self.name}")
        q.setflags(write=False)
        object.__setattr__(self, "q", q)

    @property
    def n_states(self) -> int:
        return len(self.q)

    @property
    def card(self) -> ProcessCard:
        """Where it is from, and what to beware of."""
        return CARDS[self.name]

    @property
    def units(self) -> Units:
        return Units(time=self.card.time)

    @property
    def stationary(self) -> Float[np.ndarray, "state"]:
        """The stationary distribution."""
        return stationary(self.q)

    def simulate(self, n_paths: int = 300, times: Any = None, **given: Any) -> JumpPaths:
        """Paths of it, with its names and units; arguments as in `trajlab.dynamics.jumps.simulate.simulate`, its own times and start by default."""
        return simulate(self, n_paths, self.times if times is None else times, **{"initial": self.initial} | given)

    def __repr__(self) -> str:
        given = ", ".join(f"{k}={v!r}" for k, v in self.parameters.items())
        return f"JumpProcess({self.name}({given}), {self.n_states} states, time in {self.units.time})"


def jump_process(name: str, **parameters: Any) -> JumpProcess:
    """The reference process of this name with its customary parameters, or others.

    Raises:
        ValueError: there is none of this name, it has no such parameter, or not of that value.
    """
    if name not in JUMP_PROCESSES:
        raise ValueError(unknown("jump process", name, JUMP_PROCESSES))
    make = load(JUMP_PROCESSES[name])
    known = inspect.signature(make).parameters
    for key in parameters:
        if key not in known:
            raise ValueError(unknown(f"parameter of {name}", key, known) if known else f"{name} has no parameters, but {key} was given")
    return make(**parameters)


def _positive(name: str, **values: float) -> None:
    for key, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}: {key} = {value}; a positive number was wanted")


def _numbers(name: str, n: int, least: int) -> None:
    if n != int(n) or n < least:
        raise ValueError(f"{name}: n = {n}; at least {least} states were wanted")


def flashing_ratchet(V: float = 1.0, r: float = 1.0, b: float = 1.0, T: float = 1.0) -> JumpProcess:
    """Discrete flashing ratchet, three sites with the potential on and off.

    States 0, 1, 2 are the sites with the potential on, 3, 4, 5 those with it off.
    On: ``q_ij = exp(-(V_j - V_i) / (2 T))`` with ``V_i = (0, V, 2 V)``; off: ``q_ij = b``; switched on and off at rate ``r``. The slowest relaxation
    is the switching, ``1 / (2 r)``, unless ``b`` is small; with ``V = 0`` and any ``r`` and ``b`` it obeys detailed balance.
    """
    _positive("flashing_ratchet", r=r, b=b, T=T)
    if not abs(V) < 300 * T:
        raise ValueError(f"flashing_ratchet: V = {V} is not finite, or too large for T = {T}")
    level = V * np.arange(3.0)
    q = np.zeros((6, 6))
    q[:3, :3] = np.exp(-(level[None] - level[:, None]) / (2 * T))
    q[3:, 3:] = b
    q[:3, 3:] = q[3:, :3] = r * np.eye(3)
    names = tuple(f"{mode} {site}" for mode in ("on", "off") for site in range(3))
    return JumpProcess(from_rates(q), "flashing_ratchet", (2.5, 50), names, parameters={"V": V, "r": r, "b": b, "T": T})


def ion_channel() -> JumpProcess:
    """Three conductance levels of an ion channel.

    Rates in 1/s; relaxation times of 34 and 12 ms.
    """
    mfpt = np.array([[0, 0.068, 0.054], [0.133, 0, 0.033], [0.181, 0.092, 0]])
    return JumpProcess(generator_from_mfpt(mfpt), "ion_channel", (1.0, 500), ("level 0", "level 1", "level 2"))


def alanine_dipeptide(reversible: bool = False) -> JumpProcess:
    """Six conformations of alanine dipeptide.

    Rates in 1/ns over four decades; relaxation times from 9 ps to 0.7 ns.

    Args:
        reversible: symmetrise the fluxes, ``(pi_i q_ij + pi_j q_ji) / (2 pi_i)``, as detailed balance demands.
    """
    q = from_rates(np.array([
        [0, 53, 0.19, 7.9, 0.06, 0.02], [47, 0, 0.05, 12, 0.04, 0.01], [0.28, 0.13, 0, 17, 0.02, 0.04],
        [36, 26.9, 41, 0, 0.3, 0.01], [0.17, 0.2, 0.4, 0.2, 0, 3], [1.2, 1.8, 0.5, 0.7, 19, 0],
    ]))
    if reversible:
        pi = stationary(q)
        flux = pi[:, None] * q
        q = from_rates((flux + flux.T) / (2 * pi[:, None]))
    return JumpProcess(q, "alanine_dipeptide", (1.0, 201), ("I", "II", "III", "IV", "V", "VI"), parameters={"reversible": reversible})


def two_mode_switching(up: float = 0.2, down: float = 0.2) -> JumpProcess:
    """Two modes with switches between them.

    From 0 to 1 at rate ``up``, back at rate ``down``.
    """
    _positive("two_mode_switching", up=up, down=down)
    return JumpProcess(from_rates(np.array([[0, up], [down, 0]])), "two_mode_switching", (20.0, 60), ("low", "high"),
                       parameters={"up": up, "down": down})


def protein_folding() -> JumpProcess:
    """Folded and unfolded state of a toy protein.

    Relaxation time 8.8.
    """
    return JumpProcess(from_rates(np.array([[0, 0.028], [0.085, 0]])), "protein_folding", (100.0, 200))


def ring(n: int = 6, forward: float = 1.0, backward: float = 0.25) -> JumpProcess:
    """States on a ring, with a bias around it.

    Affinity of the cycle ``n log(forward / backward)``; eigenvalues on an ellipse, complex unless the rates are equal.

    ``backward = 0`` is a one-way ring.
    """
    _numbers("ring", n, 3)
    _positive("ring", forward=forward)
    if not 0 <= backward < np.inf:
        raise ValueError(f"ring: backward = {backward}; a number that is not negative was wanted")
    step = np.roll(np.eye(int(n)), 1, axis=1)
    mean = 1.0 / (forward + backward)
    return JumpProcess(from_rates(forward * step + backward * step.T), "ring", (20 * mean, 50),
                       parameters={"n": int(n), "forward": forward, "backward": backward})


def birth_death(n: int = 8, birth: float = 1.0, death: float = 1.0, each: bool = False) -> JumpProcess:
    """Births and deaths up to a largest number.

    States are the numbers 0 to ``n - 1`` of individuals: one more at rate ``birth``, one less at rate ``death`` (where ``each``: for each of
    them).
    """
    _numbers("birth_death", n, 2)
    _positive("birth_death", birth=birth, death=death)
    count = np.arange(int(n))
    q = birth * np.eye(int(n), k=1) + death * (count[:, None] if each else 1.0) * np.eye(int(n), k=-1)
    return JumpProcess(from_rates(q), "birth_death", (20 / (birth + death), 50), tuple(map(str, count)),
                       parameters={"n": int(n), "birth": birth, "death": death, "each": each})


def illness_death(recovery: float = 0.2) -> JumpProcess:
    """Mild, moderate and severe illness, and death.

    Rates in 1/year: onset at 0.15 and 0.3, ``recovery`` by one grade, death at 0.03, 0.06 and 0.35.
    """
    if not 0 <= recovery < np.inf:
        raise ValueError(f"illness_death: recovery = {recovery}; a number that is not negative was wanted")
    q = np.array([[0, 0.15, 0, 0.03], [recovery, 0, 0.3, 0.06], [0, recovery, 0, 0.35], [0, 0, 0, 0]])
    return JumpProcess(from_rates(q), "illness_death", (15.0, 16), ("mild", "moderate", "severe", "dead"), initial=0,
                       parameters={"recovery": recovery})


def random(seed: int = 0, n: int | None = None, family: str | None = None, prior: str = "published") -> JumpProcess:
    """A random draw from a prior over processes.

    Args:
        seed: of the draw.
        n: number of states, drawn unless given.
        family: of its links, see `trajlab.sources.jump_prior_config.PriorConfig`; drawn unless given.
        prior: ``published`` or ``wide``.
    """
    from trajlab.sources.jump_prior import JumpPrior, PriorConfig

    priors = {"published": PriorConfig.published, "wide": PriorConfig.wide}
    if prior not in priors:
        raise ValueError(unknown("prior", prior, priors))
    drawn = JumpPrior(priors[prior]())
    q, family = drawn.generator(np.random.default_rng(seed), n, family)
    ends = not np.diag(q).all()
    return JumpProcess(q, "random", (drawn.config.horizon, drawn.config.looks[1]), initial=np.full(len(q), 1 / len(q)) if ends else "stationary",
                       parameters={"seed": seed, "n": len(q), "family": family, "prior": prior})

"""From which distribution hidden jump processes and their observations are drawn; without torch, so that a table of settings can be read quickly."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

from trajlab.catalog import unknown

__all__ = ["FAMILIES", "PriorConfig"]

#: which links a process has
FAMILIES = ("random", "one_way", "absorbing", "ring", "birth_death", "reversible")


@dataclass(frozen=True)
class PriorConfig:
    """The prior over processes and over the way in which they are looked at. Defaults: that of published zero-shot inference, as far as it is known.

    Attributes:
        states: numbers of states that occur; state_weights: their relative frequencies.
        complete: share of random processes in which every link is there; otherwise each is there with a probability uniform in ``links``, redrawn
            until every state can be reached from every other.
        links: see above.
        beta_shapes: shape pairs of the Beta distributions of rates, one pair a process, all equally frequent.
        decades: all rates of a process are multiplied by 10^u, u uniform in here.
        spread: width in decades within which rates of one process are moved further, each by itself, three times as far down as up; the width
            of each process is uniform from 0.
        spread_share: of the processes for which that is done.
        random, one_way, absorbing, ring, birth_death, reversible: relative frequencies of the families: random links; chains without a way back;
            random links with one to three absorbing states; rings, biased or one-way; birth and death; detailed balance on random links.
        horizon: length of the observed time.
        looks, paths: smallest and largest number of looks a path (uniform) and of paths (uniform in the logarithm).
        irregular: share of data sets whose times are sorted uniform numbers; the others look at regular times.
        own_grid: share of the irregular ones in which every path has its own times.
        stationary: share of data sets that start from the stationary distribution; the others from a draw of Dirichlet(1, ..., 1). The initial
            distribution holds at the first look. Processes with absorbing states never start stationary.
        clean, usual, noisy: relative frequencies of no wrong labels, of a replacement with probability ``usual_noise``, uniform up to ``most_noise``.
        usual_noise, most_noise: see above; a replaced label is uniform over all states.
    """

    states: tuple[int, ...] = (2, 3, 4, 5, 6)
    state_weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 5.0)
    complete: float = 0.5
    links: tuple[float, float] = (0.3, 1.0)
    beta_shapes: tuple[tuple[float, float], ...] = ((1.0, 2.0), (1.0, 10.0), (2.0, 5.0), (2.0, 2.0))
    decades: tuple[float, float] = (-1.0, 1.0)
    spread: float = 4.0
    spread_share: float = 0.0
    random: float = 1.0
    one_way: float = 0.0
    absorbing: float = 0.0
    ring: float = 0.0
    birth_death: float = 0.0
    reversible: float = 0.0
    horizon: float = 10.0
    looks: tuple[int, int] = (20, 100)
    paths: tuple[int, int] = (1, 300)
    irregular: float = 0.5
    own_grid: float = 0.0
    stationary: float = 0.5
    clean: float = 0.30
    usual: float = 0.35
    noisy: float = 0.35
    usual_noise: float = 0.01
    most_noise: float = 0.1

    def __post_init__(self) -> None:
        self._lengths()
        for name in ("complete", "spread_share", "irregular", "own_grid", "stationary", "usual_noise", "most_noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"PriorConfig: {name} = {getattr(self, name)}; a number from 0 to 1 was wanted")
        for group in (FAMILIES, ("clean", "usual", "noisy")):
            weights = [getattr(self, name) for name in group]
            if min(weights) < 0 or not 0 < sum(weights) < float("inf"):
                raise ValueError(f"PriorConfig: {dict(zip(group, weights, strict=True))}; frequencies, not negative, were wanted")
        for name, least in (("looks", 2), ("paths", 1), ("decades", -30), ("links", 0)):
            low, high = getattr(self, name)
            if not least <= low <= high:
                raise ValueError(f"PriorConfig: {name} = {(low, high)}; a rising pair from {least} on was wanted")
        if not (self.horizon > 0 and self.spread >= 0 and 0 < self.links[1] <= 1):
            given = f"horizon {self.horizon}, spread {self.spread}, links {self.links}"
            raise ValueError(f"PriorConfig: {given}; positive ones (links at most 1) were wanted")

    def _lengths(self) -> None:
        if not self.states or min(self.states) < 2:
            raise ValueError(f"PriorConfig: states = {self.states}; numbers of at least 2 were wanted")
        if len(self.state_weights) != len(self.states) or min(self.state_weights) < 0 or sum(self.state_weights) <= 0:
            raise ValueError(f"PriorConfig: {len(self.state_weights)} state_weights for {len(self.states)} numbers of states; one each was wanted")
        if not self.beta_shapes or any(len(pair) != 2 or min(pair) <= 0 for pair in self.beta_shapes):
            raise ValueError(f"PriorConfig: beta_shapes = {self.beta_shapes}; pairs of positive numbers were wanted")

    @classmethod
    def published(cls) -> Self:
        """The prior of published zero-shot inference."""
        return cls()

    @classmethod
    def wide(cls) -> Self:
        """Up to 20 states, rates over four decades, one-way chains, absorbing states, rings, birth and death, detailed balance, own grids."""
        states = tuple(range(2, 21))
        weights = tuple({2: 1.0, 3: 1.5, 4: 1.5, 5: 1.5, 6: 5.0}.get(n, 0.25) for n in states)
        return cls(states=states, state_weights=weights, random=0.6, one_way=0.05, absorbing=0.1, ring=0.05, birth_death=0.1, reversible=0.1,
                   spread_share=0.3, own_grid=0.3)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """From a table of settings, such as a TOML or JSON file gives; lists become tuples.

        Raises:
            ValueError: an unknown setting, or one of the wrong size.
        """
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(unknown("setting of the prior", name, known))
        return cls(**{name: _tuples(value) for name, value in values.items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value

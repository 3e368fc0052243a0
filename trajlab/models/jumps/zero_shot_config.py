"""Settings of the zero-shot network of jump processes; without torch."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

from trajlab.catalog import unknown
from trajlab.sources.jump_prior_config import PriorConfig

__all__ = ["PRIORS", "ZeroShotConfig", "prior_of"]


@dataclass(frozen=True)
class ZeroShotConfig:
    """Size of the network and weights of the parts of its loss.

    Attributes:
        width: hidden features of each ordered pair of states.
        layers: equivariant layers.
        groups: data sets of a training step come in groups of equally many states; how many groups.
        pairs: ordered pairs of states in a group (at most ``most`` data sets, at least 4): more states, fewer data sets.
        most: data sets in a group.
        stretched: share of groups whose paths are ``s`` times as long, with as many times more looks, and as many times fewer: one long trajectory,
            or many short ones.
        stretch: smallest and largest s; its logarithm is uniform.
        links: weight of the cross-entropy of links; the logarithms of rates have weight one.
        point: weight of the relative entropy of the point estimate.
        noise: weight of the level of label noise.
        initial: weight of the initial distribution.

    Raises:
        ValueError: a size below one, or a negative weight.
    """

    width: int = 80
    layers: int = 4
    groups: int = 2
    pairs: int = 1152
    most: int = 64
    stretched: float = 0.3
    stretch: tuple[float, float] = (0.1, 30.0)
    links: float = 1.0
    point: float = 1.0
    noise: float = 0.2
    initial: float = 0.2

    def __post_init__(self) -> None:
        for name in ("width", "layers", "groups", "pairs", "most"):
            if getattr(self, name) < 1:
                raise ValueError(f"ZeroShotConfig.{name} is {getattr(self, name)}; at least 1 was wanted")
        if not (0 <= self.stretched <= 1 and 0 < self.stretch[0] <= self.stretch[1]):
            given = f"stretched {self.stretched} and stretch {self.stretch}"
            raise ValueError(f"ZeroShotConfig got {given}; a share, and a rising positive pair were wanted")
        for name in ("links", "point", "noise", "initial"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"ZeroShotConfig.{name} is {getattr(self, name)}; a weight, not negative, was wanted")


def shipped() -> PriorConfig:
    """What the shipped weights were trained on: two thirds as published, the rest wider."""
    states = tuple(range(2, 21))
    weights = tuple({6: 5.0}.get(n, 1.0 if n < 6 else 0.1) for n in states)
    return PriorConfig(states=states, state_weights=weights, random=0.76, one_way=0.04, absorbing=0.06, ring=0.03, birth_death=0.05, reversible=0.06,
                       spread_share=0.15, own_grid=0.3)


PRIORS = {"published": PriorConfig.published, "wide": PriorConfig.wide, "shipped": shipped}


def prior_of(name: str) -> PriorConfig:
    """The prior of this name, or the one that a TOML or JSON file of settings of `PriorConfig` describes.

    Raises:
        ValueError: there is no such prior, or the file holds unknown settings.
        FileNotFoundError: there is no such file.
    """
    if name in PRIORS:
        return PRIORS[name]()
    path = Path(name)
    if path.suffix not in (".toml", ".json"):
        raise ValueError(f"{unknown('prior', name, PRIORS)}; a file of settings ends in .toml or .json")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; a TOML or JSON file with settings of PriorConfig was wanted")
    text = path.read_text()
    try:
        values = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return PriorConfig.from_dict(values)

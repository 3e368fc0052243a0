"""Several models as one: they move by the mean, and the spread between them says how sure they are."""

from __future__ import annotations

import hashlib
from collections.abc import MutableMapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.conservation import conserve
from trajlab.dynamics.particles import Particles, Propagator
from trajlab.models.limits import Limits
from trajlab.models.restart import fingerprint
from trajlab.models.starts import limits_of


class Ensemble:
    """A `Propagator` whose members each propose a move; the mean is made to conserve what the system conserves.

    The root mean square deviation of the members from their mean, over members and components, is kept for every node and recorded
    by `rollout` as ``Forecast.extra["displacement_spread"]`` (Angstrom) and ``["velocity_spread"]`` (Angstrom/fs), ``[draw node time]``.

    Raises:
        ValueError: fewer than two members, or members of different strides.
    """

    records = ("displacement_spread", "velocity_spread")

    def __init__(self, members: Sequence[Propagator]) -> None:
        self.members = tuple(members)
        if len(self.members) < 2:
            raise ValueError(f"an ensemble needs at least 2 members; {len(self.members)} came")
        strides = sorted({float(m.stride) for m in self.members})
        if strides[-1] - strides[0] > 1e-9 * strides[-1]:
            raise ValueError(f"the members of an ensemble have strides of {', '.join(f'{s:g}' for s in strides)} fs; one stride was wanted")
        self.stride = strides[0]

    @property
    def limits(self) -> Limits | None:
        """Those of the first member that has any."""
        return next((found for found in map(limits_of, self.members) if found is not None), None)

    @property
    def fingerprint(self) -> str:
        """Over the fingerprints of the members."""
        return hashlib.sha256(" ".join(map(fingerprint, self.members)).encode()).hexdigest()[:12]

    def propagate(self, p: Particles, cache: MutableMapping[str, Any] | None = None) -> tuple[Float[Tensor, "node 3"], Float[Tensor, "node 3"]]:
        """The mean displacement and velocity; the spread goes into the cache."""
        cache = {} if cache is None else cache
        moves = [member.propagate(p, cache.setdefault(f"member{k}", {})) for k, member in enumerate(self.members)]
        means = []
        for name, values in zip(self.records, zip(*moves)):
            stack = torch.stack(values)
            means.append(stack.mean(0))
            cache[name] = (stack - means[-1]).square().mean((0, 2)).sqrt()
        # momenta of members agree, but the angular momentum is bilinear in both answers: its mean is not that of the mean move
        return conserve(p, means[0], means[1], p.x.new_full((p.n_scenes,), self.stride))

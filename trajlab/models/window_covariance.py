"""Gaussian windows that turn, reflect and permute: covariances over time, and over nodes where these have names, shared by axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.samplers.noise import RowNoise

__all__ = ["WindowCovariance"]


@dataclass(frozen=True)
class WindowCovariance:
    """A zero-mean Gaussian over values ``[scene node frame dim]``, the same for every axis and without correlation between axes.

    Where nodes are exchangeable, cov(z_i, z_j) = own [i = j] + shared, the general form that no permutation changes. Its difference modes have
    the covariance ``own``, its mean over n nodes own / n + shared, of which the positive part is taken. Where nodes have places (``joint``),
    ``own`` is the covariance of all nodes' frames together. Rotation allows no mean but zero.

    Attributes:
        own: ``[frame frame]``, or ``[node*frame node*frame]`` with ``joint``.
        shared: ``[frame frame]``, or 0 with ``joint``.
        joint: whether nodes have places.
    """

    own: Float[Tensor, "a a"]
    shared: Float[Tensor, "b b"]
    joint: bool

    @classmethod
    def fit(cls, z: Float[Tensor, "scene node frame dim"], whole: Bool[Tensor, "scene node"], joint: bool) -> Self:
        """Moments of the nodes that are ``whole``, in float64; with ``joint`` of the scenes in which all are.

        Raises:
            ValueError: there is no such node or scene.
        """
        z = torch.where(whole[..., None, None], z, 0.0).double()
        rows = whole.all(1) if joint else whole.any(1)
        if not bool(rows.any()):
            raise ValueError("no scene to take covariances from; nodes that are observed throughout their window were wanted"
                             + (", all of a scene" if joint else ""))
        z, whole = z[rows], whole[rows].double()
        if joint:
            flat = z.permute(0, 3, 1, 2).flatten(2).flatten(0, 1)
            return cls(flat.T @ flat / len(flat), flat.new_zeros(1, 1), joint)
        count = whole.sum(1)
        mean = z.sum(1) / count[:, None, None]
        spread = (z - mean[:, None]) * whole[..., None, None]
        dim, degrees = z.shape[-1], float((count - 1).sum())
        of_mean = torch.einsum("sfd,sgd->fg", mean, mean) / (dim * len(z))
        if degrees == 0:  # one node a scene: nothing is known of two
            return cls(of_mean, torch.zeros_like(of_mean), joint)
        own = torch.einsum("snfd,sngd->fg", spread, spread) / (dim * degrees)
        return cls(own, of_mean - own * float((1 / count).mean()), joint)

    def draw(
        self, there: Bool[Tensor, "scene node"], frames: int, dim: int, draws: int, noise: RowNoise
    ) -> Float[Tensor, "draw scene node frame dim"]:
        """Draws for scenes with these nodes, in float64; 0 where there is none. A scene's numbers depend neither on batch mates nor on padding."""
        scenes, nodes = there.shape
        out = torch.zeros(draws, scenes, nodes, frames, dim, dtype=torch.float64, device=there.device)
        if self.joint:
            n = self.own.shape[0] // frames
            root, like = _root(self.own).to(there.device), out.new_zeros(scenes, dim, n * frames)
            for k in range(draws):
                out[k, :, :n] = (noise.normal(like) @ root.T).unflatten(2, (n, frames)).permute(0, 2, 3, 1)
            return out * there[..., None, None]
        root, like = _root(self.own).to(there.device), out.new_zeros(scenes, frames, dim)
        common = torch.stack([noise.normal(like) for _ in range(draws)])
        for slot in range(nodes):
            out[:, :, slot] = root @ torch.stack([noise.normal(like) for _ in range(draws)])
        count = there.sum(1)
        out = out * there[..., None, None]
        out = out - out.sum(2, keepdim=True) / count.clamp(min=1)[:, None, None, None]
        for n in count.unique().tolist():
            if n:
                of_mean = _root(self.own / n + self.shared).to(there.device)
                out[:, count == n] += (of_mean @ common[:, count == n])[:, :, None]
        return out * there[..., None, None]

    def state(self) -> dict[str, Tensor]:
        return {"own": self.own, "shared": self.shared, "joint": torch.tensor(self.joint)}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Self:
        return cls(state["own"].double(), state["shared"].double(), bool(state["joint"]))


def _root(covariance: Float[Tensor, "a a"]) -> Float[Tensor, "a a"]:
    """The symmetric root of the positive part."""
    value, vector = torch.linalg.eigh(covariance)
    return (vector * value.clamp(min=0).sqrt()) @ vector.T

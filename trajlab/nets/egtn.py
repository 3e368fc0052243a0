"""EGTN, the equivariant geometric trajectory network (Han et al. 2024, "Geometric Trajectory Diffusion Models"), in a fast form."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import linear

from trajlab.nets.egtn_spatial import SceneGraph, SpatialLayer, rows_of, scene_graph
from trajlab.nets.egtn_temporal import TIMES, TemporalLayer, clockwork
from trajlab.nets.windows import check, sinusoid

__all__ = ["EGTN", "EgtnSettings", "EgtnStack"]


@dataclass(frozen=True)
class EgtnSettings:
    """Sizes and variants; those of the published network for N-body systems and molecules by default.

    Attributes:
        width, layers: of the network; a layer is a spatial and a temporal one.
        prenorm: the variant for pedestrians, with |x_ij| as a feature and no division.
        given_flag: tell given frames from noisy ones by a flag and by no noise level (published: by their times alone).
        velocities: take velocities too, as invariants: |v_i|, |v_ij|^2 and x_ij . v_ij.
        clock_scale: the clock is multiplied by it before its sinusoid, whose fastest sine is sin(clock). Published: 1, for steps of 0 to 1000.

    Raises:
        ValueError: a width or a number of layers below 1.
    """

    width: int = 128
    layers: int = 6
    prenorm: bool = False
    given_flag: bool = False
    velocities: bool = False
    clock_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.width < 1 or self.layers < 1:
            raise ValueError(f"EgtnSettings(width={self.width}, layers={self.layers}): both must be at least 1")


class EgtnStack(nn.Module):
    """Pairs of spatial and temporal layers on rows: ``(h, x, graph, clockwork) -> (h, x)``."""

    def __init__(self, settings: EgtnSettings, pair: int) -> None:
        super().__init__()
        edge = pair + (2 if settings.velocities else 0)
        self.spatial = nn.ModuleList([SpatialLayer(settings.width, edge, settings.prenorm) for _ in range(settings.layers)])
        self.temporal = nn.ModuleList([TemporalLayer(settings.width) for _ in range(settings.layers)])

    def forward(self, h: Tensor, x: Tensor, graph: SceneGraph, time: Tensor) -> tuple[Tensor, Tensor]:
        clock = clockwork(time, graph.seen)
        for spatial, temporal in zip(self.spatial, self.temporal, strict=True):
            h, x = spatial(h, x, graph)
            h, x = temporal(h, x, clock)
        return h, x


def centred(x: Float[Tensor, "batch node frame dim"], mask: Bool[Tensor, "batch node frame"] | None) -> Float[Tensor, "batch node frame dim"]:
    """Positions about the mean of all that is seen of the scene, 0 where hidden: large coordinates would cancel badly in float32."""
    if mask is None:
        return x - x.mean((1, 2), keepdim=True)
    x = torch.where(mask[..., None], x, 0.0)
    mean = x.sum((1, 2), keepdim=True) / mask.sum((1, 2)).clamp(min=1)[:, None, None, None]
    return torch.where(mask[..., None], x - mean, 0.0)


def times(time: Tensor | None, like: Tensor, graph: SceneGraph) -> Tensor:
    """Frame numbers ``[frame]``, or real times since the first frame ``[row frame]``."""
    if time is None:
        return torch.arange(like.shape[2], device=like.device, dtype=like.dtype)
    if time.shape != (like.shape[0], like.shape[2]):
        raise ValueError(f"EGTN: time has shape {tuple(time.shape)}; {(like.shape[0], like.shape[2])} was wanted, for given and future frames")
    return (time - time[:, :1]).to(like.dtype)[graph.row // like.shape[1]]


def spread(value: Float[Tensor, "row frame c"], graph: SceneGraph, batch: int, nodes: int) -> Float[Tensor, "batch node frame c"]:
    """Rows back to their places, 0 where there is no node or it is hidden."""
    if graph.seen is None:
        return value.view(batch, nodes, *value.shape[1:])
    full = value.new_zeros(batch * nodes, *value.shape[1:])
    return full.index_copy(0, graph.row, value * graph.seen).view(batch, nodes, *value.shape[1:])


class EGTN(nn.Module):
    """The published backbone: n pairs of `SpatialLayer` and `TemporalLayer`; the output is how far the positions moved.

    Turns, reflects and permutes with its input in any number of dimensions, blind to a common shift; any numbers of frames and nodes.

    Args:
        node, pair: numbers of node and pair features; may be 0.
        settings: sizes and variants.
    """

    def __init__(self, node: int, pair: int, settings: EgtnSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or EgtnSettings()
        self.sizes = (None, None, node, pair)
        self.embed = nn.Linear(node + TIMES + settings.given_flag + settings.velocities, settings.width)
        self.stack = EgtnStack(settings, pair)

    def _scalars(self, node: Tensor, clock: Tensor, given: int, speed: Tensor | None, frames: int) -> Tensor:
        """``[row frame width]`` from node features and the level, and the flag and speed where the net has them."""
        width, told = self.settings.width, sinusoid(clock * self.settings.clock_scale, TIMES)
        parts = self.embed.weight.split([node.shape[-1], TIMES, self.embed.in_features - node.shape[-1] - TIMES], 1)
        h = linear(node, parts[0], self.embed.bias)[:, None]
        level = linear(told, parts[1])[:, None]
        if self.settings.given_flag:
            flag = (torch.arange(frames, device=node.device) < given).to(node.dtype)[:, None]
            h = h + level * (1 - flag) + flag * parts[2][:, 0]
        else:
            h = h + level
        if speed is not None:
            h = h + speed * parts[2][:, -1]
        return h.expand(-1, frames, width)

    def _moving(self, velocity: Tensor | None, x: Tensor, graph: SceneGraph) -> tuple[Tensor | None, SceneGraph]:
        """Speeds of the rows, and the graph with the invariants of relative velocities."""
        if (velocity is None) == self.settings.velocities:
            came, built = ("no velocities", "with") if velocity is None else ("velocities", "without")
            raise ValueError(f"EGTN: {came} came to a net built {built} them; see EgtnSettings.velocities")
        if velocity is None:
            return None, graph
        v = velocity.flatten(0, 1)[graph.row]
        v = v if graph.seen is None else torch.where(graph.seen > 0, v, 0.0)
        apart, relative = (rows_of(y, graph.receiver) - rows_of(y, graph.sender) for y in (x, v))
        invariants = torch.stack([(relative * relative).sum(-1), (apart * relative).sum(-1)], -1)
        return ((v * v).sum(-1, keepdim=True) + 1e-8).sqrt(), replace(graph, invariants=invariants)

    def forward(
        self, given: Float[Tensor, "batch node past dim"], future: Float[Tensor, "batch node time dim"], clock: Float[Tensor, "_"],
        node: Float[Tensor, "_ _ a"], pair: Float[Tensor, "_ _ _ b"], mask: Bool[Tensor, "_ _ _"] | None = None,
        adjacent: Bool[Tensor, "_ _ _"] | None = None, *, time: Float[Tensor, "_ _"] | None = None,
        velocity: Float[Tensor, "_ _ _ _"] | None = None,
    ) -> Float[Tensor, "batch node time dim"]:
        """A displacement at the future frames.

        Args:
            given, future: positions in one frame of reference.
            clock: ``[batch]``, the noise level, any real number; see ``clock_scale``.
            node, pair: features ``[batch node a]`` and ``[batch node node b]``; pair[i, j] of receiver i and sender j.
            mask: ``[batch node frame]``, True where something is, over given and future frames; what is hidden changes nothing, and its output is 0.
            adjacent: ``[batch node node]``, True at [i, j] where j talks to i; None: everyone there.
            time: ``[batch frame]``, real times of all frames, in units of which neighbouring frames are about 1 apart; None: frame numbers.
            velocity: ``[batch node frame dim]``, of all frames, for a net built with velocities.

        Raises:
            ValueError: shapes that do not fit each other or the net, or velocities where none are wanted.
        """
        check("EGTN", given, future, clock, node, pair, mask, adjacent, self.sizes)
        batch, nodes, frames, _ = whole_shape = (*future.shape[:2], given.shape[2] + future.shape[2], future.shape[3])
        whole = centred(torch.cat([given, future], 2), mask)
        graph = scene_graph(pair, frames, mask, adjacent)
        if velocity is not None and tuple(velocity.shape) != whole_shape:
            raise ValueError(f"EGTN: velocity has shape {tuple(velocity.shape)}; {whole_shape} was wanted, for given and future frames")
        start = whole.flatten(0, 1)[graph.row]
        speed, graph = self._moving(velocity, start, graph)
        h = self._scalars(node.flatten(0, 1)[graph.row], clock[graph.row // nodes], given.shape[2], speed, frames)
        _, x = self.stack(h, start, graph, times(time, whole, graph))
        return spread((x - start)[:, given.shape[2]:], replace(graph, seen=None if graph.seen is None else graph.seen[:, given.shape[2]:]),
                      batch, nodes)

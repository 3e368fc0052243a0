"""The learned equivariant geometric prior: where a trajectory is expected before any noise is drawn (Han et al. 2024)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from trajlab.nets.egtn import EgtnSettings, EgtnStack, centred, times
from trajlab.nets.egtn_spatial import mlp2, scene_graph
from trajlab.nets.egtn_temporal import TIMES
from trajlab.nets.windows import check, sinusoid

__all__ = ["GeometricPrior", "centre_of_mass"]


def centre_of_mass(given: Float[Tensor, "batch node past dim"], steps: int, mask: Bool[Tensor, "batch node past"] | None = None
                   ) -> Float[Tensor, "batch node time dim"]:
    """The prior that is not learned: the mean of all that is seen of the scene, at every node and future frame."""
    shown = given - centred(given, mask)  # the mean where seen
    if mask is None:
        return shown[:, :, :1].expand(-1, -1, steps, -1)
    mean = torch.where(mask[..., None], given, 0.0).sum((1, 2), keepdim=True) / mask.sum((1, 2)).clamp(min=1)[:, None, None, None]
    return mean.expand(-1, given.shape[1], steps, -1)


class GeometricPrior(nn.Module):
    r"""An affine combination of what a small EGTN without noise level makes of the given frames:

        x_r(f) = sum_s W_sf x~_s,   W_sf = b_s gamma_f (s not last),   W_last,f = 1 - sum of the others

    with b_s the mean over the channels of h~_s. The weights of a node sum to one over its seen frames, so that x_r turns, reflects, shifts and
    permutes with its input; hidden frames have no weight.

    Args:
        node, pair: numbers of node and pair features.
        horizon: number of future frames, for learned gamma_f (published; start 1); None: gamma is a function of f, for any horizon.
        settings: of the network; the published one has 2 layers.

    Raises:
        ValueError: a horizon below 1, or settings with velocities or a flag, which the prior does not take.
    """

    def __init__(self, node: int, pair: int, horizon: int | None = None, settings: EgtnSettings | None = None) -> None:
        super().__init__()
        settings = settings or EgtnSettings(layers=2)
        if horizon is not None and horizon < 1:
            raise ValueError(f"horizon={horizon}; at least one future frame was wanted, or None for any number")
        if settings.velocities or settings.given_flag:
            raise ValueError("the prior sees given frames alone: build it from settings without velocities and without given_flag")
        self.sizes = (None, horizon, node, pair)
        self.horizon = horizon
        self.embed = nn.Linear(node, settings.width)
        self.stack = EgtnStack(settings, pair)
        if horizon is not None:
            self.gamma = nn.Parameter(torch.ones(horizon))
        else:
            self.shape = mlp2(TIMES, 32, 1)
            nn.init.zeros_(self.shape[2].weight)
            nn.init.zeros_(self.shape[2].bias)

    def weights(self, steps: int, like: Tensor) -> Float[Tensor, "time"]:
        """gamma_f."""
        if self.horizon is None:
            ahead = torch.arange(1, steps + 1, device=like.device, dtype=like.dtype)
            return 1 + self.shape(sinusoid(ahead, TIMES))[:, 0]
        if steps != self.horizon:
            raise ValueError(f"the prior has learned {self.horizon} future frames, and {steps} were asked for; build it with horizon=None for any")
        return self.gamma

    def forward(
        self, given: Float[Tensor, "batch node past dim"], steps: int, node: Float[Tensor, "_ _ a"],
        pair: Float[Tensor, "_ _ _ b"], mask: Bool[Tensor, "_ _ _"] | None = None, adjacent: Bool[Tensor, "_ _ _"] | None = None,
    ) -> Float[Tensor, "batch node time dim"]:
        """The expected positions at ``steps`` future frames. A node that was never seen is put at the scene's mean.

        Raises:
            ValueError: shapes that do not fit, no given frame, or another horizon than was learned.
        """
        if given.ndim == 4 and not given.shape[2]:
            raise ValueError("the prior needs at least one given frame, and none came; unconditional models have no prior")
        gamma = self.weights(steps, given)
        empty = given.new_zeros(*given.shape[:2], 0, given.shape[-1])
        check("GeometricPrior", given, empty, given.new_zeros(len(given)), node, pair, mask, adjacent, (None, None, *self.sizes[2:]))
        batch, nodes, frames, dim = given.shape
        start = centred(given, mask)
        mean = centre_of_mass(given, 1, mask)[:, :1]
        graph = scene_graph(pair, frames, mask, adjacent)
        rows = start.flatten(0, 1)[graph.row]
        h = self.embed(node.flatten(0, 1)[graph.row])[:, None].expand(-1, frames, -1)
        h, x = self.stack(h, rows, graph, times(None, given, graph))
        share = h.mean(-1, keepdim=True)
        if graph.seen is None:
            last = x[:, -1:]
        else:
            order = torch.arange(1, frames + 1, device=x.device, dtype=x.dtype)[:, None]
            index = (graph.seen * order).argmax(1, keepdim=True)
            last, share = x.gather(1, index.expand(-1, 1, dim)), share * graph.seen
        moved = (share * (x - last)).sum(1, keepdim=True)
        out = last + gamma[:, None] * moved  # sum_s W_sf x_s, as the weights sum to one
        full = out.new_zeros(batch * nodes, steps, dim).index_copy(0, graph.row, out)
        return full.view(batch, nodes, steps, dim) + mean

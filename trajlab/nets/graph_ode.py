"""A latent ordinary differential equation on a graph: a gate between two kinds of transport, and a learned source."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["GraphODE"]

SOLVERS = ("implicit", "euler")


class GraphODE(nn.Module):
    """dz/dt = (1 - g) k D z + g v A z + f(z, c), with gate g = sigmoid(W z + b) of every node and channel.

    D and A are generators of transport (their columns sum to 0: a diffusion and an advection), k > 0 one number a channel, v > 0 one number, f a
    perceptron of the state and of what is known of the node at that time. All learned parts are made once. W acts on a node, so the number of nodes
    is free. With ``"implicit"`` each transport is a backward Euler step, (I - h k D)^-1, stable and conservative for any step, and the gate weighs
    the two results; ``"euler"`` is explicit, with rates limited to what is stable.

    Args:
        channels: of the state.
        context: channels of what is known.
        width: of the perceptron.
        diffusion, advection, source: which terms there are.
        dropout: of the perceptron's input.
        solver: ``"implicit"`` or ``"euler"``.

    Raises:
        ValueError: no term at all, or an unknown solver.
    """

    def __init__(self, channels: int, context: int, width: int = 48, *, diffusion: bool = True, advection: bool = True, source: bool = True,
                 dropout: float = 0.0, solver: str = "implicit") -> None:
        super().__init__()
        if not (diffusion or advection or source) or solver not in SOLVERS:
            raise ValueError(f"diffusion={diffusion}, advection={advection}, source={source}, solver={solver!r}: at least one term and a solver of "
                             f"{', '.join(SOLVERS)} were wanted")
        self.solver = solver
        self.log_k = nn.Parameter(torch.zeros(())) if diffusion else None
        self.log_v = nn.Parameter(torch.zeros(())) if advection else None
        self.gate = nn.Linear(channels, channels) if diffusion and advection else None
        self.strength = nn.Parameter(torch.full((channels,), -2.0)) if diffusion or advection else None
        self.source = None
        if source:
            self.source = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels + context, width), nn.SiLU(), nn.Linear(width, channels))

    def forward(self, z: Float[Tensor, "batch node channel"], context: Float[Tensor, "batch step node context"], dt: float, *,
                diffuse: Tensor | None = None, advect: Tensor | None = None) -> Float[Tensor, "batch step_plus_1 node channel"]:
        """The state at the beginning and after every step.

        Args:
            z: initial state.
            context: what is known during every step.
            dt: length of a step, in the time unit of the source.
            diffuse: generator a step, ``[node node]`` (per step of ``dt``: rates times its length).
            advect: generator a step of every step, ``[batch step node node]``, likewise.
        """
        moved = [self._propagator(m, log) for m, log in ((diffuse, self.log_k), (advect, self.log_v))]
        path = [z]
        for k in range(context.shape[1]):
            z = self._step(z, context[:, k], dt, moved[0], None if moved[1] is None else moved[1][:, k])
            path.append(z)
        return torch.stack(path, 1)

    def _propagator(self, generator: Tensor | None, log: Tensor | None) -> Tensor | None:
        """What a step does to the state by one kind of transport alone."""
        if generator is None or log is None:
            return None
        m = log.exp() * generator
        eye = torch.eye(m.shape[-1], dtype=m.dtype, device=m.device)
        if self.solver == "implicit":
            return torch.linalg.inv(eye - m)
        fastest = -m.diagonal(dim1=-2, dim2=-1).min(-1).values[..., None, None]
        return eye + m / fastest.clamp(min=1.0)

    def _step(self, z: Tensor, context: Tensor, dt: float, diffuse: Tensor | None, advect: Tensor | None) -> Tensor:
        out = z
        if diffuse is not None or advect is not None:
            change = torch.zeros_like(z) if diffuse is None else diffuse @ z - z
            if advect is not None:
                along = advect @ z - z
                g = None if self.gate is None or diffuse is None else torch.sigmoid(self.gate(z))
                change = along if g is None else (1 - g) * change + g * along
            out = out + torch.sigmoid(self.strength) * change
        return out if self.source is None else out + dt * self.source(torch.cat([z, context], -1))

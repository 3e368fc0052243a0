"""Diagonal state-space layers for long contexts (Gu et al. 2022, S4D: On the Parameterization and Initialization of Diagonal State Space Models)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu, glu

from trajlab.nets.sequences import check

__all__ = ["Diagonal", "StateSpace"]


class Diagonal(nn.Module):
    """One linear system a channel, with N complex modes: s' = A s + u, y = Re(C s) + D u, held inputs of duration Delta.

        s_k = w s_{k-1} + b u_k,  w = exp(Delta A),  b = (w - 1) / A,  A_n = -exp(r_n) + i m_n

    A begins as -1/2 + i pi n (S4D-Lin), Delta log-uniform within ``steps``. A whole sequence is a convolution with K_j = Re(C w^j b), done by FFT in
    O(time log time); a single frame costs one product a mode. Both are the same numbers.

    Args:
        width: channels.
        modes: complex modes a channel.
        steps: smallest and largest Delta: memories of about 2/Delta frames.
    """

    def __init__(self, width: int, modes: int = 16, steps: tuple[float, float] = (0.01, 0.5)) -> None:
        super().__init__()
        low, high = math.log(steps[0]), math.log(steps[1])
        self.log_step = nn.Parameter(low + (high - low) * torch.rand(width, 1))
        self.log_decay = nn.Parameter(torch.full((width, modes), math.log(0.5)))
        self.turn = nn.Parameter(math.pi * torch.arange(modes).expand(width, modes).clone())
        self.read = nn.Parameter(torch.randn(width, modes, 2))
        self.through = nn.Parameter(torch.randn(width))

    def modes(self) -> tuple[Tensor, Tensor, Tensor]:
        """log w, b and C, complex, ``[width mode]``."""
        a = torch.complex(-self.log_decay.exp(), self.turn)
        log_w = self.log_step.exp() * a
        return log_w, torch.expm1(log_w) / a, torch.view_as_complex(self.read)

    def forward(
        self, u: Float[Tensor, "batch time width"], state: Tensor | None
    ) -> tuple[Float[Tensor, "batch time width"], Tensor]:
        """The response and the state ``[batch width mode]`` after the last frame."""
        log_w, b, c = self.modes()
        if u.shape[1] == 1:
            now = b * u[:, 0, :, None] + (0 if state is None else log_w.exp() * state)
            return ((c * now).sum(-1).real + self.through * u[:, 0])[:, None], now
        return self._many(u, state, log_w, b, c)

    def _many(self, u: Tensor, state: Tensor | None, log_w: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        frames = u.shape[1]
        powers = torch.exp(log_w[..., None] * torch.arange(frames, device=u.device, dtype=u.dtype))  # w^0 .. w^(frames-1)
        kernel = torch.einsum("hn,hnt->ht", c * b, powers).real
        size = 2 * frames  # circular convolution of that length does not wrap round
        y = torch.fft.irfft(torch.fft.rfft(u, size, dim=1) * torch.fft.rfft(kernel, size, dim=1).T, size, dim=1)[:, :frames]
        now = torch.einsum("bth,hnt->bhn", u.to(powers.dtype), powers.flip(-1)) * b
        if state is not None:
            start = state * log_w.exp()
            y = y + torch.einsum("bhn,hnt->bth", c * start, powers).real
            now = now + start * powers[..., -1]
        return y + self.through * u, now


def _norm(width: int, there: bool) -> nn.Module:
    return nn.LayerNorm(width) if there else nn.Identity()


class StateSpace(nn.Module):
    """Diagonal state-space layers, each followed by a gated linear mixing of channels and added to what came in.

    A sequence may be given at once or in pieces, each with the state that the one before returned.

    Args:
        inputs: channels in.
        width: features; they come out.
        layers: of them.
        modes, steps: of each, see `Diagonal`.
        norm: layer norms; without them features are smooth functions of what comes in, which a linear readout can use to many digits.
    """

    def __init__(
        self, inputs: int, width: int = 64, layers: int = 2, modes: int = 16, steps: tuple[float, float] = (0.01, 0.5), norm: bool = True
    ) -> None:
        super().__init__()
        self.inputs, self.width = inputs, width
        self.embed, self.last = nn.Linear(inputs, width), _norm(width, norm)
        self.systems = nn.ModuleList([Diagonal(width, modes, steps) for _ in range(layers)])
        self.norms = nn.ModuleList([_norm(width, norm) for _ in range(layers)])
        self.mixes = nn.ModuleList([nn.Linear(width, 2 * width) for _ in range(layers)])

    def forward(
        self, x: Float[Tensor, "batch time inputs"], state: list[Tensor] | None = None
    ) -> tuple[Float[Tensor, "batch time width"], list[Tensor]]:
        """Features of every frame, from it and the ones before, and the state after the last.

        Args:
            x: one piece of the sequences, at least one frame.
            state: what the call on the piece before returned; None at the beginning.

        Raises:
            ValueError: another number of channels, or no frames.
        """
        check("StateSpace", x, self.inputs)
        h, told = self.embed(x), []
        for system, norm, mix, before in zip(self.systems, self.norms, self.mixes, state or [None] * len(self.systems), strict=True):
            y, after = system(norm(h), before)
            h = h + glu(mix(gelu(y)), -1)
            told.append(after)
        return self.last(h), told

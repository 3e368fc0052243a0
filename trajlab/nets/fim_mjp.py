"""The published network of foundation inference for Markov jump processes: a recurrent net over each path, attention over paths, two perceptrons."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

__all__ = ["FIMMJPNet", "FIMOutputs"]


class FIMOutputs(NamedTuple):
    """Logarithms of means and standard deviations of the rates in normalised time, ``[batch state state]`` (diagonals hold zero), and logits of the
    initial state, ``[batch state]``."""

    log_mean: Tensor
    log_std: Tensor
    initial: Tensor


def _perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two hidden layers of SELU with LeCun-normal weights (Klambauer et al. 2017)."""
    net = nn.Sequential(nn.Linear(inputs, hidden), nn.SELU(), nn.Linear(hidden, hidden), nn.SELU(), nn.Linear(hidden, outputs))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)
    return net


class FIMMJPNet(nn.Module):
    """Paths of (time, step, state) -> rates (Berghaus et al., arXiv 2406.06419, 2024).

    Each look is a token [t, step, one-hot state]. A bidirectional LSTM reads each path; the path is represented by the output at its last look, where
    the backward half has seen that look alone, so that it is run on that look alone here (the same numbers, half the cost; its recurrent weights are
    kept as part of the published size and never used). Learned queries attend over paths, ``softmax(Q K^T / sqrt(d)) V`` with one head; their answers
    and the number of paths over 100 go into two perceptrons. Neither the labels nor the number of states are symmetries of this network.

    Args:
        states: number of states; data of fewer use the first.
        hidden: of each direction of the LSTM.
        queries: learned ones.
        attention: size of keys, queries and values.
        perceptron: size of the hidden layers.
    """

    def __init__(self, states: int = 6, hidden: int = 256, queries: int = 16, attention: int = 128, perceptron: int = 128) -> None:
        super().__init__()
        self.states = states
        self.forwards = nn.LSTM(states + 2, hidden, batch_first=True)
        self.backwards = nn.LSTM(states + 2, hidden, batch_first=True)
        self.queries = nn.Parameter(torch.randn(queries, attention) * attention**-0.5)
        self.key = nn.Linear(2 * hidden, attention, bias=False)
        self.value = nn.Linear(2 * hidden, attention, bias=False)
        links = states * (states - 1)
        self.rates = _perceptron(queries * attention + 1, perceptron, 2 * links)
        self.start = _perceptron(queries * attention + 1, perceptron, states)
        self.register_buffer("off", ~torch.eye(states, dtype=torch.bool), persistent=False)

    def forward(self, label: Int[Tensor, "batch path look"], time: Float[Tensor, "batch path look"],
                length: Int[Tensor, "batch path"]) -> FIMOutputs:
        """Rates and start of data sets with equally many paths.

        Args:
            label: states; what is beyond the length of a path is not read.
            time: normalised, from 0 to 1.
            length: looks of each path; a path with none is left out of the attention.

        Raises:
            ValueError: a data set has no looks at all, or a label is not among the states.
        """
        if not (length.sum(1) > 0).all():
            raise ValueError("a data set without a single look was given; leave it out")
        if label.max() >= self.states:
            raise ValueError(f"state {int(label.max())} was seen, but the network has states 0 to {self.states - 1}")
        batch, paths, looks = label.shape
        step = torch.diff(time, dim=-1, prepend=time[..., :1])
        one_hot = nn.functional.one_hot(label.clamp(min=0), self.states).to(time.dtype)
        token = torch.cat([torch.stack([time, step], -1), one_hot], -1).view(batch * paths, looks, -1)
        last = (length.reshape(-1) - 1).clamp(min=0)
        rows = torch.arange(batch * paths, device=label.device)
        ahead = self.forwards(token)[0][rows, last]
        back = self.backwards(token[rows, last][:, None])[0][:, 0]
        path = torch.cat([ahead, back], -1).view(batch, paths, -1)
        score = self.queries @ self.key(path).transpose(1, 2) * self.queries.shape[1] ** -0.5
        score = score.masked_fill((length == 0)[:, None], -torch.inf)
        seen = (score.softmax(-1) @ self.value(path)).flatten(1)
        count = (length > 0).sum(1, keepdim=True).to(time.dtype) / 100
        seen = torch.cat([seen, count], -1)
        log_mean, log_std = self.rates(seen).chunk(2, -1)
        return FIMOutputs(self._square(log_mean), self._square(log_std), self.start(seen))

    def _square(self, links: Float[Tensor, "batch link"]) -> Float[Tensor, "batch state state"]:
        out = links.new_zeros(len(links), self.states, self.states)
        out[:, self.off] = links
        return out

"""A gated recurrent unit over sequences (Cho et al. 2014)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trajlab.nets.sequences import check

__all__ = ["GRUSequence"]


class GRUSequence(nn.Module):
    """Layers of gated recurrent units. A sequence may be given at once or in pieces, each with the state that the one before returned.

    Args:
        inputs: channels in.
        width: features of each layer; those of the last come out.
        layers: of them.
    """

    def __init__(self, inputs: int, width: int = 64, layers: int = 1) -> None:
        super().__init__()
        self.inputs, self.width = inputs, width
        self.gru = nn.GRU(inputs, width, layers, batch_first=True)

    def forward(self, x: Float[Tensor, "batch time inputs"], state: Tensor | None = None) -> tuple[Float[Tensor, "batch time width"], Tensor]:
        """Features of every frame, from it and the ones before, and the state after the last.

        Args:
            x: one piece of the sequences, at least one frame.
            state: what the call on the piece before returned, ``[layer batch width]``; None at the beginning.

        Raises:
            ValueError: another number of channels, or no frames.
        """
        check("GRUSequence", x, self.inputs)
        if state is None:
            state = x.new_zeros(self.gru.num_layers, len(x), self.width)
        if x.shape[1] == 1 and not torch.is_grad_enabled():
            return self._one(x[:, 0], state)
        return self.gru(x, state)

    def _one(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """A single frame: the cell itself costs half of the call that is made for sequences."""
        told = []
        for layer, weights in enumerate(self.gru.all_weights):
            x = torch.gru_cell(x, state[layer], *weights)
            told.append(x)
        return x[:, None], torch.stack(told)

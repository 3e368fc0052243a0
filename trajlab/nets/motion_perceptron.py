"""A perceptron over the past of each agent by itself."""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["MotionPerceptron"]


class MotionPerceptron(nn.Module):
    """Hidden layers with GELU; what comes out are features, the task's head has the output layer.

    Args:
        told: numbers of each agent.
        width, layers: of the hidden layers.
        dropout: between them.
    """

    def __init__(self, told: int, width: int = 128, layers: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        sizes = [told, *[width] * layers]
        self.told, self.width = told, width
        self.layers = nn.Sequential(*[part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.GELU(), nn.Dropout(dropout))])

    def forward(self, told: Float[Tensor, "*agent told"]) -> Float[Tensor, "*agent feature"]:
        """Features of every agent.

        Raises:
            ValueError: another number of inputs.
        """
        if told.shape[-1] != self.told:
            raise ValueError(f"MotionPerceptron: {told.shape[-1]} numbers an agent came, {self.told} were wanted")
        return self.layers(told)

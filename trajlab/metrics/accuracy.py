"""One-step errors of displacement and velocity: relative to the RMS of the truth and absolute, in total and by element, with
error bars over independent runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.metrics.uncertainty import Estimate, bootstrap


@dataclass(frozen=True, eq=False)
class Squares:
    """Sums of squares over atoms and components, by independent run and element: all that relative errors are made of.

    Attributes:
        error: summed squares of (prediction - truth), ``[run element]``.
        truth: summed squares of the truth, ``[run element]``.
        count: number of components summed, ``[run element]``.
        element: atomic numbers of the columns, ``[element]``.
    """

    error: Float[Tensor, "run element"]
    truth: Float[Tensor, "run element"]
    count: Float[Tensor, "run element"]
    element: Int[Tensor, "element"]

    @classmethod
    def of(
        cls, predicted: Float[Tensor, "node 3"], true: Float[Tensor, "node 3"], kind: Int[Tensor, "node"], run: Int[Tensor, "node"]
    ) -> Self:
        """From predictions; ``run`` says which independent run each atom belongs to.

        Raises:
            ValueError: a prediction is not finite (a model that blew up has no error to speak of).
        """
        if not bool(torch.isfinite(predicted).all()):
            at = int((~torch.isfinite(predicted)).any(1).nonzero()[0])
            raise ValueError(f"the prediction for node {at} is not finite; such a model cannot be scored")
        element, column = kind.unique(return_inverse=True)
        rows = run.unique(return_inverse=True)[1]
        shape = (int(rows.max()) + 1, len(element))

        def gather(value: Tensor) -> Tensor:
            return value.new_zeros(shape[0] * shape[1]).index_add_(0, rows * shape[1] + column, value).reshape(shape)

        difference, true = (predicted - true).double(), true.double()
        return cls(gather(difference.square().sum(1)), gather(true.square().sum(1)), gather(torch.full_like(true[:, 0], 3.0)), element)

    def relative(self, weight: Float[Tensor, "run"] | None = None) -> Float[Tensor, "element_plus_1"]:
        """RMS error over RMS of the truth: in total, then by element; ``weight`` counts runs (bootstrap)."""
        return self._ratio(self.error, self.truth, weight)

    def absolute(self, weight: Float[Tensor, "run"] | None = None) -> Float[Tensor, "element_plus_1"]:
        """RMS error over atoms and components in the unit of the input: in total, then by element."""
        return self._ratio(self.error, self.count, weight)

    def _ratio(self, above: Tensor, below: Tensor, weight: Tensor | None) -> Tensor:
        w = above.new_ones(len(above)) if weight is None else weight.to(above)
        top, bottom = w @ above, w @ below
        return torch.cat([top.sum()[None], top]).div(torch.cat([bottom.sum()[None], bottom])).sqrt()

    def estimates(self, generator: torch.Generator | None = None) -> list[Estimate]:
        """Relative errors in total and by element, with bootstrap standard errors over runs."""
        draws = bootstrap(self.relative, len(self.error), generator)
        return [Estimate(float(v), float(s)) for v, s in zip(self.relative(), draws.nan_to_num().std(0))]

    def below(self, other: Squares, generator: torch.Generator | None = None) -> Estimate:
        """How many times smaller the total error is than that of another model on the same test set (runs drawn jointly)."""
        if len(self.error) != len(other.error):
            raise ValueError(f"the models were scored on {len(self.error)} and {len(other.error)} runs; score both on the same test set")

        def ratio(weight: Tensor | None) -> Tensor:
            return other.relative(weight)[0] / self.relative(weight)[0]

        return Estimate(float(ratio(None)), float(bootstrap(ratio, len(self.error), generator).std()))

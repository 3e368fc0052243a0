"""Minibatch optimal transport (Pooladian et al. 2023, Tong et al. 2024): within a batch, the permutation of least total squared distance."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trajlab.couplings.independent import same_size


@dataclass(frozen=True)
class MinibatchOT:
    """Solved exactly, as an assignment:  min over permutations of sum_k c(source[k], data[index[k]]),

        c(s, d) = |m_d (s - d)|^2 + condition_weight |condition_s - condition_d|^2,        m_d the mask of the sample.

    The assignment of two uniform measures of the same size is their transport plan, so nothing is drawn from a plan, and no sample is
    repeated or left out. Turning or reflecting both sides leaves the pairs as they are.

    Attributes:
        condition_weight: 0 pairs regardless of conditions. Then, *given a condition*, the noise that a net sees in training is no longer
            that of the source, and a conditional model comes out wrong; a large weight pairs within (nearly) equal conditions only
            (conditional optimal transport, Kerrigan et al. 2024), down to the independent coupling where all conditions differ.
        block: solve within blocks of so many rows: 64 costs about a quarter of a whole batch of 256, a tenth of one of 1024, and finds longer
            pairs. None: the whole batch.

    Raises:
        ValueError: a negative weight or a block of fewer than two.
    """

    condition_weight: float = 0.0
    block: int | None = None

    def __post_init__(self) -> None:
        if not self.condition_weight >= 0:
            raise ValueError(f"condition_weight={self.condition_weight} came; zero or more was wanted")
        if self.block is not None and self.block < 2:
            raise ValueError(f"block={self.block} came; two rows or more were wanted, or None for the whole batch")

    def __call__(self, source: Float[Tensor, "n *event"], data: Float[Tensor, "m *other"], *, mask: Bool[Tensor, "m *part"] | None = None,
                 condition: Tensor | None = None, source_condition: Tensor | None = None,
                 generator: torch.Generator | None = None) -> Int[Tensor, " n"]:
        """The index that pairs `source[k]` with `data[index[k]]`; permute everything that belongs to a sample by `together`.

        Args:
            source, data: batches of the same size.
            mask: of the data, True = observed; axes are the first ones of data. Hidden entries cost nothing, whatever they hold.
            condition: of the data, batch first. Integers and booleans are classes: they cost 1 where they differ.
            source_condition: of the source; by default row k of a source of noise is given condition k.
            generator: breaks ties and shuffles the rows into blocks; without one, ties go by the order of rows, and blocks are runs of rows.

        Raises:
            ValueError: the batches differ in shape, the mask or condition does not fit, or an observed value is not finite.
        """
        same_size(source, data)
        n = len(data)
        order = [torch.arange(n)] * 2 if generator is None else [_shuffled(n, generator), _shuffled(n, generator)]
        table = self.cost(source, data, mask=mask, condition=condition, source_condition=source_condition).cpu()
        index = torch.empty(n, dtype=torch.long)
        for rows, columns in zip(*(o.split(self.block or max(n, 1)) for o in order)):
            index[rows] = columns[_assigned(table[rows][:, columns])]
        return index.to(data.device)

    def cost(self, source: Float[Tensor, "n *event"], data: Float[Tensor, "m *other"], *, mask: Bool[Tensor, "m *part"] | None = None,
             condition: Tensor | None = None, source_condition: Tensor | None = None) -> Float[Tensor, "n m"]:
        """What every pair costs, float64; arguments as for the call."""
        if source.shape[1:] != data.shape[1:]:
            raise ValueError(f"source has shape {tuple(source.shape)} and data {tuple(data.shape)}; events must have the same shape")
        there = torch.ones_like(data, dtype=torch.bool) if mask is None else _spread(mask, data)
        s, d, m = source.double().flatten(1), torch.where(there, data, 0).double().flatten(1), there.double().flatten(1)
        for name, value in (("source", s), ("data", d)):
            if not bool(torch.isfinite(value).all()):
                row = int((~torch.isfinite(value)).any(1).nonzero()[0])
                raise ValueError(f"row {row} of the {name} is not finite; hide missing values with a mask")
        table = (s**2) @ m.T - 2 * s @ d.T + (d**2).sum(1)
        if self.condition_weight == 0:
            return table
        if condition is None:
            raise ValueError(f"condition_weight is {self.condition_weight:g} and no condition came; pass condition=, or a weight of 0")
        return table + self.condition_weight * _condition_cost(condition if source_condition is None else source_condition, condition, len(data))


def _assigned(table: Tensor) -> Tensor:
    from scipy.optimize import linear_sum_assignment

    return torch.from_numpy(linear_sum_assignment(table.numpy())[1])


def _shuffled(n: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(n, generator=generator, device=generator.device).cpu()


def _spread(mask: Tensor, data: Tensor) -> Tensor:
    if mask.shape != data.shape[: mask.ndim]:
        raise ValueError(f"the mask has shape {tuple(mask.shape)} and the data {tuple(data.shape)}; the mask's axes must be the data's first ones")
    return mask.reshape(*mask.shape, *[1] * (data.ndim - mask.ndim)).expand_as(data)


def _condition_cost(left: Tensor, right: Tensor, n: int) -> Tensor:
    if len(left) != n or len(right) != n or left.shape[1:] != right.shape[1:] or left.dtype != right.dtype:
        raise ValueError(f"conditions of shape {tuple(left.shape)} {left.dtype} (source) and {tuple(right.shape)} {right.dtype} (data) came; "
                         f"{n} rows of one shape and type were wanted on both sides")
    left, right = left.reshape(n, -1), right.reshape(n, -1)
    if not left.is_floating_point():
        return (left[:, None] != right).double().sum(-1)
    table = torch.cdist(left.double(), right.double(), compute_mode="donot_use_mm_for_euclid_dist") ** 2
    if not bool(torch.isfinite(table).all()):
        raise ValueError("a condition is not finite; impute it, or leave the condition out of the cost")
    return table

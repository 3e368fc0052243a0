"""Where cells end: probabilities of fates by absorption, ancestors and descendants, and growth, from plans between neighbouring snapshots.

With T_k = P_k with rows scaled to 1, and F_K the membership of the last cells in terminal sets,

    F_k = T_k F_{k+1},      rows of cells that are in a set already: that set,

which are the absorption probabilities (I - Q)^-1 R of the chain over the cells of all snapshots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.types import Snapshots

__all__ = ["Fates", "ancestors", "descendants", "fate", "fates", "growth", "terminal_sets", "transition"]


@dataclass(frozen=True, eq=False)
class Fates:
    """Probabilities of ending in each terminal set.

    Attributes:
        names: of the sets.
        probability: ``[cell set]``, cells in the order of the snapshots. What a row lacks to 1 is the probability of ending outside all sets.
        snapshot: of each cell, ``[cell]``.
    """

    names: tuple[str, ...]
    probability: Tensor
    snapshot: Tensor

    def at(self, index: int) -> Float[Tensor, "some set"]:
        """The cells of one snapshot."""
        return self.probability[self.snapshot == index]

    def of(self, name: str) -> Float[Tensor, "cell"]:
        """The probabilities of one set.

        Raises:
            ValueError: there is none of this name.
        """
        if name not in self.names:
            raise ValueError(unknown("fate", name, self.names))
        return self.probability[:, self.names.index(name)]

    @property
    def commitment(self) -> Float[Tensor, "cell"]:
        """1 - entropy / log(number of outcomes), ending outside all sets being one: 1 for a cell whose fate is certain, 0 for an even chance."""
        whole = torch.cat([self.probability, (1 - self.probability.sum(1, keepdim=True)).clamp(min=0)], 1)
        outcomes = int((whole.amax(0) > 1e-12).sum())
        return 1 - torch.special.entr(whole).sum(1) / float(np.log(max(outcomes, 2)))


def transition(plan: Float[Tensor, "source target"]) -> Float[Tensor, "source target"]:
    """Rows scaled to 1; a row without mass (a cell that leaves no descendants) stays 0."""
    mass = plan.sum(1, keepdim=True)
    return torch.where(mass > 0, plan / mass.clamp(min=torch.finfo(plan.dtype).tiny), 0.0)


def fates(plans: Sequence[Tensor], member: Sequence[Tensor]) -> list[Tensor]:
    """Absorption probabilities of every cell, snapshot by snapshot.

    Args:
        plans: one a pair of neighbouring snapshots, ``[source target]``, each with any mass.
        member: membership of each snapshot's cells, 0 or 1, ``[cell set]``; all 0 where a snapshot has no terminal cells.

    Raises:
        ValueError: shapes that do not fit, or a cell in more than one set.
    """
    if len(member) != len(plans) + 1:
        raise ValueError(f"{len(plans)} plans and memberships of {len(member)} snapshots; {len(plans) + 1} were wanted")
    for k, part in enumerate(member):
        rows = plans[k].shape[0] if k < len(plans) else plans[-1].shape[1]
        if len(part) != rows or part.shape[1] != member[0].shape[1] or (k and len(part) != plans[k - 1].shape[1]):
            raise ValueError(f"membership of snapshot {k} has shape {tuple(part.shape)}; [{rows} {member[0].shape[1]}] was wanted, as the "
                             "plans have it")
        if bool((part.sum(1) > 1).any()):
            raise ValueError(f"cell {int((part.sum(1) > 1).nonzero()[0])} of snapshot {k} is in more than one terminal set; sets must not overlap")
    found = [member[-1].double()]
    for plan, inside in zip(reversed(plans), reversed(member[:-1])):
        onward = transition(plan.double()) @ found[0]
        found.insert(0, torch.where(inside.sum(1, keepdim=True) > 0, inside.double(), onward))
    return found


def fate(bridge: Any, terminal: Mapping[str, Any]) -> Fates:
    """Fates under a fitted bridge.

    Args:
        bridge: fitted, with ``snapshots`` and ``plans``.
        terminal: name -> cells of the set, as a mask over all cells or as their numbers, in the order of the snapshots; `terminal_sets` makes it
            from labels in the order of AnnData. Cells of a set at an earlier time are absorbed there.

    Raises:
        ValueError: no set, an empty one, cells that are not there, or sets that overlap.
    """
    names, member = _memberships(bridge.snapshots, terminal)
    parts = fates([plan.P for plan in bridge.plans], [member[bridge.snapshots.snapshot == k] for k in range(bridge.snapshots.n_snapshots)])
    return Fates(names, torch.cat(parts), bridge.snapshots.snapshot)


def _memberships(snapshots: Snapshots, terminal: Mapping[str, Any]) -> tuple[tuple[str, ...], Float[Tensor, "cell set"]]:
    if not terminal:
        raise ValueError("no terminal sets; {'name': cells, ...} was wanted, such as terminal_sets(snapshots, adata.obs['cell_type'], ['Ery', 'Mk'])")
    count = len(snapshots.x)
    member = torch.zeros(count, len(terminal), dtype=torch.float64)
    for column, (name, cells) in enumerate(terminal.items()):
        which = torch.as_tensor(np.asarray(cells))
        if which.dtype == torch.bool and which.shape != (count,):
            raise ValueError(f"terminal set {name!r} is a mask of shape {tuple(which.shape)}; one value for each of the {count} cells was wanted")
        if which.dtype != torch.bool and which.numel() and (int(which.min()) < 0 or int(which.max()) >= count):
            raise ValueError(f"terminal set {name!r} has cells {int(which.min())} to {int(which.max())}; 0 to {count - 1} was wanted")
        if not which.numel() or (which.dtype == torch.bool and not bool(which.any())):
            raise ValueError(f"terminal set {name!r} has no cells")
        member[which if which.dtype == torch.bool else which.long(), column] = 1
    return tuple(map(str, terminal)), member


def terminal_sets(snapshots: Snapshots, labels: Any, names: Sequence[str] | None = None, last_only: bool = True) -> dict[str, np.ndarray]:
    """Terminal sets from labels of cells, such as ``adata.obs["cell_type"]``.

    Args:
        snapshots: from `from_anndata` (or arrays or tables), whose rows are remembered.
        labels: one a cell, in the order of AnnData; missing ones are in no set.
        names: labels that are terminal; by default all that occur at the last snapshot.
        last_only: only cells of the last snapshot are terminal; otherwise cells with these labels are so at any time.

    Raises:
        ValueError: labels that do not fit, or a name that no cell (of the last snapshot) has.
    """
    order = np.asarray(snapshots.source.get("cell", np.arange(len(snapshots.x))))
    found = np.asarray(labels, dtype=object)
    if found.ndim != 1 or len(order) != len(snapshots.x) or (len(order) and len(found) <= int(order.max())):
        raise ValueError(f"labels of shape {found.shape} for {len(snapshots.x)} cells; one a row of the AnnData that the snapshots came from "
                         "was wanted")
    found = np.asarray([None if value is None or value != value else str(value) for value in found[order]], dtype=object)
    where = snapshots.snapshot.cpu().numpy() == snapshots.n_snapshots - 1 if last_only else np.ones(len(order), dtype=bool)
    known = sorted({value for value in found[where] if value is not None})
    for name in names or ():
        if str(name) not in known:
            raise ValueError(f"{'at the last snapshot ' if last_only else ''}there is {unknown('label', str(name), known)}")
    return {str(name): where & (found == str(name)) for name in (known if names is None else names)}


def descendants(plans: Sequence[Tensor], mass: Float[Tensor, "cell"], start: int) -> list[Tensor]:
    """Where a distribution over the cells of snapshot ``start`` goes: over that snapshot's cells and each later one's."""
    found = [mass.double() / mass.sum()]
    for plan in plans[start:]:
        found.append(found[-1] @ transition(plan.double()))
    return found


def ancestors(plans: Sequence[Tensor], mass: Float[Tensor, "cell"], end: int) -> list[Tensor]:
    """Where a distribution over the cells of snapshot ``end`` came from: over each earlier snapshot's cells, in time order, and that one's."""
    found = [mass.double() / mass.sum()]
    for plan in reversed(plans[:end]):
        found.insert(0, found[0] @ transition(plan.double().mT))
    return found


def growth(plan: Float[Tensor, "source target"], a: Float[Tensor, "source"], duration: float, sizes: tuple[float, float] | None = None,
           ) -> Float[Tensor, "source"]:
    """Net growth rate of each source cell, per unit of time, from the rows of a plan whose source marginal was relaxed:

        g_i = [ log( r_i / (a_i sum r) ) + log(M_{k+1} / M_k) ] / T_k,      r = row sums,  M = sizes of the populations.

    The total mass of a relaxed plan carries no information, since a constant added to the log-kernel changes it. Single cells' rates are noisy:
    the relaxed marginal prefers cells near targets, so averages over branches or neighbours are to be read.

    Args:
        plan: with a relaxed source marginal; the rates of a balanced one are those of the whole population.
        a: source weights.
        duration: of the interval.
        sizes: of the two populations, where known: counts of sampled cells are not, unless sampling was proportional. Else the mean growth is 0.

    Raises:
        ValueError: a duration or sizes that are not positive.
    """
    if not duration > 0 or (sizes is not None and not min(sizes) > 0):
        raise ValueError(f"growth over {duration:g} with sizes {sizes}; positive numbers were wanted")
    rows = plan.double().sum(1)
    share = (rows / rows.sum()).clamp(min=torch.finfo(torch.float64).tiny) / (a.double() / a.sum())
    whole = 0.0 if sizes is None else float(np.log(sizes[1] / sizes[0]))
    return (share.log() + whole) / duration

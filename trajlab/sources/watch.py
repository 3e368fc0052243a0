"""What keeps an eye on a reference run: broken bonds and a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
import torch

from trajlab.dynamics.particles import Particles

T = TypeVar("T")
STRETCH = 1.5  #: a bond this many times its start is broken


class BondWatch:
    """Stops a run in which a bond grew beyond ``STRETCH`` times its length at the start, or a number is no longer finite.

    Bonds are the pairs within 1.2 times the sum of the covalent radii at the start (nearest neighbours in a metal), across
    periodic boundaries too. A kernel force field knows only the isomer it was trained on and does not warn outside it.
    """

    def __init__(self, start: Particles) -> None:
        from ase import Atoms
        from ase.neighborlist import natural_cutoffs, neighbor_list

        found, offset = [], 0
        for scene, size in enumerate(start.sizes.tolist()):
            nodes = slice(offset, offset + size)
            atoms = Atoms(start.kind[nodes].cpu().numpy(), start.x[nodes].detach().cpu().numpy())
            if start.cell is not None:
                atoms.cell, atoms.pbc = start.cell[scene].cpu().numpy(), start.pbc[scene].cpu().numpy()
            i, j, shift = neighbor_list("ijS", atoms, natural_cutoffs(atoms, mult=1.2))
            half = i < j
            found.append((i[half] + offset, j[half] + offset, shift[half] @ np.asarray(atoms.cell)))
            offset += size
        device = start.x.device
        self.i, self.j = (torch.as_tensor(np.concatenate([f[k] for f in found]), device=device) for k in (0, 1))
        self.shift = torch.as_tensor(np.concatenate([f[2] for f in found]), dtype=start.x.dtype, device=device)
        self.limit = STRETCH * self._length(start)

    def _length(self, p: Particles) -> torch.Tensor:
        return (p.x[self.j] - p.x[self.i] + self.shift).norm(dim=1)

    def __call__(self, p: Particles, when: str) -> None:
        """Look once.

        Raises:
            RuntimeError: a bond is broken or a position is not finite.
        """
        length = self._length(p)
        if bool((length <= self.limit).all()) and bool(torch.isfinite(p.x).all()):
            return
        bad = ~(length <= self.limit)
        if not bool(bad.any()):
            raise RuntimeError(f"the reference run stopped ({when}): a position is no longer finite; use a shorter step")
        k = int(bad.nonzero()[0])
        i, j = int(self.i[k]), int(self.j[k])
        first = int((p.scene < p.scene[i]).sum())
        raise RuntimeError(
            f"the reference run stopped ({when}): in replica {int(p.scene[i])} the bond of atoms {i - first} and {j - first} is "
            f"{float(length[k]):.2f} Angstrom long, more than {STRETCH} times its {float(self.limit[k]) / STRETCH:.2f} at the start. "
            "Lower the temperature or the step; the potential is not to be trusted there"
        )


def collect(items: Iterable[T]) -> list[T]:
    """All items, or those that were complete when the user interrupted; an interrupt before the first passes through."""
    found: list[T] = []
    try:
        for item in items:
            found.append(item)
    except KeyboardInterrupt:
        if not found:
            raise
        print(f"interrupted: going on with the {len(found)} that are complete", file=sys.stderr)
    return found


def progress(items: Iterable[T], what: str, quiet: bool = False) -> Iterator[T]:
    """Iterate with a progress bar; where there is no terminal, with a line at every tenth."""
    items = list(items)
    if quiet:
        yield from items
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, description=what, console=Console(stderr=True))
    else:
        every = max(1, len(items) // 10)
        for k, item in enumerate(items, 1):
            yield item
            if k % every == 0:
                print(f"{what}: {k} of {len(items)}", file=sys.stderr, flush=True)

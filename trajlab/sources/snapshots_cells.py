"""Readers of published snapshots: single cells, and simulated systems as their authors published them.

None of the files is shipped. Each is read from a folder, or downloaded from its public origin on first use, and checked before it is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trajlab.catalog import unknown
from trajlab.sources.snapshots_cards import card
from trajlab.types import Snapshots
from trajlab.units import Units

__all__ = ["NAMES", "cell_snapshots", "embryoid", "haematopoiesis", "hesc", "pbmc", "published"]

Folder = str | Path | None
HESC_TIMES = (0.0, 12.0, 24.0, 36.0, 72.0)  #: hours
LINEAGE_TIMES = (2.0, 4.0, 6.0)  #: days of culture

#: name: (file, time of each snapshot, names of the dimensions), in the units of the publication
PUBLISHED: dict[str, tuple[str, Sequence[float], Sequence[str]]] = {
    "lotka_volterra_2024": ("LV_data.npy", [1.0 * k for k in range(9)], ("prey", "predators")),
    "repressilator_2024": ("repres_data.npy", [0.75 * k for k in range(11)], ("mRNA 1", "mRNA 2", "mRNA 3")),
    "gulf_vortex_2024": ("GoMvortex_data.npy", [1.0 * k for k in range(9)], ("longitude", "latitude")),
    "gulf_vortex_small_2024": ("GoMvortexsmall_data.npy", [1.0 * k for k in range(9)], ("longitude", "latitude")),
    "embryoid_2024": ("eb_data.npy", [0.5 * k for k in range(5)], ()),
    "lotka_volterra_2025": ("LV_data.npz", (), ("prey", "predators")),
    "repressilator_2025": ("Repressilatormrna_data.npz", (), ("mRNA 1", "mRNA 2", "mRNA 3")),
    "gulf_vortex_2025": ("GoM_data.npz", (), ("longitude", "latitude")),
    "three_genes": ("Simulation.npy", [1.0 * k for k in range(5)], ()),
    "emt": ("EMT.npy", [1.0 * k for k in range(5)], ()),
    "cardiac_bifurcation": ("Bifurcation.npy", [1.0 * k for k in range(8)], ()),
}


def cell_snapshots(name: str, folder: Folder = None, **options: Any) -> Snapshots:
    """A data set of `NAMES`.

    Args:
        name: ``embryoid``, ``hesc``, ``haematopoiesis``, ``pbmc``, or one of `PUBLISHED`.
        folder: where its files are, with or without the subfolders of their origins; None to download them.
        options: of its reader.

    Raises:
        ValueError: an unknown name, or a file that is not the published one.
        FileNotFoundError: a file is not in the folder.
        ConnectionError: a download failed.
    """
    if name in READERS:
        return READERS[name](folder, **options)
    if name not in PUBLISHED:
        raise ValueError(unknown("data set of snapshots", name, NAMES))
    return published(name, folder, **options)


def embryoid(folder: Folder = None, components: int | None = None, standardise: bool = False) -> Snapshots:
    """Human embryoid bodies over 27 days: 2750 cells, 550 in each of five windows (days 0-3, 6-9, 12-15, 18-21, 24-27), 100 principal components.

    The time is 0 to 4, in steps of six days. The components are not centred.

    Args:
        folder: of ``test_rna.npz`` and ``val_rna.npz``, whose cells are taken together, in this order.
        components: the first so many; all by default.
        standardise: each component to mean 0 and deviation 1 over all cells, as published comparisons do. Cells of a snapshot that is held out later
            are part of these two numbers: use it to compare with published figures, not as a protocol of your own.

    Raises:
        ValueError: fewer than one component, or more than 100; a file that is not the published one.
        FileNotFoundError, ConnectionError: as `cell_snapshots`.
    """
    parts = [np.load(card(name).path(folder)) for name in ("test_rna.npz", "val_rna.npz")]
    x, time = (torch.from_numpy(np.concatenate([part[key] for part in parts])) for key in ("X", "ts"))
    wanted = x.shape[1] if components is None else components
    if not 1 <= wanted <= x.shape[1]:
        raise ValueError(f"embryoid: components={components}; 1 to {x.shape[1]} were wanted")
    x, order = x[:, :wanted].double(), torch.argsort(time, stable=True)
    if standardise:
        x = (x - x.mean(0)) / x.std(0, correction=0)
    return Snapshots(x[order], time[order].long(), torch.arange(5, dtype=torch.float64), names=tuple(f"PC{k + 1}" for k in range(wanted)),
                     source={"data": "embryoid", "files": ("test_rna.npz", "val_rna.npz"), "standardised": standardise})


def hesc(folder: Folder = None) -> Snapshots:
    """Human embryonic stem cells that become definitive endoderm: 92, 102, 66, 172 and 138 cells at 0, 12, 24, 36 and 72 hours, 5 components.

    Raises:
        ValueError, FileNotFoundError, ConnectionError: as `cell_snapshots`.
    """
    return _object_array("hESC_data.npy", folder, HESC_TIMES, "h", "hesc")


def haematopoiesis(folder: Folder = None) -> Snapshots:
    """Mouse blood progenitors in culture: 1429, 3781 and 5788 cells at days 2, 4 and 6, in the two coordinates of a force-directed layout. The counts
    grow as the population does.

    Raises:
        ValueError, FileNotFoundError, ConnectionError: as `cell_snapshots`.
    """
    return _object_array("Lineage.npy", folder, LINEAGE_TIMES, "day", "haematopoiesis")


def pbmc(folder: Folder = None, between: bool = False) -> Snapshots:
    """Peripheral blood cells over 20 hours, 500 in each of 21 snapshots, as 30 gene programs in the units of their authors (not for commercial use).

    Args:
        folder: of the files.
        between: the 20 snapshots half-way between, which were held out, instead. The two files are scaled differently; both come in one unit here.

    Raises:
        ValueError, FileNotFoundError, ConnectionError: as `cell_snapshots`.
    """
    data = np.load(card(f"processed_pbmc_data_sub500_every_2_until20{'_interp_val' if between else ''}.npz").path(folder))
    x = torch.from_numpy(data["Xs"]).double() * float(data["X_scaling"])
    hours = torch.from_numpy(data["dts"]).double() * float(data["time_scale"])
    return _stacked(list(x), hours, "h", "pbmc", tuple(f"program {k + 1}" for k in range(x.shape[2])))


def published(name: str, folder: Folder = None) -> Snapshots:
    """One of `PUBLISHED`, in the units of its authors.

    Raises:
        ValueError, FileNotFoundError, ConnectionError: as `cell_snapshots`.
    """
    if name not in PUBLISHED:
        raise ValueError(unknown("published set of snapshots", name, PUBLISHED))
    file, times, names = PUBLISHED[name]
    if file.endswith(".npz"):
        data = np.load(card(file).path(folder))
        return _stacked([torch.from_numpy(x).double() for x in data["Xs"]], torch.from_numpy(data["dts"]).double(), "1", name, names)
    return _object_array(file, folder, times, "1", name, names)


def _object_array(file: str, folder: Folder, times: Sequence[float], unit: str, name: str, names: Sequence[str] = ()) -> Snapshots:
    """An ``.npy`` of equal or unequal snapshots. Unequal ones are pickled by NumPy, which is why the checksum is compared first."""
    data = np.load(card(file).path(folder), allow_pickle=True)
    if data.dtype == object and data.ndim == 2 and len(data) == 1:
        data = data[0]
    parts = [torch.from_numpy(np.asarray(x, dtype=np.float64)) for x in data]
    return _stacked(parts, torch.tensor(list(times), dtype=torch.float64), unit, name, names)


def _stacked(parts: Sequence[torch.Tensor], time: torch.Tensor, unit: str, name: str, names: Sequence[str]) -> Snapshots:
    label = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor([len(x) for x in parts]))
    return Snapshots(torch.cat(list(parts)), label, time, names=tuple(names), units=Units(time=unit), source={"data": name})


READERS: dict[str, Callable[..., Snapshots]] = {"embryoid": embryoid, "hesc": hesc, "haematopoiesis": haematopoiesis, "pbmc": pbmc}
#: All that `cell_snapshots` reads.
NAMES = (*READERS, *PUBLISHED)

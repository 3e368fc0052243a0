"""Files that a roll-out writes as it goes: extended XYZ, ASE ``.traj`` and zarr, with units, stride and model declared.

Every frame is flushed, so that a killed run loses at most what a restart computes again. When a run goes on from a restart file, frames
that are in the file already are not written twice; a frame cut short by the kill is removed first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.models.limits import symbol
from trajlab.models.stepper import Stepper
from trajlab.types import Trajectories
from trajlab.units import ASE_TIME, Units

ZARR_FRAMES = 128  #: frames gathered before a store is extended


@dataclass(frozen=True)
class Header:
    """What every file says of itself: the clock at the start of each system (fs), provenance, and the static fields of the start."""

    origin: Tensor
    about: Mapping[str, Any]
    start: Trajectories


@runtime_checkable
class Writer(Protocol):
    """``begin`` once, ``frame`` every few steps, ``flush`` before a restart file is written, ``end`` at last."""

    def begin(self, run: Stepper, header: Header, resume: bool) -> None: ...
    def frame(self, run: Stepper) -> None: ...
    def flush(self) -> None: ...
    def end(self) -> None: ...


def writer_for(path: str | Path) -> Writer:
    """The writer that the ending of a name asks for: ``.extxyz`` or ``.xyz``, ``.traj``, ``.zarr``.

    Raises:
        ValueError: an ending that none of them has.
    """
    path = Path(path)
    known = {".extxyz": ExtXYZ, ".xyz": ExtXYZ, ".traj": Traj, ".zarr": Zarr}
    if path.suffix not in known:
        raise ValueError(unknown("writer for files ending in", path.suffix, known))
    return known[path.suffix](path)


class _PerSystem:
    """What extended XYZ and ``.traj`` share: one file a system, numbered where there are several."""

    def __init__(self, path: str | Path) -> None:
        self.path, self.files, self.skip = Path(path), {}, {}

    def begin(self, run: Stepper, header: Header, resume: bool) -> None:
        self.header = header
        self.path.parent.mkdir(parents=True, exist_ok=True)
        many = len(run.stopped) > 1
        for scene in run.alive.tolist():
            path = self.path.with_name(f"{self.path.stem}-{scene:03d}{self.path.suffix}") if many else self.path
            self.skip[scene] = self._frames(path) if resume and path.exists() else 0
            self.files[scene] = self._open(path, resume)

    def frame(self, run: Stepper) -> None:
        """Append the present frame of every running system to its file."""
        p, ptr = run.p, torch.nn.functional.pad(run.p.sizes.cumsum(0), (1, 0)).tolist()
        for place, scene in enumerate(run.alive.tolist()):
            if self.skip[scene] > self._place(run):
                continue
            nodes = slice(ptr[place], ptr[place + 1])
            cell, pbc = (None, None) if p.cell is None or p.pbc is None else (p.cell[place], p.pbc[place].tolist())
            info = {"step": run.step, "time_fs": float(self.header.origin[scene]) + run.time, "stride_fs": run.stride, "scene": scene,
                    "units": "angstrom fs amu eV", "model": self.header.about["model"], "generator": f"trajlab {self.header.about['version']}"}
            self._write(self.files[scene], (p.kind[nodes], p.x[nodes], p.v[nodes], p.mass[nodes], cell, pbc), info)

    def _place(self, run: Stepper) -> int:
        """The number of this frame in the file."""
        return run.step // self.header.about["write_every"]

    def flush(self) -> None:
        pass

    def end(self) -> None:
        for file in self.files.values():
            file.close()


class ExtXYZ(_PerSystem):
    """Extended XYZ. ``momenta`` are in ASE's units, so that ASE's ``get_velocities`` is right; ``velocity_A_fs`` says its own unit."""

    def _open(self, path: Path, resume: bool) -> Any:
        return open(path, "a" if resume else "w", encoding="utf-8")

    def _frames(self, path: Path) -> int:
        """Whole frames in a file; what a kill left of a further one is cut off."""
        count = end = 0
        with open(path, "rb+") as file:
            while (head := file.readline()).strip().isdigit() and head.endswith(b"\n"):
                lines = [file.readline() for _ in range(int(head) + 1)]
                if not lines[-1].endswith(b"\n"):
                    break
                count, end = count + 1, file.tell()
            file.truncate(end)
        return count

    def _write(self, file: Any, system: tuple[Any, ...], info: Mapping[str, Any]) -> None:
        kind, x, v, mass, cell, pbc = system
        lattice = "" if cell is None else 'Lattice="' + " ".join(f"{c:.10g}" for c in cell.flatten().tolist()) + '" '
        words = " ".join(f'{k}="{value}"' if isinstance(value, str) else f"{k}={value}" for k, value in info.items())
        periodic = " ".join("FT"[b] for b in pbc or [False] * 3)
        head = f'{lattice}Properties=species:S:1:pos:R:3:masses:R:1:momenta:R:3:velocity_A_fs:R:3 {words} pbc="{periodic}"\n'
        rows = torch.cat((x, mass[:, None], v * mass[:, None] * ASE_TIME, v), 1).tolist()
        form = "%-2s" + 3 * " %16.10f" + " %.8g" + 6 * " %.14e" + "\n"
        body = "".join(form % (symbol(z), *row) for z, row in zip(kind.tolist(), rows))
        file.write(f"{len(rows)}\n{head}{body}")
        file.flush()


class Traj(_PerSystem):
    """ASE's own trajectory format, with momenta."""

    def _open(self, path: Path, resume: bool) -> Any:
        from ase.io.trajectory import Trajectory

        return Trajectory(str(path), "a" if resume and path.exists() else "w")

    def _frames(self, path: Path) -> int:
        from ase.io.trajectory import Trajectory

        with Trajectory(str(path)) as file:
            return len(file)

    def _write(self, file: Any, system: tuple[Any, ...], info: Mapping[str, Any]) -> None:
        from ase import Atoms

        kind, x, v, mass, cell, pbc = system
        momenta = (v * mass[:, None] * ASE_TIME).cpu().numpy()
        file.write(Atoms(kind.cpu().numpy(), x.cpu().numpy(), masses=mass.cpu().numpy(), momenta=momenta,
                         cell=None if cell is None else cell.cpu().numpy(), pbc=pbc, info=dict(info)))


class Zarr:
    """A store of `Trajectories` that grows: all systems in one, frames of stopped ones masked."""

    def __init__(self, path: str | Path) -> None:
        self.path, self.skip, self.begun = Path(path), 0, False
        self.buffer: list[tuple[int, Tensor, Tensor, Tensor]] = []

    def begin(self, run: Stepper, header: Header, resume: bool) -> None:
        from trajlab.data import store

        self.header, self.stride = header, run.stride
        if resume and self.path.exists():
            self.skip, self.begun = store.info(self.path)["committed"]["time"], True

    def frame(self, run: Stepper) -> None:
        """Keep the present frame until there are enough to extend the store."""
        if self.skip > run.step // self.header.about["write_every"]:
            return
        n, nodes, like = len(self.header.start.scene), run.nodes, run.p.x
        x, v = like.new_full((n, 3), torch.nan), like.new_full((n, 3), torch.nan)
        x[nodes], v[nodes] = run.p.x, run.p.v
        mask = torch.zeros(n, dtype=torch.bool, device=like.device)
        mask[nodes] = True
        self.buffer.append((run.step, x, v, mask))
        if len(self.buffer) >= ZARR_FRAMES:
            self.flush()

    def flush(self) -> None:
        """Extend the store by what was gathered."""
        from trajlab.data import store

        if not self.buffer:
            return
        steps = torch.tensor([b[0] for b in self.buffer], dtype=torch.float64)
        x, v, mask = (torch.stack([b[k] for b in self.buffer], 1) for k in (1, 2, 3))
        time = self.header.origin[:, None].cpu() + steps * self.stride
        part = self.header.start.replace(x=x, time=time.to(x.device), mask=mask, extra={"velocity": v}, units=Units.md(),
                                         source=dict(self.header.about))
        if self.begun:
            store.append(self.path, part)
        else:
            store.save(part, self.path, overwrite=True, chunk_frames=ZARR_FRAMES)
        self.begun, self.buffer = True, []

    def end(self) -> None:
        self.flush()

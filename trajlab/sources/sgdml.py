"""sGDML force fields: DFT-quality forces for one molecule from a kernel of its inverse distances.

A model file (`.npz`, the format of the sGDML package before version 0.4) holds 1 000 training points. The descriptor of a
configuration is x_p = 1/r_ij for every pair i > j; with a training point X, its coefficients A and a Matern kernel of width sigma,

    u = x - X,   rho = sqrt(5) |u| / sigma,   w = 5 / (3 sigma^2) exp(-rho),
    E = c + sum w (1 + rho) (u . A),
    dE/dx = sum [ w (1 + rho) A - (5 / sigma^2) w (u . A) u ],   F_i = sum_j (dE/dx_ij) (x_i - x_j) / r_ij^3,

where the sums run over training points and the permutations of equivalent atoms. Source: Chmiela et al., Nature Communications 9,
3887 (2018). |u|^2 and u . A are expanded into matrix products, and the permutations are applied to the descriptor, not to the
training points, so that a batch of replicas reads the training points once.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.particles import Particles
from trajlab.units import KCAL_MOL

ROWS = 64  #: descriptors (replicas times permutations) at a time, so that the intermediate products stay in the cache


class SGDML:
    """The potential of one molecule, batched over replicas: energies in eV, forces in eV/Angstrom, always float64.

    In single precision the forces would be meaningless: the sum cancels from hundreds of thousands of kcal/mol.

    Args:
        path: the model file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, or is not an sGDML model of the old format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        model = _read(self.path)
        self.z = torch.as_tensor(np.asarray(model["z"], dtype=np.int64))
        atoms = len(self.z)
        points = np.asarray(model["Rt_desc"], dtype=np.float64).T
        alpha = np.asarray(model["Rt_d_desc_alpha"], dtype=np.float64).reshape(len(points), -1)
        pairs = atoms * (atoms - 1) // 2
        if points.shape[1] != pairs or alpha.shape != points.shape:
            raise ValueError(f"{self.path} has {atoms} atoms and so {pairs} pairs, but descriptors {points.shape} and coefficients {alpha.shape}")
        self.sigma, self.offset = float(model["sig"]), float(model["c"])
        self.row, self.column = (torch.as_tensor(i) for i in np.tril_indices(atoms, -1))
        self.forward, self.backward = _pair_permutations(np.asarray(model["perms"]), atoms)
        self.middle = torch.as_tensor(points.mean(0))  # descriptors are centred here: |u|^2 then cancels less
        centred = torch.as_tensor(points) - self.middle
        self.both = torch.cat([centred, torch.as_tensor(alpha)])  # [2 x point, pair]
        self.norm = centred.square().sum(1)
        self.shift = (centred * torch.as_tensor(alpha)).sum(1)
        self.low, self.high = torch.as_tensor(points.min(0)), torch.as_tensor(points.max(0))
        self.provenance = {"potential": "sGDML", "file": self.path.name, "citation": "Chmiela et al., Nat. Commun. 9, 3887 (2018)"}

    def to(self, device: torch.device | str) -> SGDML:
        """Move the training points; returns itself."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))
        return self

    def __call__(self, p: Particles) -> tuple[Float[Tensor, "scene"], Float[Tensor, "node 3"]]:
        """Energies ``[scene]`` in eV and forces ``[node 3]`` in eV/Angstrom of replicas of this molecule.

        Raises:
            ValueError: a system is not this molecule with its atoms in the order of the model.
        """
        x = self._molecules(p)
        span = x[:, self.row] - x[:, self.column]
        inverse = span.square().sum(-1).rsqrt()
        energy, slope = self._kernel(inverse)
        pair = (slope * inverse**3)[..., None] * span
        force = torch.zeros_like(x).index_add_(1, self.row, pair).index_add_(1, self.column, pair, alpha=-1)
        return energy * KCAL_MOL, force.reshape(p.x.shape) * KCAL_MOL

    def check(self, p: Particles) -> None:
        """Refuse geometries far outside the training points, where the kernel extrapolates without warning.

        Raises:
            ValueError: an inverse distance lies outside the range of the training points by half that range and 0.1/Angstrom.
        """
        x = self._molecules(p)
        inverse = (x[:, self.row] - x[:, self.column]).square().sum(-1).rsqrt()
        slack = 0.5 * (self.high - self.low) + 0.1
        out = (inverse < self.low - slack) | (inverse > self.high + slack)
        if bool(out.any()):
            scene, pair = (int(i) for i in out.nonzero()[0])
            raise ValueError(
                f"system {scene}: atoms {int(self.row[pair])} and {int(self.column[pair])} are {1 / float(inverse[scene, pair]):.2f} Angstrom "
                f"apart, but {1 / float(self.high[pair]):.2f} to {1 / float(self.low[pair]):.2f} in the training of {self.path.name}. "
                "Put the atoms into the order of the model, and start from the isomer it was trained on"
            )

    def geometry(self, point: int = 0) -> Float[Tensor, "node 3"]:
        """Positions ``[node 3]`` of a training point, in Angstrom, about their mean, rebuilt from all its distances.

        Classical scaling: with the squared distances D and the centring matrix J, the leading eigenvectors of -J D J/2 times the
        roots of their eigenvalues. Chirality is lost; the kernel does not see it.
        """
        n = len(self.z)
        square = torch.zeros(n, n, dtype=torch.float64)
        square[self.row.cpu(), self.column.cpu()] = (self.both[point] + self.middle).cpu() ** -2
        centre = torch.eye(n, dtype=torch.float64) - 1 / n
        value, vector = torch.linalg.eigh(-0.5 * centre @ (square + square.T) @ centre)
        return vector[:, -3:] * value[-3:].clamp(min=0).sqrt()

    def _molecules(self, p: Particles) -> Tensor:
        atoms = len(self.z)
        if len(p.kind) != atoms * p.n_scenes or not bool((p.kind.view(p.n_scenes, -1) == self.z).all()):
            raise ValueError(
                f"{self.path.name} is the force field of {_formula(self.z)} in this order of atoms; got {p.n_scenes} systems, the first "
                f"{_formula(p.kind[p.scene == 0])}. Reorder the atoms, or choose the model of the molecule you have"
            )
        return p.x.double().view(p.n_scenes, atoms, 3)

    def _kernel(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energy (kcal/mol) and its derivative by each inverse distance, a few rows at a time."""
        chunk = max(1, ROWS // len(self.forward))
        parts = [self._rows(part) for part in (x - self.middle).split(chunk)]
        return torch.cat([e for e, _ in parts]), torch.cat([d for _, d in parts])

    def _rows(self, x: Tensor) -> tuple[Tensor, Tensor]:
        copies, points = len(self.forward), len(self.norm)
        images = (x + self.middle)[:, self.forward] - self.middle if copies > 1 else x[:, None]
        images = images.reshape(-1, x.shape[1])
        dots = images @ self.both.T
        square = torch.add(self.norm, dots[:, :points], alpha=-2).add_(images.square().sum(1, keepdim=True)).clamp_(min=0)
        minus_rho = square.sqrt_().mul_(-(5**0.5) / self.sigma)
        weight = torch.exp(minus_rho).mul_(5 / (3 * self.sigma**2))
        projection = dots[:, points:] - self.shift  # u . A
        factors = torch.empty_like(dots)
        pull = torch.mul(projection, weight, out=factors[:, :points]).mul_(5 / self.sigma**2)  # contiguous halves: one product below
        push = torch.mul(torch.rsub(minus_rho, 1), weight, out=factors[:, points:])
        energy = (push * projection).sum(1)
        slope = torch.addmm(-pull.sum(1, keepdim=True) * images, factors, self.both)
        if copies > 1:
            slope = slope.view(len(x), copies, -1).gather(2, self.backward.expand(len(x), -1, -1)).sum(1)
        return energy.view(len(x), copies).sum(1) + self.offset, slope


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no sGDML model at {path}; trajlab.sources.cards fetches the published ones, or pass folder= with local files")
    try:
        with np.load(path, allow_pickle=False) as file:
            model = {key: file[key] for key in ("z", "Rt_desc", "Rt_d_desc_alpha", "perms", "sig", "c") if key in file}
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path} ({path.stat().st_size} bytes) cannot be read as an sGDML model ({error}). "
                         "Fetch it again; it may be truncated") from error
    missing = [key for key in ("z", "Rt_desc", "Rt_d_desc_alpha", "perms", "sig", "c") if key not in model]
    if missing:
        raise ValueError(f"{path} is not an sGDML model of the format before 0.4: it lacks {', '.join(missing)}")
    return model


def _pair_permutations(perms: np.ndarray, atoms: int) -> tuple[Tensor, Tensor]:
    """For each permutation of atoms that of the pairs, and its inverse. The files count atoms from one."""
    perms = np.atleast_2d(perms).astype(np.int64)
    perms = perms - perms.min()
    index = np.zeros((atoms, atoms), dtype=np.int64)
    row, column = np.tril_indices(atoms, -1)
    index[row, column] = index[column, row] = np.arange(len(row))
    forward = torch.as_tensor(index[perms[:, row], perms[:, column]])
    # a training point permuted by s against x is the training point against x permuted by the inverse of s
    backward = torch.argsort(forward, dim=1)
    return backward, forward


def _formula(z: Tensor) -> str:
    from ase.data import chemical_symbols

    return " ".join(chemical_symbols[int(i)] for i in z)

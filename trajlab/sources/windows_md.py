"""Short energy-conserving windows of molecules, for models of whole trajectories: 30 frames of 5 fs at 500 K by default.

The windows follow the protocol of the MD17 trajectory benchmarks (frames of 0.5 fs, every tenth kept; Han, Xu, Lou, Ye and Ermon,
"Geometric Trajectory Diffusion Models", 2024), but come from the published sGDML force fields rather than from the MD17 files, and
from independent canonical starts rather than from one run: their figures are close to the published ones, not comparable with them.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from trajlab.data.windows import windows
from trajlab.sources.simulate import build, find, simulate
from trajlab.types import Trajectories

FAR = 4  #: the hop of all pairs that are more than three bonds apart


def molecule_windows(name: str, n: int, frames: int = 30, spacing: float = 5.0, temperature: float = 500.0, *, seed: int = 0,
                     folder: str | Path | None = None, per: int = 1, hop: int = 10, **changes: Any) -> Trajectories:
    """Windows of a molecule's reference dynamics, each a scene.

    Args:
        name: a molecule of `trajlab.sources.TABLE`, or ``"xtb:<molecule or file>"``.
        n: number of windows.
        frames: in each.
        spacing: of the frames, fs, a multiple of the step of 0.5 fs.
        temperature: of the canonical starts, K.
        seed: of the random numbers. Take another for each of training, validation and test.
        folder: local files instead of downloads.
        per: windows cut from one NVE segment, ``hop`` frames apart. With ``hop < frames`` they overlap: they share ``context["run"]``, and
            that many windows are worth fewer independent ones.
        changes: further settings of `trajlab.sources.recipes.MDRecipe` (``dt``, ``replicas``, ``decorrelate``, ``equilibrate``), ``quiet``.
            By default every segment is a replica of its own, up to 64, and 500 fs of Langevin dynamics lie between segments of a replica.

    Returns:
        ``extra["velocity"]``, ``static["mass"]``, ``static["hop"] [node atom]``: bonds between two atoms (see `hops`), ``context["run"]``: the
        segment, ``context["replica"]``: the run the segment was cut from, ``context["temperature"]``. Absolute positions and orientations are
        those of the simulation; total momentum and angular momentum are zero.

    Raises:
        ValueError: no such molecule, a crystal, or a number is out of range.
        FileNotFoundError, ConnectionError: the file of the force field is missing.
        RuntimeError: a bond broke.
    """
    if n < 1 or frames < 2 or per < 1 or hop < 1:
        raise ValueError(f"n={n}, frames={frames}, per={per}, hop={hop}: at least 1, 2, 1 and 1 were wanted")
    recipe = find(name)
    _, rest = build(recipe, folder)
    if rest.cell is not None:
        raise ValueError(f"{name} is a crystal; windows with bond distances are made of molecules, such as 'uracil' or 'xtb:methanol'")
    segments = -(-n // per)
    settings = {"dt": 0.5, "decorrelate": 500.0, "replicas": min(64, segments)} | changes
    long = simulate(recipe, folder=folder, frames=frames + (per - 1) * hop, stride=spacing, pairs=segments, temperature=temperature, seed=seed,
                    **settings)
    context = {k: v for k, v in long.context.items() if k != "run"}
    own = long.replace(context=context | {"replica": long.context["run"], "run": torch.arange(long.n_scenes)})
    cut = windows(_spread(own, segments), frames, hop=hop).scenes(slice(0, n))
    near = hops(rest.kind, rest.x)
    source = {**cut.source, "what": "windows of reference molecular dynamics", "per_segment": per, "hop": hop}
    return cut.replace(static={**cut.static, "hop": near.repeat(cut.n_scenes, 1)}, source=source)


def _spread(segments: Trajectories, n: int) -> Trajectories:
    """The first ``n`` segments in the order in which replicas take turns, so that dropping the last ones costs no replica."""
    replica = segments.context["replica"]
    rounds = len(replica) // (int(replica.max()) + 1)
    turn = torch.arange(len(replica)).reshape(-1, rounds).T.flatten()[:n]
    return segments.scenes(turn.sort().values)


def hops(kind: Int[Tensor, "atom"], x: Tensor) -> Int[Tensor, "atom atom"]:
    """Number of bonds between any two atoms: 0 on the diagonal, 1 to 3, and 4 for all that are further or not connected.

    Bonds are pairs within 1.2 times the sum of the covalent radii in the geometry given, which should be the reference geometry rather than
    a frame at temperature. The published rule (within 1.6 Angstrom in the first frame) gives the same graphs for the molecules of MD17, except
    where a bond happens to be stretched beyond it in that frame.

    Args:
        kind: atomic numbers.
        x: positions, ``[atom 3]``, Angstrom.
    """
    from ase.data import covalent_radii

    radius = torch.as_tensor(covalent_radii, dtype=torch.float64)[kind]
    bonded = torch.cdist(x.double(), x.double()) < 1.2 * (radius[:, None] + radius)
    return bond_distances(bonded.fill_diagonal_(False))


def bond_distances(bonded: Tensor) -> Int[Tensor, "atom atom"]:
    """Shortest paths on a bond graph ``[atom atom]``, cut off at `FAR`."""
    far = torch.full(bonded.shape, FAR, dtype=torch.long)
    for start in range(len(bonded)):
        far[start, start] = 0
        queue = deque([start])
        while queue:
            here = queue.popleft()
            for there in bonded[here].nonzero().flatten().tolist():
                if there != start and far[start, there] > far[start, here] + 1:
                    far[start, there] = far[start, here] + 1
                    queue.append(there)
    return far

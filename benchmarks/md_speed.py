"""What a step of molecular dynamics costs: ``python benchmarks/md_speed.py [--data FOLDER] [--mace]``.

CPU milliseconds a step and simulated femtoseconds a CPU second, one thread, float32 nets with random weights (cost does not depend
on them), for the published presets and our default on paracetamol (20 atoms, cutoff 4 Angstrom, stride 7 fs) and alpha-quartz (243
atoms, cutoff 4 Angstrom, stride 30 fs), beside the reference potentials at the same batch size and, where ``mace-torch`` is installed,
a MACE model of like size. Compare batched with batched: the batch stands in every row.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from trajlab.dynamics.particles import Particles, Potential
from trajlab.evaluate.speed import Cost, moving, presets, reference_cost, step_cost, training_ms, untrained
from trajlab.sources.sampling import replicate
from trajlab.sources.simulate import build

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "md"
SYSTEMS = {"paracetamol": (4.0, 7.0), "quartz": (4.0, 30.0)}  # cutoff in Angstrom, stride in fs
#: How each reference is built, its system, its time step in fs, and the batches that are timed.
REFERENCES = {
    "sGDML": ("paracetamol", "paracetamol", 0.5, (1, 64)),
    "GFN2-xTB": ("xtb:paracetamol", "paracetamol", 0.5, (1,)),
    "Vashishta 1994, torch": ("quartz", "quartz", 1.0, (1,)),
}


def folder_of(name: str, data: Path) -> Path:
    return data / "sgdml_models" if name == "paracetamol" else data


def start(name: str, data: Path) -> tuple[Potential, Particles] | str:
    """The potential and one system, or why there is none."""
    try:
        if name == "xtb:paracetamol":
            potential, _ = build(f"xtb:{data / 'sgdml_geometries' / 'paracetamol_sgdml.xyz'}")
            return potential, build("paracetamol", data / "sgdml_models")[1]
        return build(name, folder_of(name, data) if data.is_dir() else None)
    except (ImportError, OSError, ValueError) as error:
        return str(error)


def surrogates(system: str, p: Particles, quick: bool) -> tuple[list[Cost], list[str]]:
    cutoff, stride = SYSTEMS[system]
    costs, notes = [], []
    for name, config in presets(cutoff).items():
        model, built = untrained(config, p, stride)
        heavy = "paper" in name and system == "quartz"
        for batch in (1,) if heavy or system == "quartz" else (1, 64):
            costs.append(step_cost(name, system, model, moving(replicate(p, batch)), 3 if heavy else 5 if quick else 15))
        text = f"{name} on {system}: {sum(w.numel() for w in model.fitted.parameters()):,} parameters, built in {built:.3f} s (imports apart)"
        if system == "paracetamol":
            text += f", training step {training_ms(model, moving(replicate(p, 10)), 3 if quick else 7):.1f} ms at batch 10"
        notes.append(text)
    return costs, notes


def mace_cost(system: str, p: Particles) -> list[Cost]:
    """Energy and forces of a MACE of like size (64x0e + 64x1o, 2 layers, random weights), if it is installed."""
    if find_spec("mace") is None:
        return []
    import numpy as np
    from ase import Atoms
    from e3nn import o3
    from mace import data, modules, tools

    numbers = sorted(set(p.kind.tolist()))
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    model = modules.ScaleShiftMACE(
        r_max=4.5, num_bessel=8, num_polynomial_cutoff=5, max_ell=2, interaction_cls=block, interaction_cls_first=block, num_interactions=2,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps("64x0e + 64x1o"), MLP_irreps=o3.Irreps("16x0e"), atomic_energies=np.zeros(len(numbers)), avg_num_neighbors=10.0,
        atomic_numbers=numbers, correlation=3, gate=torch.nn.functional.silu, atomic_inter_scale=1.0, atomic_inter_shift=0.0)
    cell = None if p.cell is None else p.cell[0].numpy()
    atoms = Atoms(p.kind.numpy(), p.x.numpy(), cell=cell, pbc=p.cell is not None)
    config = data.config_from_atoms(atoms)
    table = tools.AtomicNumberTable(numbers)
    batch = next(iter(tools.torch_geometric.dataloader.DataLoader([data.AtomicData.from_config(config, z_table=table, cutoff=4.5)], 1))).to_dict()

    def forces(_: Particles) -> None:
        model({k: v.clone() if torch.is_tensor(v) else v for k, v in batch.items()})

    return [reference_cost("MACE, like size", system, forces, p, 0.5 if system == "paracetamol" else 1.0, 5)]  # type: ignore[arg-type]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with sgdml_models/, sgdml_geometries/ and SiO.1994.vashishta")
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    costs, notes = [], []
    for system in SYSTEMS:
        made = start(system, options.data)
        if isinstance(made, str):
            print(f"-- {system} left out: {made}", file=sys.stderr)
            continue
        rows, told = surrogates(system, made[1], options.quick)
        costs += rows + mace_cost(system, made[1])
        notes += told
    for name, (how, system, dt, batches) in REFERENCES.items():
        made = start(how, options.data)
        if isinstance(made, str):
            print(f"-- {name} left out: {made}", file=sys.stderr)
            continue
        costs += [reference_cost(name, system, made[0], replicate(made[1], batch), dt, 3 if options.quick else 9) for batch in batches]
    print(f"{'system':12s} {'what':24s} {'batch':>5s} {'ms a call':>10s} {'advances fs':>11s} {'fs per CPU s':>13s}")
    for cost in sorted(costs, key=lambda c: (c.system, c.batch, -c.fs_per_second)):
        print(f"{cost.system:12s} {cost.name:24s} {cost.batch:5d} {cost.milliseconds:10.2f} {cost.advances:11g} {cost.fs_per_second:13.0f}")
    print(*notes, sep="\n")
    if options.out:
        options.out.write_text(json.dumps([{**vars(c), "fs_per_second": c.fs_per_second} for c in costs], indent=1))
    return 0 if costs else 1


if __name__ == "__main__":
    sys.exit(main())

"""Data sets and generators: reference molecular dynamics, N-body systems, pedestrians, cells and chaotic systems, each by name."""

from importlib import import_module
from typing import Any

TABLE: dict[str, str] = {
    "aspirin": "trajlab.sources.molecules:ASPIRIN",
    "ethanol": "trajlab.sources.molecules:ETHANOL",
    "malonaldehyde": "trajlab.sources.molecules:MALONALDEHYDE",
    "naphthalene": "trajlab.sources.molecules:NAPHTHALENE",
    "paracetamol": "trajlab.sources.molecules:PARACETAMOL",
    "salicylic_acid": "trajlab.sources.molecules:SALICYLIC_ACID",
    "toluene": "trajlab.sources.molecules:TOLUENE",
    "uracil": "trajlab.sources.molecules:URACIL",
    "xtb": "trajlab.sources.molecules:XTB_MOLECULE",
    "copper": "trajlab.sources.crystals:COPPER",
    "aluminium": "trajlab.sources.crystals:ALUMINIUM",
    "quartz": "trajlab.sources.crystals:QUARTZ",
}

#: Reference potentials: a function (system, folder) -> (Potential, Particles at rest).
POTENTIALS: dict[str, str] = {
    "sgdml": "trajlab.sources.molecules:sgdml",
    "GFN2-xTB": "trajlab.sources.molecules:xtb",
    "emt": "trajlab.sources.crystals:emt",
    "vashishta": "trajlab.sources.crystals:vashishta",
}

#: Systems of bodies that `trajlab.sources.nbody.nbody` simulates.
NBODY: dict[str, str] = {
    "charged": "trajlab.sources.nbody:CHARGED",
    "springs": "trajlab.sources.nbody:SPRINGS",
    "gravity": "trajlab.sources.nbody:GRAVITY",
}

#: Recorded data: a function (folder, name of the part) -> training, validation and test trajectories.
DATA_SETS: dict[str, str] = {"eth_ucy": "trajlab.sources.pedestrians:eth_ucy"}

#: Series of sensors that stay where they are: a function of a folder -> one scene of `Trajectories` (METR-LA: and its adjacency).
SENSOR_SETS: dict[str, str] = {
    "prsa": "trajlab.sources.air_quality:prsa",
    "metr_la_week": "trajlab.sources.air_quality:metr_la_week",
}

#: Vehicles: a function (folder or None, rule=, share=, ...) -> training, validation and test windows; see `trajlab.sources.vehicles.vehicles`.
VEHICLES: dict[str, str] = {
    "sumo": "trajlab.sources.vehicles:sumo",
    "sumo_lc3": "trajlab.sources.vehicles:sumo_lc3",
    "ngsim": "trajlab.sources.vehicles:ngsim",
}

#: Populations seen at several times: a function of a folder (None: downloaded) or of a recipe -> `Snapshots`.
SNAPSHOTS: dict[str, str] = {
    "lotka_volterra": "trajlab.sources.lotka_volterra:lotka_volterra",
    "repressilator": "trajlab.sources.repressilator:repressilator",
    "repressilator_proteins": "trajlab.sources.repressilator:repressilator_proteins",
    "vortex": "trajlab.sources.snapshot_vortex:snapshot_vortex",
    "bifurcation": "trajlab.sources.bifurcation:bifurcation",
    "embryoid": "trajlab.sources.snapshots_cells:embryoid",
    "hesc": "trajlab.sources.snapshots_cells:hesc",
    "haematopoiesis": "trajlab.sources.snapshots_cells:haematopoiesis",
    "pbmc": "trajlab.sources.snapshots_cells:pbmc",
}

#: Reference flows: a function (parameters) -> `trajlab.dynamics.flow_fields.Flow`.
FLOWS: dict[str, str] = {
    "linear_saddle": "trajlab.sources.flows:linear_saddle",
    "double_gyre": "trajlab.sources.flows:double_gyre",
    "bickley_jet": "trajlab.sources.flows:bickley_jet",
    "taylor_green": "trajlab.sources.flows:taylor_green",
    "abc_flow": "trajlab.sources.flows:abc_flow",
    "duffing": "trajlab.sources.flows:duffing",
}

#: Markov jump processes with known rates: a function (parameters) -> `trajlab.sources.jump_processes.JumpProcess`.
JUMP_PROCESSES: dict[str, str] = {
    "flashing_ratchet": "trajlab.sources.jump_processes:flashing_ratchet",
    "ion_channel": "trajlab.sources.jump_processes:ion_channel",
    "alanine_dipeptide": "trajlab.sources.jump_processes:alanine_dipeptide",
    "two_mode_switching": "trajlab.sources.jump_processes:two_mode_switching",
    "protein_folding": "trajlab.sources.jump_processes:protein_folding",
    "ring": "trajlab.sources.jump_processes:ring",
    "birth_death": "trajlab.sources.jump_processes:birth_death",
    "illness_death": "trajlab.sources.jump_processes:illness_death",
    "random": "trajlab.sources.jump_processes:random",
}

#: Flows that are computed first: a function (config) -> velocity, vorticity and scalar over time.
COMPUTED_FLOWS: dict[str, str] = {"plane_jet": "trajlab.sources.jet:plane_jet"}


def __getattr__(name: str) -> Any:
    """``trajlab.sources.chaos("Lorenz")`` without an import of its own: the module `trajlab.sources.chaos` can be called."""
    if name == "chaos":
        return import_module("trajlab.sources.chaos")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

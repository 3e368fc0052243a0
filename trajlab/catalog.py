"""What there is: the names of the front door, and the methods and sources with their tables, without importing any of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import Any

FRONT_DOOR = {
    # nouns
    "Trajectories": "trajlab.types:Trajectories",
    "Snapshots": "trajlab.types:Snapshots",
    "JumpPaths": "trajlab.types:JumpPaths",
    "Graph": "trajlab.types:Graph",
    "Forecast": "trajlab.types:Forecast",
    "Units": "trajlab.units:Units",
    # what people already have
    "read": "trajlab.data.read:read",
    "save": "trajlab.data.store:save",
    "load": "trajlab.data.store:load",
    "read_eth_ucy": "trajlab.data.adapters.eth_ucy:read_eth_ucy",
    "read_tracks": "trajlab.data.adapters.tracks:read_tracks",
    "from_tracks": "trajlab.data.adapters.tracks:from_tracks",
    "TrackRule": "trajlab.data.adapters.tracks:TrackRule",
    "read_sumo": "trajlab.data.adapters.sumo:read_sumo",
    "read_commonroad": "trajlab.data.adapters.commonroad:read_commonroad",
    "read_argoverse": "trajlab.data.adapters.argoverse:read_argoverse",
    "argoverse_lanes": "trajlab.data.adapters.argoverse:argoverse_lanes",
    "write_argoverse_answers": "trajlab.data.adapters.argoverse_answers:write_argoverse_answers",
    "read_interaction": "trajlab.data.adapters.interaction:read_interaction",
    "interaction_lanes": "trajlab.data.adapters.interaction:interaction_lanes",
    "read_trajnet": "trajlab.data.adapters.trajnet:read_trajnet",
    "write_trajnet": "trajlab.data.adapters.trajnet_answers:write_trajnet",
    "read_trajnet_answers": "trajlab.data.adapters.trajnet_answers:read_trajnet_answers",
    "write_trajnet_answers": "trajlab.data.adapters.trajnet_answers:write_trajnet_answers",
    "read_nuscenes_arrays": "trajlab.data.adapters.nuscenes_arrays:read_nuscenes_arrays",
    "from_states": "trajlab.data.adapters.nuscenes_arrays:from_states",
    "to_states": "trajlab.data.adapters.nuscenes_arrays:to_states",
    "read_obsmat": "trajlab.data.adapters.obsmat:read_obsmat",
    "read_sdd": "trajlab.data.adapters.sdd:read_sdd",
    "read_sdd_trajnet": "trajlab.data.adapters.sdd:read_sdd_trajnet",
    "commonroad_lanes": "trajlab.data.adapters.commonroad:commonroad_lanes",
    "from_ase": "trajlab.data.adapters.ase:from_ase",
    "to_ase": "trajlab.data.adapters.ase:to_ase",
    "from_mdanalysis": "trajlab.data.adapters.mdanalysis:from_mdanalysis",
    "from_numpy": "trajlab.data.adapters.arrays:from_numpy",
    "to_numpy": "trajlab.data.adapters.arrays:to_numpy",
    "from_table": "trajlab.data.adapters.tables:from_table",
    "to_table": "trajlab.data.adapters.tables:to_table",
    "from_pyg": "trajlab.data.adapters.pyg:from_pyg",
    "to_pyg": "trajlab.data.adapters.pyg:to_pyg",
    "from_gluonts": "trajlab.data.adapters.gluonts:from_gluonts",
    "to_gluonts": "trajlab.data.adapters.gluonts:to_gluonts",
    "from_anndata": "trajlab.data.adapters.anndata:from_anndata",
    "to_anndata": "trajlab.models.cell_answers:to_anndata",
    "to_cellrank": "trajlab.data.adapters.anndata_out:to_cellrank",
    "gene_map": "trajlab.data.adapters.anndata_genes:gene_map",
    "snapshots_from_numpy": "trajlab.data.adapters.snapshot_arrays:snapshots_from_numpy",
    "snapshots_to_numpy": "trajlab.data.adapters.snapshot_arrays:snapshots_to_numpy",
    "snapshots_from_table": "trajlab.data.adapters.snapshot_arrays:snapshots_from_table",
    "snapshots_to_table": "trajlab.data.adapters.snapshot_arrays:snapshots_to_table",
    "jumps_from_table": "trajlab.data.adapters.jump_tables:jumps_from_table",
    "jumps_from_signal_table": "trajlab.data.adapters.jump_tables:jumps_from_signal_table",
    "jumps_to_table": "trajlab.data.adapters.jump_tables:jumps_to_table",
    "jumps_from_numpy": "trajlab.data.adapters.jumps:jumps_from_numpy",
    "jumps_from_signal": "trajlab.data.adapters.jumps:jumps_from_signal",
    "jumps_from_dtrajs": "trajlab.data.adapters.jumps:jumps_from_dtrajs",
    "jumps_to_numpy": "trajlab.data.adapters.jumps:jumps_to_numpy",
    "cut_jumps": "trajlab.data.adapters.jump_pieces:cut_jumps",
    "jump_windows": "trajlab.data.adapters.jump_pieces:jump_windows",
    "concat_jumps": "trajlab.data.adapters.jump_pieces:concat_jumps",
    "select_paths": "trajlab.data.adapters.jump_pieces:select_paths",
    "LaneMap": "trajlab.data.lanes:LaneMap",
    "split": "trajlab.data.splits:split",
    "windows": "trajlab.data.windows:windows",
    "concat": "trajlab.data.batches:concat",
    "finite_differences": "trajlab.data.velocities:finite_differences",
    # data sets and generators
    "nbody": "trajlab.sources.nbody:nbody",
    "chaos": "trajlab.sources.chaos:chaos",
    "eth_ucy": "trajlab.sources.pedestrians:eth_ucy",
    "vehicles": "trajlab.sources.vehicles:vehicles",
    "vehicle_windows": "trajlab.sources.vehicle_windows:vehicle_windows",
    "VehicleRule": "trajlab.sources.vehicle_windows:VehicleRule",
    "simulate_sumo": "trajlab.sources.sumo:simulate_sumo",
    "SumoConfig": "trajlab.sources.sumo:SumoConfig",
    "prsa": "trajlab.sources.air_quality:prsa",
    "cell_snapshots": "trajlab.sources.snapshots_cells:cell_snapshots",
    "molecule_windows": "trajlab.sources.windows_md:molecule_windows",
    "jump_process": "trajlab.sources.jump_processes:jump_process",
    "simulate_jumps": "trajlab.dynamics.jumps.simulate:simulate",
    # methods
    "TrajCast": "trajlab.models.trajcast:TrajCast",
    "TrajCastConfig": "trajlab.models.trajcast_config:TrajCastConfig",
    "GeoTDM": "trajlab.models.geotdm:GeoTDM",
    "GeoTDMConfig": "trajlab.models.geotdm_config:GeoTDMConfig",
    "Sampling": "trajlab.models.geotdm_sampling:Sampling",
    "Motion": "trajlab.models.motion.motion:Motion",
    "MotionConfig": "trajlab.models.motion.motion_config:MotionConfig",
    "KinematicHead": "trajlab.models.motion.head:KinematicHead",
    "TrajCastDynamics": "trajlab.models.driver:TrajCastDynamics",
    "Ensemble": "trajlab.models.ensemble:Ensemble",
    "rollout": "trajlab.models.rollout:rollout",
    "RolloutConfig": "trajlab.models.rollout:RolloutConfig",
    "TrainConfig": "trajlab.train.config:TrainConfig",
    # cells: fates and genes
    "SchrodingerBridge": "trajlab.models.sbirr:SchrodingerBridge",
    "SchrodingerBridgeConfig": "trajlab.models.sbirr_config:SchrodingerBridgeConfig",
    "BridgeFlow": "trajlab.models.bridge_flow:BridgeFlow",
    "BridgeFlowConfig": "trajlab.models.bridge_flow_config:BridgeFlowConfig",
    "fate": "trajlab.models.fates:fate",
    "terminal_sets": "trajlab.models.fates:terminal_sets",
    "gene_trends": "trajlab.models.gene_trends:gene_trends",
    "lineage_drivers": "trajlab.models.drivers:lineage_drivers",
    "driver_jacobian": "trajlab.models.drivers:driver_jacobian",
    # jump processes
    "MarkovJump": "trajlab.models.jumps.markov_jump:MarkovJump",
    "MarkovJumpConfig": "trajlab.models.jumps.markov_jump_config:MarkovJumpConfig",
    "jump_log_likelihood": "trajlab.models.jumps.parametric:jump_log_likelihood",
    "ZeroShot": "trajlab.models.jumps.zero_shot:ZeroShot",
    "ZeroShotConfig": "trajlab.models.jumps.zero_shot_config:ZeroShotConfig",
    "FIMMJP": "trajlab.models.jumps.fim_mjp:FIMMJP",
    "FIMMJPConfig": "trajlab.models.jumps.fim_mjp_config:FIMMJPConfig",
    # sensors
    "AirPhyNet": "trajlab.models.air.airphynet:AirPhyNet",
    "AirPhyNetConfig": "trajlab.models.air.airphynet_config:AirPhyNetConfig",
    # from noise to data
    "sample": "trajlab.samplers.sample:sample",
    "Denoiser": "trajlab.paths.denoiser:Denoiser",
    "Edm": "trajlab.paths.denoiser:Edm",
    "Grid": "trajlab.samplers.grids:Grid",
    # equations
    "VectorField": "trajlab.dynamics.fields:VectorField",
    "solve_ode": "trajlab.dynamics.ode:solve",
    # thermostats
    "NVE": "trajlab.dynamics.thermostats:NVE",
    "Langevin": "trajlab.dynamics.thermostats:Langevin",
    "CSVR": "trajlab.dynamics.thermostats:CSVR",
    "Ramp": "trajlab.dynamics.thermostats:Ramp",
    # flows and their barriers
    "Flow": "trajlab.dynamics.flow_fields:Flow",
    "SampledVelocity": "trajlab.dynamics.sampled_velocity:SampledVelocity",
    "flow": "trajlab.sources.flows:flow",
    "flow_map": "trajlab.dynamics.flow_maps:flow_map",
    "ftle": "trajlab.dynamics.ftle:ftle",
    "shrink_lines": "trajlab.dynamics.shrink_lines:shrink_lines",
    "elliptic_barriers": "trajlab.dynamics.elliptic:elliptic_barriers",
    "averaged_vorticity": "trajlab.dynamics.active_barriers:averaged_vorticity",
    "plane_jet": "trajlab.sources.jet:plane_jet",
    "JetConfig": "trajlab.sources.jet:JetConfig",
    "cluster_levels": "trajlab.metrics.interface:cluster_levels",
    "find_interface": "trajlab.metrics.interface:find_interface",
    "conditional_average": "trajlab.metrics.interface_averages:conditional_average",
    "turbulent_interface": "trajlab.evaluate.turbulent_interface_tables:turbulent_interface",
    "InterfaceConfig": "trajlab.evaluate.turbulent_interface_config:InterfaceConfig",
    # judging
    "judge": "trajlab.evaluate.molecular:judge",
    "judge_forecast": "trajlab.evaluate.forecasts:judge_forecast",
    "judge_motion": "trajlab.evaluate.motion_page:judge_motion",
    "motion_scores": "trajlab.metrics.motion_scores:motion_scores",
    "MotionScoresConfig": "trajlab.metrics.motion_record:MotionScoresConfig",
    "report": "trajlab.report.page:report",
}

#: Rooms whose ``TABLE`` lists what can be asked for by name.
ROOMS = {
    "methods": "trajlab.models",
    "sources": "trajlab.sources",
    "nets": "trajlab.nets",
    "samplers": "trajlab.samplers",
    "paths": "trajlab.paths",
    "couplings": "trajlab.couplings",
}


def load(target: str) -> Any:
    """Import ``"package.module:name"`` and return the name."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def table(room: str) -> dict[str, str]:
    """The names of a room and where each is, without importing any of them.

    Raises:
        ValueError: there is no such room.
    """
    if room not in ROOMS:
        raise ValueError(unknown("room", room, ROOMS))
    return dict(import_module(ROOMS[room]).TABLE)


def find(name: str, room: str | None = None) -> Any:
    """The method, source or net of this name, imported; the first of them, in this order, where no room is named.

    Raises:
        ValueError: there is none; the nearest names are told.
    """
    tables = {place: table(place) for place in ([room] if room else ROOMS)}
    for names in tables.values():
        if name in names:
            return load(names[name])
    raise ValueError(unknown(room.removesuffix("s") if room else "method, source or net", name, [key for names in tables.values() for key in names]))


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a mistyped name: what it might have been, or all that there is."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are: {', '.join(sorted(known))}"
    return f"no {what} {name!r}; {hint}"


def need(module: str, extra: str, use: str) -> ModuleType:
    """Import an optional package where it is used; its absence is told with the command that installs it.

    Raises:
        ImportError: the package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise ImportError(f"{use} needs the package {module.partition('.')[0]}: pip install 'trajlab[{extra}]'") from error

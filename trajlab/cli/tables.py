"""What the rooms' tables say, without importing what they name."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trajlab import couplings, models, paths, samplers, sources
from trajlab.catalog import load, unknown

CHAOS = {"ode": "ordinary differential equation", "delay": "delay equation", "map": "map"}


def method(name: str) -> str:
    """Where a method is.

    Raises:
        ValueError: no such method (with the nearest that there is).
    """
    if name not in models.TABLE:
        raise ValueError(unknown("method", name, models.TABLE))
    return models.TABLE[name]


def config_of(name: str) -> Any:
    """The config of a method, torch-free: ``trajlab.models.trajcast:TrajCast`` has ``trajlab.models.trajcast_config:TrajCastConfig``."""
    module, _, kind = method(name).partition(":")
    return load(f"{module}_config:{kind}Config")


def presets(config: type) -> list[str]:
    """The named settings of a config: its class methods without an underscore."""
    return [name for name, value in vars(config).items() if isinstance(value, classmethod) and not name.startswith("_")]


def summary(target: str) -> str:
    """The first sentence about ``"module:name"``: of its docstring, or of the module's, read from the source."""
    module, _, name = target.partition(":")
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    own = next((ast.get_docstring(n) for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef) and n.name == name), None)
    text = ast.get_docstring(tree) if target in models.TABLE.values() else own or ast.get_docstring(tree)
    return re.split(r"(?<=\.)\s(?=[A-Z`])", " ".join((text or "").split()), maxsplit=1)[0].rstrip(".")


def setting(target: str) -> str:
    """What a recipe is made with, such as ``sgdml, ethanol``, read from the source."""
    module, _, name = target.partition(":")
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and any(getattr(t, "id", "") == name for t in node.targets):
            words = [a.value for a in node.value.args if isinstance(a, ast.Constant)]
            return f"{words[0]}, forces from {words[1]}" if len(words) == 2 else ", ".join(map(str, words))
    return ""


def groups() -> dict[str, dict[str, str]]:
    """Methods, baselines, sources, chaotic systems, samplers, paths, couplings and commands, each name with a few words."""
    from trajlab.cli import TABLE
    from trajlab.sources.chaos_names import KINDS, names

    return {
        "methods": {name: summary(target) for name, target in models.TABLE.items()},
        "baselines": {name: f"of motion: {summary(target)}" for name, target in models.MOTION_BASELINES.items()}
        | {name: f"of sensors: {summary(target)}" for name, target in models.STATION_FORECASTERS.items() if name not in models.TABLE},
        "sources": {name: setting(target) for name, target in sources.TABLE.items() if name != "xtb"}
        | {"xtb:MOLECULE": "any molecule by name or file, forces from GFN2-xTB"}
        | {name: setting(target) for name, target in sources.NBODY.items()}
        | {name: summary(target) for name, target in (sources.FLOWS | sources.COMPUTED_FLOWS).items()}
        | {name: f"jump process: {summary(target)}" for name, target in sources.JUMP_PROCESSES.items()}
        | {name: summary(target) for name, target in (sources.DATA_SETS | sources.VEHICLES | sources.SENSOR_SETS).items()}
        | {"chaos": f"{len(names())} chaotic systems (trajlab list chaos)"},
        "chaos": {name: CHAOS[kind] for kind in KINDS for name in names(kind)},
        "samplers": {name: summary(target) for name, target in samplers.TABLE.items()},
        "paths": {name: summary(target) for name, target in paths.TABLE.items()},
        "couplings": {name: summary(target) for name, target in couplings.TABLE.items()},
        "commands": {name: what for name, (_, what) in TABLE.items()},
    }

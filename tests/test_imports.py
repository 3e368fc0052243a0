"""Imports run one way, and the front door is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import trajlab

ROOT = Path(trajlab.__file__).parent
FLOORS = [
    {"units", "_checks", "types", "catalog"},
    {"data", "dynamics", "nets", "paths", "couplings"},
    {"sources", "samplers", "metrics"},
    {"guidance", "distil", "train"},
    {"models"},
    {"evaluate"},
    {"report"},
    {"cli"},
]
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            found.append((node.lineno, "relative"))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "trajlab":
            names = [node.module] if node.module != "trajlab" else [f"trajlab.{alias.name}" for alias in node.names]
            found += [(node.lineno, name) for name in names]
        elif isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names if alias.name.startswith("trajlab.")]
    return found


def test_imports_run_one_way():
    wrong = []
    for path in ROOT.rglob("*.py"):
        here = room_of(path)
        if here in ("__init__", "__main__"):
            continue
        for line, name in imports(path):
            there = name.split(".")[1] if "." in name else name
            if there in ("__version__", here) or (here in FLOORS[0] and there in FLOORS[0]):
                continue
            if there not in FLOOR or FLOOR[there] >= FLOOR[here]:
                wrong.append(f"{path.relative_to(ROOT)}:{line} ({here}) imports {name}")
    assert not wrong, "\n".join(wrong)


def test_every_room_has_a_floor():
    rooms = {room_of(p) for p in ROOT.rglob("*.py")} - {"__init__", "__main__"}
    assert rooms <= set(FLOOR)


def test_front_door_is_light():
    code = "import sys, trajlab; bad = {'torch', 'numpy', 'ase', 'matplotlib'} & set(sys.modules); assert not bad, bad"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_report_imports_no_torch():
    code = "import sys, trajlab.report; assert 'torch' not in sys.modules"
    if (ROOT / "report").is_dir():
        subprocess.run([sys.executable, "-c", code], check=True)

"""The pages are run, not trusted: python blocks in order in one namespace, console lines through the command line.

What says how long something takes is made small first, so that every page runs in seconds on tiny data.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from trajlab.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.M | re.S)
SMALL = [
    (r"steps=[\d_]+", "steps=12"), (r"--steps \d+", "--steps 12"), (r"\.run\([\d_]+\)", ".run(8)"),
    (r"TrajCastConfig\(\)", "TrajCastConfig(channels=8, blocks=1)"), (r"\bTrainConfig\(steps=12", "TrainConfig(steps=15"),
    (r"minutes=[\d.]+", "train=tl.TrainConfig(steps=15)"), (r"--minutes [\d.]+", "--steps 4"),
    (r"--pairs \d+", "--pairs 4"), (r"--n \d+", "--n 24"), (r"--draws \d+", "--draws 3"), (r"--evaluations \d+", "--evaluations 4"),
    (r"nbody\((.*?), \d+", r"nbody(\1, 24"), (r"draws=\d+", "draws=3"), (r"(simulate .*) --replicas \d+", r"\1"),
    (r"--duration [\d.]+", "--duration 0.1"),
    (r"pairs=[\d_]+", "pairs=4"), (r"replicas=[\d_]+", "replicas=2"),
]
SHORT = {"simulate md": ["--equilibrate", "20", "--decorrelate", "10", "--replicas", "2"],
         "fit trajcast": ["--batch", "4", "--channels", "8", "--blocks", "1"],
         "fit geotdm": ["--batch", "4", "--channels", "4", "--width", "8", "--layers", "1"]}
UNCHANGED = {"nanotraj.md"}  # has a test of its own


def blocks(page: Path) -> list[tuple[str, str, int]]:
    text = page.read_text(encoding="utf-8")
    return [(m[1], m[2], text[: m.start(2)].count("\n")) for m in BLOCK.finditer(text)]


def small(code: str) -> str:
    for pattern, replacement in SMALL:
        code = re.sub(pattern, replacement, code)
    return code


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p) and p.name not in UNCHANGED], ids=lambda p: str(p.relative_to(ROOT)))
def test_page_runs(page, capsys):
    space: dict = {"__name__": "page"}
    for language, code, line in blocks(page):
        code = small(code)
        if language == "python":
            exec(compile("\n" * line + code, str(page), "exec"), space)
        else:
            for command in re.findall(r"^\$ trajlab (.*)$", code, re.M):
                short = SHORT.get(" ".join(command.split()[:2]), [])
                assert main([*shlex.split(command), *short, "--debug"]) == 0, command
    capsys.readouterr()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_card_names_every_setting():
    from trajlab.models.trajcast_config import TrajCastConfig

    card = (ROOT / "docs" / "methods" / "trajcast.md").read_text(encoding="utf-8")
    assert not [f.name for f in fields(TrajCastConfig) if f"`{f.name}`" not in card]


def test_every_method_has_a_card():
    from trajlab import models

    assert not [name for name in models.TABLE if not (ROOT / "docs" / "methods" / f"{name}.md").is_file()]


def test_nanotraj_is_short_and_beats_ballistic_motion(capsys):
    page = ROOT / "docs" / "nanotraj.md"
    (_, code, _), = blocks(page)
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 60
    space: dict = {"__name__": "page"}
    exec(compile(code, str(page), "exec"), space)
    learned, ballistic = map(float, re.findall(r"(?:ahead:|ballistic) ([\d.]+)", capsys.readouterr().out))
    assert learned < ballistic / 4

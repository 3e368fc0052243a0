"""``trajlab prepare eth_ucy SCENE``: recorded data, cut into training, validation and test windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import tyro

from trajlab import sources
from trajlab.catalog import load
from trajlab.cli.options import command, parse, subject

DOCUMENT = """Cut recorded pedestrians into windows: all scenes but one to train on, that one to test.

Attributes:
    scene: tested on: eth, hotel, univ, zara1, zara2, or eth_native (the true clock).
    out: folder in which train.zarr, validation.zarr and test.zarr are written.
    folder: where the text files are; without it they are downloaded.
    given: frames.
    predicted: frames.
    least: pedestrians in a window: 1, or 2 as in Social GAN.
    agents: complete (seen in all frames) or present (seen in the last given frame, masked elsewhere).
    hop: frames between the beginnings of windows.
    stretched: warn, keep or correct the stretched clock of the ETH file.
    overwrite: replace what is there.
"""
PARTS = ("train", "validation", "test")


def options() -> type:
    own = [("scene", tyro.conf.Positional[str], MISSING), ("out", Path, Path("pedestrians")), ("folder", Path | None, None), ("given", int, 8),
           ("predicted", int, 12), ("least", int, 1), ("agents", str, "complete"), ("hop", int, 1), ("stretched", str, "warn"),
           ("overwrite", bool, False)]
    return command("Prepare", DOCUMENT, own)


def run(arguments: Sequence[str]) -> None:
    """Read, cut and store."""
    name, rest = subject(arguments, "data set", list(sources.DATA_SETS), "prepare")
    given: Any = parse(options(), rest, f"prepare {name}")
    targets = [given.out / f"{part}.zarr" for part in PARTS]
    there = [str(path) for path in targets if path.exists()]
    if there and not given.overwrite:
        raise ValueError(f"{there[0]} exists; pass --overwrite to replace it, or another --out")

    from trajlab.data import store

    parts = load(sources.DATA_SETS[name])(given.folder, given.scene, given.given, given.predicted, least=given.least, agents=given.agents,
                                          hop=given.hop, stretched=given.stretched)
    given.out.mkdir(parents=True, exist_ok=True)
    for trajectories, path in zip(parts, targets):
        print(f"{path}: {trajectories}")
        store.save(trajectories, path, overwrite=given.overwrite)

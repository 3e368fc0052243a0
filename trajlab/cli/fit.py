"""``trajlab fit METHOD DATA --minutes 20 --out run/``: options are the method's config and the training config."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import tyro

from trajlab import models
from trajlab.catalog import load, unknown
from trajlab.cli.options import command, copied, parse, peek, subject
from trajlab.cli.tables import config_of, method, presets
from trajlab.cli.windows import forecasts_windows
from trajlab.train.config import TrainConfig

DOCUMENT = """Fit {name} and save it, with checkpoints and metrics, in a folder. The same command goes on where a killed one stopped.

Attributes:
    data: a zarr store or any file that trajlab.read takes.
    out: the run's folder.
    validation: trajectories of other runs to validate on; without it every tenth run is set aside.
    threads: of torch on the CPU, in each process; small nets are fastest with 1, and --devices 2 puts two cores to use.
    preset: where the settings below start from: {presets}.
    quiet: no progress bar.
"""
BUDGET = 20.0  #: minutes, where neither minutes nor steps are given
SHOWN = 100  #: windows of a first forecast
#: what is fitted on something else than trajectories in a file, and what reads the rest of its command
OTHERS = {"jumps": "trajlab.cli.fit_jumps:run"}
#: methods of other nouns, and the command that fits them
ELSEWHERE = {"sbirr": "it bridges snapshots of populations; use `trajlab bridge FILE`, which fits and judges it",
             "airphynet": "it learns from series of sensors, in Python: AirPhyNet(config).fit(series, validation), see docs/methods/airphynet.md",
             "markov_jump": "it infers rates from paths of states; use `trajlab infer FILE`, which fits and diagnoses it"}


def options(name: str, preset: str) -> type:
    """The options of ``trajlab fit NAME``."""
    config = config_of(name)
    named = presets(config)
    if preset and preset not in named:
        raise ValueError(unknown("preset", preset, named))
    own = [("data", tyro.conf.Positional[Path], MISSING), ("out", Path, Path("run")), ("validation", Path | None, None), ("preset", str, preset),
           ("threads", int, 1), ("quiet", bool, False)]
    return command("Fit", DOCUMENT.format(name=name, presets=", ".join(named)), own,
                   config=copied(config, getattr(config, preset)() if preset else config()), train=copied(TrainConfig))


def run(arguments: Sequence[str]) -> None:
    """Fit and save."""
    name, rest = subject(arguments, "method", [*models.TABLE, *OTHERS], "fit")
    if name in OTHERS:
        load(OTHERS[name])(rest)
        return
    if name in ELSEWHERE:
        raise ValueError(f"{name} is not fitted on trajectories: {ELSEWHERE[name]}")
    given: Any = parse(options(name, peek(rest, "--preset", "")), rest, f"fit {name}")
    config = config_of(name)(**vars(given.config))
    budget = {} if given.train.minutes or given.train.steps else {"minutes": BUDGET}
    train = TrainConfig(**{**vars(given.train), **budget})
    for path in (given.data, given.validation):
        if path is not None and not path.exists():
            raise FileNotFoundError(f"{path} does not exist; trajlab simulate makes reference data, and trajlab.read reads most files of atoms")

    import torch

    import trajlab

    torch.set_num_threads(given.threads)
    data = trajlab.read(given.data)
    validation = None if given.validation is None else trajlab.read(given.validation)
    model = load(method(name))(config)
    model.fit(data, validation=validation, train=train, folder=given.out, progress=not given.quiet, seed=train.seed)
    if hasattr(model, "about"):
        model.about["command"] = shlex.join(["trajlab", "fit", *arguments])
    where = model.save(given.out)
    start, scenes = (given.data, data.n_scenes) if validation is None else (given.validation, validation.n_scenes)
    print(f"{name} fitted on {given.data}; saved in {where}\nnext: {onward(name, config, where, start, scenes)}")


def onward(name: str, config: Any, run: Path, start: Path, scenes: int) -> str:
    """What to do with a fitted model: the command that uses it on the scenes of a file."""
    command = ["trajlab", "forecast", str(run), "--start", str(start)]
    if not forecasts_windows(name):
        return shlex.join([*command, "--steps", "1000", "--out", "forecast.zarr"])
    if not config.given:
        return f"in Python, trajlab.catalog.find({name!r}).load({str(run)!r}).sample(...): a model without given frames has nothing to forecast from"
    few = ["--windows", str(SHOWN)] if scenes > SHOWN else []
    return shlex.join([*command, *few, "--report", "forecast.html"])

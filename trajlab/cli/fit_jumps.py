"""``trajlab fit jumps --prior published --steps 30000 --out weights/``: train the zero-shot network of jump processes on a prior."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trajlab.cli.options import parse
from trajlab.models.jumps.zero_shot_config import ZeroShotConfig, prior_of


@dataclass(frozen=True)
class FitJumps:
    """Train the zero-shot network of Markov jump processes on random processes drawn on the fly; the same command goes on where a killed one stopped.

    Attributes:
        prior: published, wide, shipped, or a TOML or JSON file with settings of PriorConfig.
        steps: of the optimiser; each sees two groups of data sets, about 80 together.
        seed: of the processes, their observations and the first weights.
        out: folder of the weights (model.safetensors, model.json) and of the run's checkpoints and metrics.
        width: hidden features of each pair of states.
        layers: of the network.
        lr: learning rate at its top.
        threads: of torch; data sets are drawn in one more.
        quiet: no progress bar.
    """

    prior: str = "published"
    steps: int = 30_000
    seed: int = 0
    out: Path = Path("jump_weights")
    width: int = ZeroShotConfig.width
    layers: int = ZeroShotConfig.layers
    lr: float = 2e-3
    threads: int = 1
    quiet: bool = False


def run(arguments: Sequence[str]) -> None:
    """Train, judge on fresh tasks, save."""
    given = parse(FitJumps, arguments, "fit jumps")
    prior, config = prior_of(given.prior), ZeroShotConfig(width=given.width, layers=given.layers)

    import torch

    from trajlab.models.jumps.zero_shot import ZeroShot, recipe

    torch.set_num_threads(given.threads)
    model = ZeroShot(config).fit(prior, recipe(given.steps, given.seed, given.lr), given.out, progress=not given.quiet)
    model.about |= {"command": shlex.join(["trajlab", "fit", "jumps", *elsewhere(arguments)]), "accuracy": accuracy(model, given.prior)}
    where = model.save(given.out)
    for name, found in model.about["accuracy"].items():
        print(f"prior {name}: " + "  ".join(f"{key} {value:.4g}" for key, value in found.items()))
    print(f"saved in {where}; in Python: trajlab.ZeroShot.load({str(where)!r}).infer(paths)")


def elsewhere(arguments: Sequence[str]) -> list[str]:
    """The command as it goes into the record: without the folder that it happened to run in."""
    kept, skip = [], False
    for word in arguments:
        if not (skip or word == "--out" or word.startswith("--out=")):
            kept.append(word)
        skip = word == "--out"
    return kept


def accuracy(model: Any, prior: str) -> dict[str, dict[str, float]]:
    """Scores on fresh tasks of the prior that was trained on, and of the published one, whose paths all have one length of time."""
    from trajlab.models.jumps.zero_shot_fit import Objective
    from trajlab.models.jumps.zero_shot_validation import Validation

    plain = Validation(prior_of("published"), Objective(replace(model.config, stretched=0.0)))
    return {prior: Validation(prior_of(prior), Objective(model.config))(model.net), "as published": plain(model.net)}

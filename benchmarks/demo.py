"""``make demo``: fit TrajCast on the shipped sample, roll it out, judge it against reference and baselines, write a report.

Needs neither a network nor an extra. ``--minutes`` sets the time of training.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

import torch

from trajlab import Langevin, TrainConfig, TrajCast, TrajCastConfig, judge, report
from trajlab.evaluate.molecular import Evidence
from trajlab.models.baselines import Ballistic
from trajlab.models.ridge import Ridge
from trajlab.report.text import summary
from trajlab.sources.sample import Sample, sample

TEMPERATURE, TAU = 300.0, 350.0  #: K and fs, as the reference runs of the sample


def main(arguments: list[str] | None = None) -> Path:
    given = options(arguments)
    began = time.perf_counter()
    torch.set_num_threads(1)  # small nets gain nothing from threads; two processes share the training instead
    data = sample()
    print(f"sample: ethanol, GFN2-xTB, {data.train.n_scenes} pairs {data.train.spacing:g} fs apart for training, {data.test.n_scenes} for testing")
    models = {"TrajCast": fitted(data, given.minutes), **baselines(data)}
    evaluation = judged(data, models, given.picoseconds)
    page = report(evaluation).save(given.out)
    print(f"\n{summary(evaluation)}\n\ndone in {(time.perf_counter() - began) / 60:.1f} minutes; the report is {page.resolve()}")
    return page


def options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="fit, roll out, judge and report on the shipped sample")
    parser.add_argument("--minutes", type=float, default=3.5, help="of training (3.5)")
    parser.add_argument("--picoseconds", type=float, default=5.0, help="length of the roll-out (5, as long as the reference runs)")
    parser.add_argument("--out", type=Path, default=Path("runs/demo/report.html"), help="the report (runs/demo/report.html)")
    return parser.parse_args(arguments)


def fitted(data: Sample, minutes: float) -> TrajCast:
    settings = TrainConfig(minutes=minutes, devices=min(2, os.cpu_count() or 1), accelerator="cpu")
    print(f"fitting TrajCast for {minutes:g} minutes in {settings.devices} processes")
    model = TrajCast(TrajCastConfig()).fit(data.train, data.validation, train=settings)
    model.about["command"] = shlex.join(["python", *sys.argv])
    return model


def baselines(data: Sample) -> dict[str, Ballistic | Ridge]:
    print("fitting the baselines")
    return {"quadratic ridge": Ridge(degree=2).fit(data.train), "linear ridge": Ridge().fit(data.train), "ballistic": Ballistic(data.train.spacing)}


def judged(data: Sample, models: dict, picoseconds: float):
    model = models["TrajCast"]
    steps = max(20, round(1000 * picoseconds / model.stride))
    start = data.reference.frames([0])
    print(f"rolling out {2 * start.n_scenes} replicas x {steps * model.stride / 1000:.1f} ps under Langevin noise")
    future = model.forecast(start, steps=steps, draws=2, thermostat=Langevin(TEMPERATURE, TAU), seed=1)
    evidence = Evidence(models=models, test=data.test)
    return judge(future, data.reference, evidence=evidence, title="TrajCast on ethanol, 300 K: the demonstration")


if __name__ == "__main__":
    main()

"""Checks of the benchmark of motion: published windows and figures, Monte Carlo, the recursion, and the best of twenty paths."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trajlab.catalog import load
from trajlab.data.batches import concat
from trajlab.dynamics.kinematics import Controls, Start, propagate
from trajlab.dynamics.kinematics_joint import Step, joint_covariance, joint_prefix
from trajlab.dynamics.kinematics_path import path
from trajlab.evaluate.results import Table
from trajlab.models import MOTION_BASELINES
from trajlab.sources.pedestrians import SCENES, WindowRule, eth_ucy, pedestrian_windows, read_eth_ucy
from trajlab.types import Trajectories

__all__ = ["Agreement", "agreement", "agreement_table", "best_of_20", "pedestrian_rows", "recursion_error"]

STEPS, DT, GIVEN = 80, 0.1, 8
AT = (10, 20, 40, 80)  #: steps after which spreads are compared
CHUNK = 10_000
#: formulation, and mean and standard deviation of the two controls; the heading spreads to at most 0.2 rad
LINEAR = {
    "acceleration": ("acceleration", (0.2, 0.1), (1.0, 0.5)),
    "bicycle, heading to .11 rad": ("bicycle", (0.3, 0.03), (0.8, 0.03)),
    "bicycle, heading to .2 rad": ("bicycle", (0.3, 0.02), (0.5, 0.06)),
    "unicycle, heading to .2 rad": ("unicycle", (0.3, 0.1), (0.8, 0.22)),
}
HEADINGS = (0.1, 0.2, 0.4, 0.8)  #: rad, of speed + heading with exact moments
Agreement = dict[str, Any]


def pedestrian_rows(folder: str | Path, wanted: Mapping[str, Any]) -> tuple[Table, list[dict[str, Any]]]:
    """Windows, agents, ADE and FDE of baselines on ETH/UCY, under both rules for windows, beside the wanted figures.

    Args:
        folder: of the recordings.
        wanted: ``methods``, names of `trajlab.models.MOTION_BASELINES`; and under ``two`` and ``one`` for each scene windows, agents, and ADE and FDE
            of each method in turn (of as many as are given).

    Returns:
        The table, and for each scene, rule and method a record with ``found`` and ``wanted`` (windows, agents, ADE, FDE).
    """
    records, rows = [], []
    for least, rule in ((2, "two"), (1, "one")):
        for scene, figures in wanted[rule].items():
            test = concat([pedestrian_windows(read_eth_ucy(Path(folder) / f"{name}.txt", stretched="keep"), WindowRule(least=least))
                           for name in SCENES[scene]])
            pairs = list(zip(figures[2::2], figures[3::2], strict=True))
            found = [_errors(method, test) for method in wanted["methods"][: len(pairs)]]
            records += [{"scene": scene, "least": least, "method": method, "found": [test.n_scenes, test.n_nodes, *one],
                         "wanted": [*figures[:2], *pair]} for method, one, pair in zip(wanted["methods"], found, pairs)]
            shown = [f"{ade:.3f} / {fde:.3f}" for ade, fde in found]
            rows.append([scene, least, test.n_scenes, test.n_nodes, *shown, *[None] * (len(wanted["methods"]) - len(shown))])
    heads = ["scene", "pedestrians", "windows", "agents", *(name.replace("_", " ") for name in wanted["methods"])]
    note = ("ADE / FDE in m, 8 + 12 frames of 0.4 s, windows with at least so many pedestrians; heading noise is the best of 20 draws. The customary "
            "file of ETH is stretched in time by 10/6 and is used as published.")
    return Table("ETH/UCY: baselines on all test windows", heads, rows, note), records


def _errors(method: str, test: Trajectories) -> list[float]:
    """ADE and FDE over agents; the best of 20 draws of each agent where the method draws."""
    model, past = load(MOTION_BASELINES[method])().fit(test, GIVEN), test.frames(slice(0, GIVEN))
    draws = 20 if method == "heading_noise" else 1
    said = model.forecast(past, test.n_frames - GIVEN, draws=draws, generator=torch.Generator().manual_seed(0)).draws
    truth = test.x[:, GIVEN:]
    far = torch.stack([(one - truth).norm(dim=-1) for one in said])
    return [float(far.mean(-1).amin(0).mean()), float(far[..., -1].amin(0).mean())]


# ---- kinematics


def agreement(samples: int, seed: int = 0) -> list[Agreement]:
    """Standard deviations (root of the trace of the covariance of position) in closed form against paths drawn by the exact Euler step."""
    found = []
    for name, (formulation, mean, std) in LINEAR.items():
        one = torch.ones(STEPS, 2, dtype=torch.float64)
        found.append(_agreement(name, formulation, Controls(one * torch.tensor(mean).double(), one * torch.tensor(std).double()), samples, seed))
    for heading in HEADINGS:
        t = DT * torch.arange(STEPS).double()
        controls = Controls(torch.stack((torch.full_like(t, 10.0), 0.1 * t), -1), torch.tensor([0.5, heading]).double().expand(STEPS, 2))
        found.append(_agreement(f"speed + heading, exact, {heading:g} rad", "speed_heading", controls, samples, seed))
    return found


def _agreement(name: str, formulation: str, controls: Controls, samples: int, seed: int) -> Agreement:
    start = Start(torch.zeros(2).double(), torch.tensor([10.0, 0.0]).double(), torch.tensor(0.6).double())
    said = propagate(formulation, controls, start, DT, wheelbase=3.0)
    generator, total, square, count = torch.Generator().manual_seed(seed), 0.0, 0.0, 0
    while count < samples:
        noise = torch.randn(min(CHUNK, samples - count), STEPS, 2, generator=generator, dtype=torch.float64)
        off = path(formulation, controls.mean + controls.std * noise, start, DT, wheelbase=3.0) - said.mean
        total, square, count = total + off.sum(0), square + off.square().sum(0), count + len(off)
    mean: Tensor = total / count
    drawn = ((square - count * mean.square()) / (count - 1)).sum(-1).sqrt()
    closed = said.covariance.diagonal(dim1=-2, dim2=-1).sum(-1).sqrt()
    marginal = propagate(formulation, controls, start, DT, wheelbase=3.0, propagation="marginal").covariance.diagonal(dim1=-2, dim2=-1).sum(-1).sqrt()
    at = [n - 1 for n in AT]
    return {"case": name, "exact": formulation == "speed_heading", "drawn": drawn[at].tolist(), "closed": closed[at].tolist(),
            "marginal": marginal[at].tolist(), "error": float((closed[at] / drawn[at] - 1).abs().max()), "mean off": float(mean[-1].norm())}


def agreement_table(found: Sequence[Agreement], samples: int) -> Table:
    heads = ["case", *(f"{n} steps: drawn / closed / marginal, m" for n in AT[::3]), "largest error", "mean off at 80, m"]
    rows = []
    for one in found:
        pairs = list(zip(one["drawn"], one["closed"], one["marginal"], strict=True))[::3]
        rows.append([one["case"], *(" / ".join(f"{v:.3g}" for v in pair) for pair in pairs), f"{one['error']:.2%}", f"{one['mean off']:.2g}"])
    note = f"Standard deviation of position, 10 m/s, 0.1 s a step; {samples} paths drawn, by which it is known to {1 / math.sqrt(2 * samples):.2%}."
    return Table("Spread in closed form against Monte Carlo", heads, rows, note)


def recursion_error(cases: int = 20, seed: int = 0) -> dict[str, float]:
    """Largest error of nested and of prefix sums against the recursion ``P <- F P F^T + G Q G^T``, relative to sqrt(P_ii P_jj), for all entries."""
    g = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    w, q = normal(cases, STEPS).square(), normal(cases, STEPS).square()
    step = Step(*(0.3 * normal(cases, STEPS) for _ in range(5)), w, q, 0.7 * (w * q).sqrt())
    root = normal(cases, 4, 4)
    wanted = _recursion(step, root @ root.mT)
    scale = wanted.diagonal(dim1=-2, dim2=-1).sqrt()
    relative = lambda found, n: float(((found - wanted[..., :n, :n]) / (scale[..., :n, None] * scale[..., None, :n])).abs().max())  # noqa: E731
    return {"nested sums": relative(joint_covariance(step, root @ root.mT), 2), "prefix sums": relative(joint_prefix(step, root @ root.mT), 4)}


def _recursion(step: Step, begin: Tensor) -> Tensor:
    p, found = begin, []
    for t in range(step.speed_noise.shape[-1]):
        f = torch.eye(4, dtype=p.dtype).expand_as(p).clone()
        f[..., 0, 2], f[..., 0, 3], f[..., 1, 2], f[..., 1, 3] = (v[..., t] for v in (step.x_heading, step.x_speed, step.y_heading, step.y_speed))
        f[..., 2, 3] = step.heading_speed[..., t]
        noise = torch.zeros_like(p)
        noise[..., 2, 2], noise[..., 3, 3] = step.heading_noise[..., t], step.speed_noise[..., t]
        noise[..., 2, 3] = noise[..., 3, 2] = torch.as_tensor(step.cross_noise)[..., t]
        p = f @ p @ f.mT + noise
        found.append(p)
    return torch.stack(found, -3)


# ---- best of twenty


def best_of_20(task: tuple[str, int, int, str | None]) -> dict[str, Any]:
    """The reference forecaster of twenty paths: ADE and FDE of the best of 20 on the test windows with at least two pedestrians.

    Args:
        task: scene, seed, optimiser steps, and the folder of recordings or None.
    """
    import warnings

    from trajlab.models.motion.motion import Motion, MotionConfig
    from trajlab.models.motion.motion_fit import default_training

    scene, seed, steps, folder = task
    torch.set_num_threads(1)
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        train = eth_ucy(folder, scene)[0]
        test = eth_ucy(folder, scene, least=2)[2]
    plan = replace(default_training(None, seed), steps=steps, keep="last")
    model = Motion(MotionConfig.best_of_20()).fit(train, GIVEN, train=plan)
    draws = model.forecast(test.frames(slice(0, GIVEN)), draws=20).draws
    far = (draws - test.x[:, GIVEN:]).norm(dim=-1).double()
    miss = float(np.mean((far[..., -1].amin(0) > 2.0).numpy()))
    parameters = sum(p.numel() for p in model.fitted.parameters())
    return {"scene": scene, "seed": seed, "steps": steps, "ADE": float(far.mean(-1).amin(0).mean()), "FDE": float(far[..., -1].amin(0).mean()),
            "miss": miss, "agents": test.n_nodes, "windows": test.n_scenes, "parameters": parameters, "seconds": time.process_time() - began}

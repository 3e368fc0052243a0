"""The bridge step: the plan of every interval, closest to the reference with the snapshots as marginals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.couplings.sinkhorn import Plan, SinkhornConfig, sinkhorn
from trajlab.dynamics.linear_noise import LinearNoise, linear_noise
from trajlab.dynamics.references import Reference
from trajlab.dynamics.smoothing import pair_log_density, smoothed
from trajlab.dynamics.splitting import split
from trajlab.models.bridge_evidence import Evidence, Interval
from trajlab.models.sbirr_config import SchrodingerBridgeConfig

__all__ = ["bridge_step"]

TOP = 8  #: pairs of each row whose log-density is smoothed


def bridge_step(reference: Reference, intervals: Sequence[Interval], config: SchrodingerBridgeConfig, before: Sequence[Plan] | None = None,
                growth: float | None = None) -> Evidence:
    """Laws from every cell, log-kernels and plans.

    Args:
        reference: the process.
        intervals: neighbouring snapshots.
        config: its ``tolerance``, ``steps``, ``smoothing``, ``split`` and ``seed`` are used.
        before: plans of the iteration before, whose potentials the new ones start from.
        growth: penalty on the source marginals, None for balanced plans.

    Raises:
        Diverged: the reference blows up.
    """
    how = SinkhornConfig(config.tolerance, rho=(math.inf if growth is None else growth, math.inf))
    laws = [linear_noise(reference, one.x, one.duration, config.steps) for one in intervals]
    kernels, plans = [], []
    for number, (one, law) in enumerate(zip(intervals, laws)):
        start = None if before is None else (before[number].f, before[number].g)
        kernel = _kernel(reference, one, law, config, number)
        plan = sinkhorn(kernel, one.a, one.b, how, start)
        if config.smoothing and reference.linear is None and not config.split:
            kernel = _smoothed_kernel(reference, one, law, kernel, plan, config.smoothing)
            plan = sinkhorn(kernel, one.a, one.b, how, (plan.f, plan.g))
        kernels.append(kernel)
        plans.append(plan)
    return Evidence(reference, intervals, laws, plans, kernels, config.paths, config.seed, config.smoothing)


def _kernel(reference: Reference, one: Interval, law: LinearNoise, config: SchrodingerBridgeConfig, number: int) -> Float[Tensor, "source target"]:
    if not config.split or reference.linear is not None:
        return law.log_density(one.y)
    generator = torch.Generator().manual_seed(config.seed * 7919 + number)  # the same in every iteration
    return split(reference, one.x, one.duration, generator, 0.5, config.split, config.steps).log_density(one.y)


def _smoothed_kernel(reference: Reference, one: Interval, law: LinearNoise, kernel: Tensor, plan: Plan, passes: int) -> Tensor:
    """The kernel with the log-densities of the likeliest pairs of each source linearised about their own bridges."""
    target = plan.P.topk(min(TOP, len(one.y)), 1).indices
    source = torch.arange(len(one.x)).repeat_interleave(target.shape[1])
    ends = one.y[target.flatten()]
    better = pair_log_density(smoothed(reference, law.of(source), ends, passes), ends)
    found = kernel.clone()
    found[source, target.flatten()] = better
    return found

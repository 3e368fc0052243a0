"""What a suite will take before it runs, from the time of a few force calls."""

from __future__ import annotations

import time

import torch

from trajlab.dynamics.particles import Particles, Potential
from trajlab.evaluate.suite import Suite
from trajlab.sources.sampling import replicate


def seconds_per_call(potential: Potential, p: Particles, copies: int, calls: int = 3) -> float:
    """Wall time of one call for ``copies`` replicas."""
    many = replicate(p, copies)
    potential(many)
    began = time.perf_counter()
    for k in range(calls):
        potential(many.replace(x=many.x + 1e-4 * torch.sin(torch.full_like(many.x, float(k)))))
    return (time.perf_counter() - began) / calls


def expected(suite: Suite) -> dict[str, float]:
    """Minutes by stage, had nothing been cached: simulated pairs, reference runs under two thermostats, and training."""
    recipe, (potential, start) = suite.recipe, suite.built
    rounds = -(-recipe.pairs // recipe.replicas)
    steps = (recipe.equilibrate + rounds * (recipe.decorrelate + recipe.stride)) / recipe.dt
    pairs = steps * seconds_per_call(potential, start, recipe.replicas)
    replicas = suite.plan.reference["replicas"]
    long_steps = (1000 * suite.plan.reference["length_ps"] + recipe.equilibrate) / recipe.dt
    runs = 2 * long_steps * seconds_per_call(potential, start, replicas)
    return {f"{recipe.pairs} pairs from {recipe.replicas} replicas": pairs / 60,
            f"2 x {replicas} reference runs of {suite.plan.reference['length_ps']:g} ps": runs / 60,
            f"training of {len(suite.models)} models": suite.minutes * len(suite.models)}

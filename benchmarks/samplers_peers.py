"""The schedulers of diffusers on the same problems: called as its pipelines call them, with the net at the times they hand out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trajlab.evaluate.samplers import Problem

HEUN = lambda calls: (calls + 1) // 2  # noqa: E731  # two calls a step, one in the last


@dataclass(frozen=True)
class Peer:
    """A scheduler with its options.

    Attributes:
        scheduler: class of diffusers.
        options: arguments of its constructor.
        steps: of `set_timesteps`, for a number of calls.
    """

    scheduler: str
    options: dict[str, Any] = field(default_factory=dict)
    steps: Callable[[int], int] = lambda calls: calls

    def ready(self, steps: int) -> Any:
        """A fresh scheduler, set to ``steps`` steps; DDPM-linear betas of 1000 steps."""
        import diffusers

        kind = getattr(diffusers, self.scheduler)
        known = inspect.signature(kind.__init__).parameters
        clean = {"clip_sample": False, "set_alpha_to_one": True}  # ends at sigma = 0, as the others do
        found = kind(beta_start=1e-4, beta_end=2e-2, beta_schedule="linear", num_train_timesteps=1000,
                     **{k: v for k, v in clean.items() if k in known}, **self.options)
        found.set_timesteps(steps)
        return found


DPM, SINGLE, DEIS, UNIPC = "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler"
PEERS = {
    "DDIM leading": Peer("DDIMScheduler"),
    "PNDM (skip_prk)": Peer("PNDMScheduler", {"skip_prk_steps": True}, lambda calls: calls - 1),
    "DEIS3": Peer(DEIS, {"solver_order": 3}),
    "DEIS3 karras": Peer(DEIS, {"solver_order": 3, "use_karras_sigmas": True}),
    "DEIS3 exponential": Peer(DEIS, {"solver_order": 3, "use_exponential_sigmas": True}),
    "DPM++2M": Peer(DPM),
    "DPM++2M karras": Peer(DPM, {"use_karras_sigmas": True}),
    "DPM++2M lu": Peer(DPM, {"use_lu_lambdas": True}),
    "DPM++3M lu": Peer(DPM, {"solver_order": 3, "use_lu_lambdas": True}),
    "SDE-DPM++2M": Peer(DPM, {"algorithm_type": "sde-dpmsolver++"}),
    "DPM++2S": Peer(SINGLE, {"solver_order": 2}),
    "DPM++3S": Peer(SINGLE, {"solver_order": 3}),
    "UniPC3 bh2": Peer(UNIPC, {"solver_order": 3}),
    "UniPC2 exponential": Peer(UNIPC, {"solver_order": 2, "use_exponential_sigmas": True}),
    "UniPC2 bh1": Peer(UNIPC, {"solver_order": 2, "solver_type": "bh1"}),
    "Euler karras": Peer("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
    "Heun karras": Peer("HeunDiscreteScheduler", {"use_karras_sigmas": True}, HEUN),
    "LMS4": Peer("LMSDiscreteScheduler"),
    "SA-Solver tau 0": Peer("SASolverScheduler", {"tau_func": lambda _: 0.0}),
}
#: Which of them are timed.
TIMED = ("DDIM leading", "PNDM (skip_prk)", "DEIS3", "DPM++2M", "DPM++2M lu", "DPM++3M lu", "SDE-DPM++2M", "DPM++2S", "UniPC3 bh2",
         "Euler karras", "Heun karras", "LMS4", "SA-Solver tau 0")
#: Those that draw noise: timed, but not in the tables of errors to the end of the ODE.
STOCHASTIC = ("SDE-DPM++2M",)
#: What the bar on overhead is a fraction of: for multistep solvers that combine at most two predictions, for those of higher order, and for
#: those that add noise.
RIVALS = {"2": "DPM++2M", "3": "DPM++3M lu", "noise": "SDE-DPM++2M"}


def loop(scheduler: Any, net: Callable[[Tensor, Any], Tensor], start: Tensor, **more: Tensor) -> tuple[Tensor, int]:
    """The loop of a pipeline: the end, and how many calls it took. ``start`` is variance preserving; ``more`` goes to every step."""
    scales = float(getattr(scheduler, "init_noise_sigma", 1.0)) > 2  # Euler, Heun and LMS hold x / alpha
    x = start * (1 + float(scheduler.sigmas[0]) ** 2) ** 0.5 if scales else start
    calls = 0
    for t in scheduler.timesteps:
        eps = net(scheduler.scale_model_input(x, t), t)
        calls += 1
        x = scheduler.step(eps, t, x, **more).prev_sample
    return x, calls


def error_of(peer: Peer, problem: Problem, calls: int) -> tuple[float, int]:
    """Error to the exact clean end and calls made, states float32."""
    denoiser = problem.mixture.denoiser(problem.path)

    def net(x: Tensor, index: Any) -> Tensor:
        return denoiser(x, problem.path.level_at(1 - float(index) / 999)).eps

    with torch.no_grad():
        x, made = loop(peer.ready(peer.steps(calls)), net, problem.start.float())
    return problem.error(x), made


def bare_run(peer: Peer, steps: int, x: Tensor) -> Callable[[], Callable[[], object]]:
    """As `trajlab.evaluate.samplers.bare_run`: timesteps set before, steps timed with a net that costs nothing."""
    zero = torch.zeros_like(x)
    drawn = {"variance_noise": torch.ones_like(x)} if peer.options.get("algorithm_type", "").startswith("sde") else {}  # noise costs nothing, as ours

    def prepare() -> Callable[[], object]:
        scheduler = peer.ready(steps)
        return lambda: loop(scheduler, lambda _x, _t: zero, x, **drawn)

    return prepare

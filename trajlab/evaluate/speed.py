"""What a step costs: CPU milliseconds on one thread, and simulated time per CPU second, of surrogates and of what they replace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from trajlab.dynamics import kinetics
from trajlab.dynamics.particles import Particles, Potential
from trajlab.dynamics.streams import Streams
from trajlab.models.pairs import PairBatch
from trajlab.models.trajcast import TrajCast, TrajCastConfig
from trajlab.models.trajcast_fit import PairLoss
from trajlab.models.trajcast_step import TrajCastStep


@dataclass(frozen=True)
class Cost:
    """Cost of a call for ``batch`` systems at once: CPU ms a call, and what it advances each of them, in fs."""

    name: str
    system: str
    batch: int
    milliseconds: float
    advances: float

    @property
    def fs_per_second(self) -> float:
        """Simulated femtoseconds a CPU second, over all systems of the batch."""
        return self.advances * self.batch / (self.milliseconds * 1e-3)


def median_ms(call: Callable[[], object], repeats: int = 15, warm: int = 2) -> float:
    """Median CPU milliseconds of a call, after some to warm up."""
    taken = []
    for number in range(repeats + warm):
        began = time.process_time()
        call()
        if number >= warm:
            taken.append(time.process_time() - began)
    return 1e3 * sorted(taken)[len(taken) // 2]


def untrained(config: TrajCastConfig, p: Particles, stride: float, seed: int = 0) -> tuple[TrajCast, float]:
    """A model with random weights for the elements of ``p``, and the seconds its construction took. Its outputs are kept small."""
    import e3nn.o3  # noqa: F401  # imported before the clock starts

    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    model = TrajCast(config)
    began = time.perf_counter()
    model.step = TrajCastStep(config, tuple(sorted(set(p.kind.tolist()))), (stride,), 10.0)
    built = time.perf_counter() - began
    torch.random.set_rng_state(state)
    model.step.displacement_scale.fill_(1e-3)
    model.step.velocity_scale.fill_(1e-4)
    model.step.speed_scale.fill_(0.005)
    model.step.eval().requires_grad_(False)
    model.stride = stride
    return model, built


def moving(start: Particles, temperature: float = 300.0) -> Particles:
    """The systems with velocities at a temperature."""
    return kinetics.maxwell_boltzmann(start, temperature, Streams.seeded(0, start.n_scenes))


def step_cost(name: str, system: str, model: TrajCast, p: Particles, repeats: int = 15) -> Cost:
    """One step with everything a roll-out pays: the neighbour list with its skin, the net, conservation, the new state."""
    state, cache = [p], {}

    def step() -> None:
        d, _ = model.propagate(state[0], cache)
        state[0] = state[0].replace(x=state[0].x + d)

    return Cost(name, system, p.n_scenes, median_ms(step, repeats), model.stride)


def reference_cost(name: str, system: str, potential: Potential, p: Particles, dt: float, repeats: int = 9) -> Cost:
    """One force call of a reference potential, which advances each system by its time step."""
    generator = torch.Generator().manual_seed(0)
    state = [p]

    def call() -> None:
        noise = torch.randn(p.x.shape, generator=generator, dtype=p.x.dtype)
        state[0] = p.replace(x=p.x + 1e-3 * noise)
        potential(state[0])

    return Cost(name, system, p.n_scenes, median_ms(call, repeats), dt)


def training_ms(model: TrajCast, p: Particles, repeats: int = 7) -> float:
    """CPU ms of a training step, forwards and backwards, on the systems of ``p`` as one batch."""
    step = model.fitted
    parameters = [value.requires_grad_(True) for value in step.parameters()]
    loss = PairLoss(step.displacement_scale, step.velocity_scale)
    which = torch.zeros(p.n_scenes, dtype=torch.long)
    stride = torch.full((p.n_scenes,), model.stride, dtype=p.x.dtype)
    batch = PairBatch(p, model._slots(p, {}), model.stride * p.v, p.v, stride, which)

    def call() -> None:
        loss(step, batch)[0].backward()
        for value in parameters:
            value.grad = None

    taken = median_ms(call, repeats)
    step.requires_grad_(False)
    return taken


def presets(cutoff: float) -> dict[str, TrajCastConfig]:
    """The configurations that are compared, all with one cutoff."""
    return {
        "published, small": TrajCastConfig.small(cutoff),
        "published, paper-size": replace(TrajCastConfig.paper(cutoff), speed_max=0.2),
        "ours, default": TrajCastConfig.default(cutoff),
    }

"""The bridge step by iterative proportional fitting, for validation: half-bridges in turn, each a drift fitted to the paths of the other.

The reference is run forward from the first snapshot; its time reversal, fitted to these paths, is run backward from the second; the time reversal of
that forward from the first again, and so on. Each half-bridge is the projection on one of the marginals; they converge to the bridge (Fortet 1940,
Kullback 1968). Drifts are fitted by maximum likelihood (Vargas, Thodoroff, Lamacraft & Lawrence 2021) or, what is the same for steps of one
covariance, mean matching (De Bortoli, Thornton, Heng & Doucet 2021): if a step h moved W_j to W_{j+1}, the drift the other way is

    E[ (W_j - W_{j+1}) / h | W_{j+1} ],

and the covariance of its steps, D h but for O(h^2), is that of the residuals: the reversal of a linear Gaussian chain is exact whatever the step. In
place of a Gaussian process, cubic in the number of points, stands a ridge regression on random Fourier features (Rahimi & Recht 2007), O(rows p^2)
for p of them.

No law is Gaussian by assumption but that of a step, and no density is needed. The price is noise: a half-bridge keeps the bridges of the one before,
errors included, so that errors of the regressions add up over iterations. After the first few, targets of all iterations are pooled and averaged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.couplings.populations import drawn, population, weights
from trajlab.dynamics.bridges import root
from trajlab.dynamics.linear_noise import Diverged, finite
from trajlab.dynamics.linear_sde import symmetric
from trajlab.dynamics.references import Reference
from trajlab.metrics.distribution import energy_distance
from trajlab.models.bridge_evidence import Interval

__all__ = ["FittedDrift", "ProportionalFit", "ProportionalFittingConfig", "proportional_fitting"]

TIME_SCALE = 0.5  #: length scale of the features in time, in intervals
AFFINE = 0.01  #: ridge of the affine part, beside that of the features
BALANCED = 20  #: paths for each column that a step's noise is made uncorrelated with, at least
MARGIN = 3.0  #: standard deviations beyond sqrt(dim) that the fitted part reaches to in full


@dataclass(frozen=True)
class ProportionalFittingConfig:
    """Settings.

    Attributes:
        iterations: rounds of a backward and a forward pass.
        fresh: rounds that are fitted to their own paths alone; later ones are fitted to those of the last of these and of all rounds since.
        steps: of the Euler-Maruyama chain over the interval.
        paths: of each cell of the snapshot that a pass starts from, on average over the weights.
        features: random Fourier features of state and time.
        bandwidth: their length scale in standard deviations of the paths at the time, for one dimension; sqrt(dim) as long in more.
        degree: of the polynomials in time that the affine part's coefficients are.
        ridge: 1 is the posterior mean where the fitted part is of the size of one spread an interval plus diffusion/spread.

    Raises:
        ValueError: a number out of range.
    """

    iterations: int = 8
    fresh: int = 3
    steps: int = 40
    paths: int = 5
    features: int = 500
    bandwidth: float = 1.0
    degree: int = 4
    ridge: float = 1.0

    def __post_init__(self) -> None:
        least = {"iterations": 1, "fresh": 1, "steps": 2, "paths": 1, "features": 1, "degree": 0}
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name in least and (isinstance(value, bool) or not isinstance(value, int) or value < least[one.name]):
                raise ValueError(f"ProportionalFittingConfig: {one.name}={value!r}; a whole number from {least[one.name]} on was wanted")
            if one.name not in least and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"ProportionalFittingConfig: {one.name}={value!r}; a finite number above 0 was wanted")


@dataclass(frozen=True, eq=False)
class FittedDrift:
    """base(x) + w(z) [polynomials(s) (1, z) + features(z, s)] coefficients,  z = L_s^-1 (x - m_s),  with mean and Cholesky factor of the paths.

    The window w is 1 within sqrt(dim) + 3 standard deviations and falls to 0 beyond, so that far from the paths the drift is the base: the reference,
    or backward its opposite plus the score of N(m_s, L_s L_s^T), which alone would bring paths home.

    Attributes:
        reference: of the base.
        backward: runs from the second snapshot to the first.
        duration: of the interval.
        mean, factor: at the points of the grid, ``[step+1 dim]`` and ``[step+1 dim dim]``.
        frequency, phase: of the features, ``[dim+1 feature]`` and ``[feature]``.
        degree: of the polynomials.
        coefficients: ``[column dim]``.
        gram, cross: sums over the rows fitted to so far, ``[column column]`` and ``[column dim]``.
        noise: Cholesky factors of the covariances of its steps, in the order it makes them, ``[step dim dim]``; (D h)^1/2 where paths are too few.
    """

    reference: Reference
    backward: bool
    duration: float
    mean: Tensor
    factor: Tensor
    frequency: Tensor
    phase: Tensor
    degree: int
    coefficients: Tensor
    gram: Tensor
    cross: Tensor
    noise: Tensor

    def __call__(self, x: Float[Tensor, "batch dim"], s: float) -> Float[Tensor, "batch dim"]:
        """The drift, length/time, at a time ``s`` since the first snapshot; a backward one is that of the process in reversed time."""
        z, factor = self.local(x, s)
        return self.base(x, z, factor) + self.columns(z, s) @ self.coefficients

    def local(self, x: Float[Tensor, "batch dim"], s: float) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "dim dim"]]:
        """Standardised states, and the factor; between points of the grid mean and factor are interpolated."""
        place = min(max(s / self.duration, 0.0), 1.0) * (len(self.mean) - 1)
        left = min(int(place), len(self.mean) - 2)
        share = place - left
        mean, factor = torch.lerp(self.mean[left], self.mean[left + 1], share), torch.lerp(self.factor[left], self.factor[left + 1], share)
        return torch.linalg.solve_triangular(factor, (x - mean).mT, upper=False).mT, factor

    def base(self, x: Float[Tensor, "batch dim"], z: Float[Tensor, "batch dim"], factor: Float[Tensor, "dim dim"]) -> Float[Tensor, "batch dim"]:
        """What the fitted part is a residual on."""
        if not self.backward:
            return self.reference.drift(x)
        score = -torch.linalg.solve_triangular(factor.mT, z.mT, upper=True).mT
        return -self.reference.drift(x) + score @ self.reference.D

    def columns(self, z: Float[Tensor, "batch dim"], s: float) -> Float[Tensor, "batch column"]:
        """Affine part and features, under the window."""
        time = s / self.duration
        beyond = (z.norm(dim=1, keepdim=True) - z.shape[1] ** 0.5 - MARGIN).clamp(min=0)
        window = (-beyond.square() / 2).exp()
        one = torch.cat([torch.ones_like(beyond), z], 1)
        angle = math.acos(min(max(2 * time - 1, -1.0), 1.0))
        affine = [math.cos(k * angle) * one for k in range(self.degree + 1)]  # Chebyshev polynomials, finest at the ends as bridges are
        waves = (z @ self.frequency[:-1] + time * self.frequency[-1] + self.phase).cos() * (2 / len(self.phase)) ** 0.5
        return window * torch.cat([*affine, waves], 1)


@dataclass(frozen=True, eq=False)
class ProportionalFit:
    """The bridge over one interval.

    Attributes:
        paths: of the last forward pass, ``[path step+1 dim]``: they start at cells of the first snapshot and end near the second.
        forward, backward: drifts of the last passes, of states and the time since the first snapshot.
        marginal_error: energy distance of the forward passes' ends to the second snapshot (weighted): of the reference, then after each iteration. It
            is unbiased for independent populations; ends fitted to these very cells come to settle slightly below zero.
    """

    paths: Tensor
    forward: FittedDrift
    backward: FittedDrift
    marginal_error: tuple[float, ...]


def proportional_fitting(reference: Reference, interval: Interval, generator: torch.Generator,
                         config: ProportionalFittingConfig | None = None) -> ProportionalFit:
    """Iterate half-bridges from the reference on.

    Args:
        reference: the process; its diffusion must have full rank.
        interval: two neighbouring snapshots; at least two cells in the second.
        generator: of features, starts and noise.
        config: settings.

    Raises:
        ValueError: populations that are empty, not finite, or of another dimension than the reference; bad weights; a duration or a diffusion that is
            not positive.
        Diverged: paths that are not finite, in the reference or in a pass.
    """
    config = config or ProportionalFittingConfig()
    one = checked(reference, interval)
    waves = features(one.x.shape[1], config, generator)
    starts = [x[drawn(w, config.paths * len(x), generator)] for x, w in ((one.x, one.a), (one.y, one.b))]
    grid = torch.linspace(0, one.duration, config.steps + 1, dtype=torch.float64).tolist()
    run = chain(lambda x, _: reference.drift(x), plain_noise(reference, one.duration, config.steps), starts[0], grid, generator)
    finite(run, run, starts[0], one.duration)
    error = [energy_distance(run[:, -1], one.y, b=one.b)]
    blank: dict[bool, FittedDrift | None] = {True: None, False: None}
    drifts = dict(blank)  # by direction: is it backward?
    for number in range(config.iterations):
        if number < config.fresh:
            drifts = dict(blank)
        for backward in (True, False):
            start = drifts[backward] or unfitted(reference, run, backward, waves, one.duration, config.degree)
            drifts[backward] = drift = fitted(start, run, config)
            run = chain(drift, drift.noise, starts[backward], grid[::-1] if backward else grid, generator)
            settled(run, f"iteration {number + 1}, {'backward' if backward else 'forward'} pass")
        error.append(energy_distance(run[:, -1], one.y, b=one.b))
    return ProportionalFit(run, drifts[False], drifts[True], tuple(error))  # type: ignore[arg-type]


def checked(reference: Reference, interval: Interval) -> Interval:
    """The interval in float64 with weights that sum to one."""
    x, y = population("the first snapshot", interval.x), population("the second snapshot", interval.y, least=2)
    if not x.shape[1] == y.shape[1] == reference.dim:
        raise ValueError(f"proportional_fitting: snapshots of {x.shape[1]} and {y.shape[1]} dimensions and a reference of {reference.dim}; one space "
                         "was wanted")
    if not (interval.duration > 0 and math.isfinite(interval.duration)):
        raise ValueError(f"proportional_fitting: a duration of {interval.duration:g}; a finite time above 0 was wanted")
    least = float(torch.linalg.eigvalsh(symmetric(reference.D.double()))[0])
    if not least > 0:
        raise ValueError(f"proportional_fitting: the least eigenvalue of the diffusion matrix is {least:g}; paths can be reversed by a drift where "
                         "there is noise in every direction, so it must be above 0")
    a, b = weights("the first snapshot", interval.a, len(x)), weights("the second snapshot", interval.b, len(y))
    return Interval(x, y, a, b, float(interval.duration))


def features(dim: int, config: ProportionalFittingConfig, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Frequencies of a Gaussian kernel in standardised state and time, and phases."""
    scale = torch.tensor([config.bandwidth * dim**0.5] * dim + [TIME_SCALE], dtype=torch.float64)
    frequency = torch.randn(dim + 1, config.features, generator=generator, dtype=torch.float64) / scale[:, None]
    return frequency, 2 * math.pi * torch.rand(config.features, generator=generator, dtype=torch.float64)


def unfitted(reference: Reference, run: Float[Tensor, "path step_plus_1 dim"], backward: bool, waves: tuple[Tensor, Tensor], duration: float,
             degree: int) -> FittedDrift:
    """The base alone, standardised by paths that run the other way."""
    ordered = run if backward else run.flip(1)  # by physical time
    mean = ordered.mean(0)
    cov = torch.einsum("nki,nkj->kij", ordered - mean, ordered - mean) / len(run)
    factor = root(cov + duration / (run.shape[1] - 1) * reference.D)  # a step's noise keeps snapshots of one cell from being a point
    width = (degree + 1) * (reference.dim + 1) + len(waves[1])
    zero = run.new_zeros(width, reference.dim)
    noise = plain_noise(reference, duration, run.shape[1] - 1)
    return FittedDrift(reference, backward, duration, mean, factor, *waves, degree, zero, run.new_zeros(width, width), zero, noise)


def plain_noise(reference: Reference, duration: float, steps: int) -> Float[Tensor, "step dim dim"]:
    """The factor of D h, for every step."""
    return (duration / steps) ** 0.5 * root(reference.D[None].double()).expand(steps, -1, -1)


def fitted(start: FittedDrift, run: Float[Tensor, "path step_plus_1 dim"], config: ProportionalFittingConfig) -> FittedDrift:
    """The time reversal of paths by regression at the ends of their steps, pooled with what ``start`` was fitted to.

    Args:
        start: of the direction that is wanted.
        run: paths of the other direction, in the order they were moved in.
    """
    steps = run.shape[1] - 1
    h = start.duration / steps
    gram, cross = start.gram, start.cross
    for j in range(1, steps + 1):
        s, x = (j if start.backward else steps - j) * h, run[:, j]
        z, factor = start.local(x, s)
        columns = start.columns(z, s)
        gram = gram + columns.mT @ columns
        cross = cross + columns.mT @ ((run[:, j - 1] - x) / h - start.base(x, z, factor))
    found = replace(start, coefficients=torch.linalg.solve(gram + ridge(start, h, config).diag(), cross), gram=gram, cross=cross)
    if len(run) < BALANCED * (run.shape[2] + 1):
        return found
    rest = [run[:, j - 1] - run[:, j] - h * found(run[:, j], (j if start.backward else steps - j) * h) for j in range(steps, 0, -1)]
    return replace(found, noise=root(torch.stack([one.mT @ one / len(one) for one in rest])))


def ridge(start: FittedDrift, h: float, config: ProportionalFittingConfig) -> Float[Tensor, "column"]:
    """Variance of an increment's rate, D/h, over the squared size to expect of the fitted part: as a Gaussian process would have it."""
    noise = float(start.reference.D.trace()) / start.reference.dim
    spread = float(start.factor.square().sum((1, 2)).mean()) / start.reference.dim
    size = spread / start.duration**2 + noise**2 / spread
    penalty = torch.full((len(start.gram),), config.ridge * noise / h / size, dtype=torch.float64)
    penalty[: len(penalty) - config.features] *= AFFINE
    return penalty


def chain(drift: Callable[[Tensor, float], Tensor], noise: Float[Tensor, "step dim dim"], x: Float[Tensor, "path dim"], grid: list[float],
          generator: torch.Generator) -> Float[Tensor, "path step_plus_1 dim"]:
    """Euler-Maruyama paths over the times of a grid, rising or falling, in the order they are moved in.

    The noise of a step is made to have mean zero over the paths and no correlation with where they are, as it has on average: what is left out would
    be taken for drift by the next regression."""
    paths, dim = x.shape
    found = [x]
    for (s, later), factor in zip(pairwise(grid), noise, strict=True):
        x, h = found[-1], abs(later - s)
        xi = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        if paths >= BALANCED * (dim + 1) and bool(x.isfinite().all()):
            known = torch.cat([torch.ones_like(x[:, :1]), x], 1)
            xi = (xi - known @ torch.linalg.lstsq(known, xi, driver="gelsd").solution) * (paths / (paths - dim - 1)) ** 0.5
        found.append(x + h * drift(x, s) + xi @ factor.mT)
    return torch.stack(found, 1)


def settled(run: Float[Tensor, "path step_plus_1 dim"], what: str) -> None:
    """Refuse paths of a fitted drift that are not finite.

    Raises:
        Diverged: naming pass and step.
    """
    bad = ~run.isfinite().all(2)
    if bool(bad.any()):
        first = int(bad.any(0).nonzero()[0])
        raise Diverged(f"{what}: {int(bad.any(1).sum())} of {len(run)} paths are not finite from step {first} of {run.shape[1] - 1} on; raise steps "
                       "or ridge, or bound the reference where the paths leave the data")

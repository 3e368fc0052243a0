"""Stochastic interpolants: shapes, gammas, the antithetic pair, losses, and Gaussian to Gaussian exactly."""

from __future__ import annotations

import math

import pytest
import torch

from trajlab.paths.bridge import spread
from trajlab.paths.interpolants import (
    GAMMAS,
    SHAPES,
    Interpolant,
    antithetic,
    drift_integrand,
    eta_integrand,
    score_integrand,
    velocity_integrand,
)
from trajlab.paths.readings import Reading
from trajlab.paths.schedules import Rectified, VPCosine

F64 = torch.float64
M0, M1 = torch.tensor([1.0, -0.5], dtype=F64), torch.tensor([-1.0, 2.0], dtype=F64)
C0 = torch.tensor([[1.0, 0.3], [0.3, 0.5]], dtype=F64)
C1 = torch.tensor([[0.4, -0.2], [-0.2, 0.8]], dtype=F64)
INSIDE = torch.linspace(0.01, 0.99, 99, dtype=F64)


def exact(path, x, t):
    """Drift, velocity, score and eta where both ends are Gaussian and independent."""
    k = path.coefficients(torch.tensor([t], dtype=F64))
    a, b, c, da, db, _, cdc = (float(w) for w in k)
    one = torch.eye(2, dtype=F64)
    covariance = a**2 * C0 + b**2 * C1 + c**2 * one
    off = torch.linalg.solve(covariance, (x - a * M0 - b * M1).T).T
    mean = da * M0 + db * M1
    velocity = mean + off @ (a * da * C0 + b * db * C1)
    return {"drift": velocity + cdc * off, "velocity": velocity, "score": -off, "eta": c * off}


def ends(n, generator):
    def draw(mean, covariance):
        return mean + torch.randn(n, 2, generator=generator, dtype=F64) @ torch.linalg.cholesky(covariance).T

    return draw(M0, C0), draw(M1, C1), torch.randn(n, 2, generator=generator, dtype=F64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_slopes_are_analytic_and_ends_are_clean(shape, gamma):
    path = Interpolant(shape, gamma, scale=0.7)
    t = INSIDE[INSIDE != 0.5].clone().requires_grad_()
    k = path.coefficients(t)
    for value, slope in ((k.a, k.da), (k.b, k.db), (k.c, k.dc)):
        found = torch.autograd.grad(value.sum(), t, retain_graph=True, allow_unused=True)[0] if value.requires_grad else None
        assert torch.allclose(torch.zeros_like(t) if found is None else found, slope, atol=1e-10)
    assert torch.allclose(k.c * k.dc, k.cdc, atol=1e-12)
    first, last = zip(*(w.tolist() for w in path.coefficients(torch.tensor([0.0, 1.0], dtype=F64))))
    assert (first[0], first[1]) == ((0.0, 1.0) if shape == "mirror" else (1.0, 0.0))
    assert (last[0], last[1]) == (0.0, 1.0)
    assert first[2] == last[2] == 0.0
    assert math.isfinite(first[6])
    assert math.isfinite(last[6])
    assert bool((path.coefficients(INSIDE).c > 0).all()) == (gamma != "zero")


def test_brownian_product_needs_no_division():
    t = torch.tensor([0.0, 1e-300, 0.25, 1.0], dtype=F64)
    assert torch.equal(Interpolant().coefficients(t).cdc, (1 - 2 * t) / 2)
    assert torch.allclose(Interpolant(scale=2**0.5).coefficients(t).c ** 2, 2 * t * (1 - t))


def test_encoding_decoding_passes_through_pure_noise(generator):
    source, data, z = ends(3, generator)
    point = Interpolant("encoding_decoding").at(torch.full((3,), 0.5), source, data, z)
    assert torch.allclose(point.x, z, atol=1e-15)


def test_one_sided_interpolants_are_gaussian_paths():
    t = torch.linspace(0.05, 0.95, 7, dtype=F64)
    for shape, path in (("one_sided_linear", Rectified()), ("one_sided_trigonometric", VPCosine())):
        mine = Interpolant(shape)
        assert mine.gaussian() == path
        for w, v in zip(mine.coefficients(t), path.coefficients(t)):
            assert torch.allclose(w, v, atol=1e-14)
    for wrong in (Interpolant(), Interpolant("one_sided_linear", "brownian"), Interpolant("mirror", "zero", gaussian_source=True)):
        with pytest.raises(ValueError, match="has no log-SNR"):
            wrong.gaussian()


def test_custom_interpolant(generator):
    path = Interpolant(lambda t: ((1 - t) ** 2, t**2, -2 * (1 - t), 2 * t), lambda t: (t * (1 - t), 1 - 2 * t, t * (1 - t) * (1 - 2 * t)))
    source, data, z = ends(2, generator)
    point = path.at(torch.full((2,), 0.25), source, data, z)
    assert torch.allclose(point.x, 0.5625 * source + 0.0625 * data + 0.1875 * z)
    assert torch.allclose(point.velocity, -1.5 * source + 0.5 * data + 0.5 * z)


@pytest.mark.parametrize(("path", "room"), [
    (Interpolant("linear", "zero"), 0.03), (Interpolant(), 0.03), (Interpolant("trigonometric", "zero"), 0.03),
    (Interpolant("trigonometric", "sigmoid"), 0.03), (Interpolant("encoding_decoding"), 0.03),
], ids=["linear", "brownian", "trigonometric", "sigmoid", "encoding_decoding"])
def test_exact_drift_and_score_by_regression(path, room, generator):
    """Gaussian ends: the conditional expectations are affine, so least squares on samples must find the closed forms."""
    n, t = 400_000, 0.37
    source, data, z = ends(n, generator)
    point = path.at(torch.full((n,), t), source, data, z)
    design = torch.cat([torch.ones(n, 1, dtype=F64), point.x], 1)
    at = torch.tensor([[0.0, 0.0], [1.0, -1.0], [0.5, 2.0], [-1.0, 0.5]], dtype=F64)
    wanted = exact(path, at, t)
    k = path.coefficients(torch.tensor([t], dtype=F64))
    targets = {"drift": point.velocity, "velocity": k.da * source + k.db * data, "eta": z}
    for name, value in targets.items():
        if name == "eta" and float(k.c) == 0:
            continue
        fitted = torch.linalg.lstsq(design, value).solution
        error = float((torch.cat([torch.ones(4, 1, dtype=F64), at], 1) @ fitted - wanted[name]).abs().max())
        assert error < room, (name, error)


def flow(path, x, steps, scale=0.0, generator=None):
    """Midpoint rule, or with ``scale`` = eps > 0 the SDE, on the exact fields."""
    h, low = (1 - 2e-3) / steps, 1e-3
    for k in range(steps):
        t = low + k * h
        if scale:
            f = exact(path, x, t)
            x = x + h * (f["drift"] + scale * f["score"]) + math.sqrt(2 * scale * h) * torch.randn(x.shape, generator=generator, dtype=F64)
        else:
            x = x + h * exact(path, x + h / 2 * exact(path, x, t)["drift"], t + h / 2)["drift"]
    return x


@pytest.mark.parametrize("path", [Interpolant(), Interpolant("trigonometric", "zero"), Interpolant("encoding_decoding")],
                         ids=["brownian", "trig", "encdec"])
def test_flow_and_diffusion_reach_the_data(path, generator):
    n = 4000
    source = ends(n, generator)[0]
    # Whitened exactly, so that the flow, which is affine, must give mean and covariance without sampling error.
    off = source - source.mean(0)
    source = M0 + off @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(off.T))).T @ torch.linalg.cholesky(C0).T
    end = flow(path, source, 100)
    assert float((torch.cov(end.T) - C1).abs().max()) < 0.02
    assert float((end.mean(0) - M1).abs().max()) < 0.02
    diffused = flow(path, source, 300, 0.5, generator)
    assert float((torch.cov(diffused.T) - C1).abs().max()) < 0.08
    assert float((diffused.mean(0) - M1).abs().max()) < 0.08


def test_the_antithetic_pair_keeps_the_variance_finite(generator):
    """gamma' ~ t^(-1/2): alone, the variance of the loss grows as 1/t; in the pair it does not."""
    n, path = 20000, Interpolant()
    source, data, z = ends(n, generator)
    alone, paired = [], []
    for t in (1e-2, 1e-6):
        both = antithetic(path, torch.full((n,), t), source, data, z)
        values = [drift_integrand(exact(path, p.x, t)["drift"], p).sum(1) for p in both]
        alone.append(float(values[0].var()))
        paired.append(float(((values[0] + values[1]) / 2).var()))
    assert alone[1] > 100 * alone[0]
    assert paired[1] < 1.5 * paired[0]
    assert torch.allclose(both[0].x + both[1].x, 2 * path.at(torch.full((n,), 1e-6), source, data, torch.zeros_like(z)).x)


def test_losses_are_least_at_the_truth(generator):
    n, t, path = 100_000, 0.3, Interpolant("linear", "bsquared", scale=3.0)
    source, data, z = ends(n, generator)
    point = path.at(torch.full((n,), t), source, data, z)
    truth = exact(path, point.x, t)
    losses = {
        "drift": lambda v: drift_integrand(v, point), "eta": lambda v: eta_integrand(v, point),
        "score": lambda v: score_integrand(v, point, path), "velocity": lambda v: velocity_integrand(v, point, path),
    }
    for name, loss in losses.items():
        least = float(loss(truth[name]).mean())
        # At the truth the loss is -E|truth|^2 / 2, and any change d costs E d^2 / 2.
        assert abs(least + 0.5 * float((truth[name] ** 2).mean())) < 0.02 * max(1.0, abs(least)), name
        for change in (0.2, 0.1 * point.x, -0.2 * truth[name]):
            change = torch.as_tensor(change, dtype=F64).expand_as(point.x)
            cost = float(loss(truth[name] + change).mean()) - least
            assert cost == pytest.approx(0.5 * float((change**2).mean()), abs=0.02), name


@pytest.mark.parametrize("path", [
    Interpolant(), Interpolant("encoding_decoding"), Interpolant("linear", "zero"),
    Interpolant("one_sided_linear"), Interpolant("one_sided_linear", "brownian"), Interpolant("one_sided_trigonometric"),
], ids=["brownian", "encdec", "deterministic", "one_sided", "one_sided_noise", "one_sided_trig"])
def test_each_reading_from_the_others(path, generator, monkeypatch):
    if path.gaussian_source:
        monkeypatch.setitem(globals(), "C0", torch.eye(2, dtype=F64))
        monkeypatch.setitem(globals(), "M0", torch.zeros(2, dtype=F64))
    x = torch.randn(3, 2, generator=generator, dtype=F64)
    for t in (0.1, 0.4, 0.8):
        truth, times = exact(path, x, t), torch.full((3,), t, dtype=F64)
        noisy = float(path.coefficients(times[:1]).c) > 0
        if not noisy:
            truth.pop("eta")
        pairs = [("drift",), ("velocity",), ("score",)] if path.gaussian_source else []
        pairs += [("drift", "score"), ("velocity", "score"), ("drift", "velocity")] if noisy or path.gaussian_source else []
        pairs += [("drift", "eta"), ("velocity", "eta")] if noisy else []
        for known in pairs:
            reading = Reading(path, x, times, {k: truth[k] for k in known})
            for name, value in truth.items():
                assert torch.allclose(getattr(reading, name), value, atol=1e-9), (known, name, t)


def test_readings_at_the_ends_stay_finite(generator):
    x, velocity, score = torch.randn(3, 2, 2, generator=generator, dtype=F64)
    reading = Reading(Interpolant(), x, torch.tensor([0.0, 1.0], dtype=F64), {"velocity": velocity, "score": score})
    assert torch.allclose(reading.drift, velocity - spread(torch.tensor([0.5, -0.5]), x) * score)


@pytest.mark.parametrize(("call", "words"), [
    (lambda x, t: Interpolant("lineer"), "did you mean 'linear'"),
    (lambda x, t: Interpolant(gamma="brown"), "did you mean 'brownian'"),
    (lambda x, t: Interpolant(scale=0.0), "a positive number was wanted"),
    (lambda x, t: Reading(Interpolant("linear", "zero"), x, t, {"drift": x}).score, r"where c = 0 and the source is not N\(0, I\)"),
    (lambda x, t: Reading(Interpolant(), x, 0 * t, {"eta": x}).score, "keep t inside"),
    (lambda x, t: Reading(Interpolant(), x, t, {"drift": x}).score, "does not follow from drift"),
    (lambda x, t: Reading(Interpolant(), x, t, {"score": x}).drift, "does not follow from score"),
    (lambda x, t: Reading(Interpolant("linear", "zero"), x, t, {"drift": x}).eta, "there is no eta"),
    (lambda x, t: Reading(Interpolant(), x, t, {}), "nothing is known"),
    (lambda x, t: Reading(Interpolant(), x, t, {"scoer": x}), "did you mean 'score'"),
    (lambda x, t: Reading(Interpolant(), x, 3 * t, {"drift": x}), "generative time lies within"),
    (lambda x, t: score_integrand(x, Interpolant().at(0 * t, x, x, x), Interpolant()), "cannot be regressed where gamma = 0"),
    (lambda x, t: eta_integrand(x, Interpolant("linear", "zero").at(t, x, x)), "without noise"),
])
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call(torch.ones(2, 3, dtype=F64), torch.full((2,), 0.5, dtype=F64))

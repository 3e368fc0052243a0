"""The linear-Gaussian bridge: points and velocities."""

from __future__ import annotations

import inspect

import pytest
import torch

from trajlab.paths.bridge import Path, spread
from trajlab.paths.interpolants import Interpolant
from trajlab.paths.schedules import Rectified, VPCosine


@pytest.mark.parametrize("path", [Rectified(), VPCosine(), Interpolant(), Interpolant("encoding_decoding"), Interpolant("mirror", "sigmoid")],
                         ids=str)
def test_velocity_is_the_derivative_of_the_point(path, generator):
    source, data, z = torch.randn(3, 5, 2, 3, generator=generator, dtype=torch.float64)
    t = torch.tensor([0.03, 0.2, 0.45, 0.71, 0.98], dtype=torch.float64)

    def x(t):
        k = path.coefficients(t)
        return spread(k.a, data) * source + spread(k.b, data) * data + spread(k.c, data) * z

    found = path.at(t, source, data, z)
    here, slope = torch.func.jvp(x, (t,), (torch.ones_like(t),))
    assert torch.allclose(found.x, here, atol=1e-14)
    assert torch.allclose(found.velocity, slope, rtol=1e-9, atol=1e-10)
    assert found.t.dtype == torch.float64


def test_ends_are_the_source_and_the_data(generator):
    source, data, z = torch.randn(3, 2, 4, generator=generator, dtype=torch.float64)
    for path in (Rectified(), VPCosine(), Interpolant(), Interpolant("trigonometric", "sinesquared"), Interpolant("encoding_decoding")):
        assert torch.allclose(path.at(torch.zeros(2), source, data, z).x, source, atol=1e-12)
        end = path.at(torch.ones(2), source, data, z)
        assert torch.allclose(end.x, data, atol=1e-12)
        assert bool(torch.isfinite(end.velocity).all())


def test_state_keeps_its_dtype(generator):
    source, data = torch.randn(2, 3, 4, generator=generator)
    found = Rectified().at(torch.full((3,), 0.3), source, data)
    assert found.x.dtype == found.velocity.dtype == torch.float32


@pytest.mark.parametrize(("call", "words"), [
    (lambda x: Rectified().at(torch.zeros(2), x, x), r"t has shape \(2,\)"),
    (lambda x: Rectified().at(torch.full((3,), 1.2), x, x), "generative time lies within"),
    (lambda x: Interpolant().at(torch.full((3,), 0.5), x, x), "pass noise"),
])
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call(torch.zeros(3, 2))


def test_ends_of_different_shape_are_refused():
    # While tests run, the shape checker speaks first; the function's own words are asked for behind it.
    with pytest.raises(ValueError, match="source has shape"):
        inspect.unwrap(Path.at)(Rectified(), torch.zeros(3), torch.zeros(3, 2), torch.zeros(3, 4))

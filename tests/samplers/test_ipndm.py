"""iPNDM: classical weights on the transfer."""

from __future__ import annotations

import pytest
import torch
from samplers.closed_forms import nodes, slope

from trajlab.paths.schedules import VPLinear
from trajlab.samplers import grids
from trajlab.samplers.deis import ddim
from trajlab.samplers.ipndm import ADAMS, IPNDM
from trajlab.samplers.sample import sample
from trajlab.sources.mixtures import GaussianMixture


@pytest.mark.parametrize("order", [2, 4])
def test_order_two_whatever_it_looks_back_on(order):
    assert 1.9 < slope(IPNDM(order), 40) < 2.1
    assert IPNDM(order).plan(nodes(40)).nfe == 40


@pytest.mark.parametrize("order", ADAMS)
def test_weights_integrate_polynomials(order):
    """The weights at nodes 0, -1, .. integrate q^k from 0 to 1, k below the order."""
    for k in range(order):
        assert sum(w * (-j) ** k for j, w in enumerate(ADAMS[order])) == pytest.approx(1 / (k + 1))


def test_order_one_is_ddim(generator):
    path, mixture = VPLinear(), GaussianMixture.ring()
    x = torch.randn(8, 2, generator=generator, dtype=torch.float64)
    ends = [sample(mixture.denoiser(path), grids.uniform_t(path, 9), x, solver).x for solver in (IPNDM(1), ddim())]
    torch.testing.assert_close(ends[0], ends[1])


def test_bad_input():
    with pytest.raises(ValueError, match="order=5"):
        IPNDM(5)
    with pytest.raises(ValueError, match="use at least 4 steps"):
        IPNDM().plan(grids.uniform_lam(VPLinear(), 3))

"""Cells of a bank of points: quantiles on a line, and the masses that were wanted on the source that was trained on."""

from __future__ import annotations

import warnings

import pytest
import torch

from trajlab.couplings.semidiscrete import SemiDiscrete, standard_normal


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("source", ["normal", "uniform"])
def test_cells_on_a_line_are_quantile_bins(source):
    n = 10
    atoms = torch.randn(n, 1, generator=seeded(), dtype=torch.float64).sort(0).values
    share = torch.arange(1, n, dtype=torch.float64) / n
    if source == "normal":
        draw, quantile = standard_normal((1,)), torch.special.ndtri(share)
    else:
        draw, quantile = (lambda k, generator: torch.rand(k, 1, generator=generator)), share
    cells = SemiDiscrete().fit(atoms, draw, seeded(1))
    torch.testing.assert_close(cells.height.diff(), -quantile * atoms[:, 0].diff(), atol=1e-2, rtol=0)
    middle = torch.cat([quantile[:1] - 0.5, (quantile[1:] + quantile[:-1]) / 2, quantile[-1:] + 0.5])
    assert torch.equal(cells.assign(middle[:, None]), torch.arange(n))
    assert cells.converged
    assert float(cells.height.mean()) == pytest.approx(0, abs=1e-9)


@pytest.fixture(scope="module")
def bank():
    from trajlab.paths.schedules import VPLinear
    from trajlab.samplers.warm_start import Bank
    from trajlab.sources.mixtures import GaussianMixture

    data = GaussianMixture.smooth_paths(seeded()).sample(200, seeded(1))
    return Bank.of_data(VPLinear(), 1.0, data, seeded(2)).latents


def test_the_source_of_the_fit_must_be_the_source_of_use(bank):
    noise = torch.randn(40_000, *bank.shape[1:], generator=seeded(3), dtype=torch.float64)
    settings = SemiDiscrete(iterations=400, batch=2000)
    fitted = settings.fit(bank, standard_normal(bank.shape[1:]), seeded(4))
    mass = fitted.masses(noise)
    assert float((mass - 1 / 200).abs().sum() / 2) < 0.05
    assert float(mass.max()) < 1.4 / 200
    assert fitted.total_variation < 0.05
    assert fitted.empty == 0
    assert fitted.history[-1] < fitted.history[0] / 3
    wrong = settings.fit(bank, lambda k, generator: torch.rand(k, *bank.shape[1:], generator=generator), seeded(4))
    off = wrong.masses(noise)
    assert wrong.total_variation < 0.05  # on its own source
    assert float((off - 1 / 200).abs().sum() / 2) == pytest.approx(0.8, abs=0.06)
    assert float(off.max()) > 10 / 200


def test_masses_may_be_asked_for():
    atoms, weight = torch.randn(6, 2, 2, generator=seeded()), torch.tensor([1.0, 1, 2, 2, 3, 3])
    cells = SemiDiscrete(iterations=500).fit(atoms, standard_normal((2, 2)), seeded(1), weight)
    torch.testing.assert_close(cells.mass, weight.double() / 12, atol=0.02, rtol=0)


def test_cells_turn_with_bank_and_source():
    atoms, noise = torch.randn(20, 4, 3, generator=seeded(), dtype=torch.float64), torch.randn(50, 4, 3, generator=seeded(1), dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=seeded(2), dtype=torch.float64))[0]
    settings = SemiDiscrete(iterations=30, batch=200, tolerance=1.0, check=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        straight = settings.fit(atoms, standard_normal((4, 3)), seeded(3))
        turned = settings.fit(atoms @ turn, lambda n, generator: torch.randn(n, 4, 3, generator=generator) @ turn.float(), seeded(3))
    torch.testing.assert_close(turned.height, straight.height, atol=0.05, rtol=0)
    assert float((turned.assign(noise @ turn) == straight.assign(noise)).double().mean()) > 0.95


def test_a_row_goes_where_it_goes_alone():
    atoms, noise = torch.randn(20, 3, generator=seeded()), torch.randn(9, 3, generator=seeded(1))
    cells = SemiDiscrete(iterations=200).fit(atoms, standard_normal((3,)), seeded(2))
    near = cells.nearest(noise, 4)
    assert torch.equal(near[:, 0], cells.assign(noise))
    assert torch.equal(torch.cat([cells.nearest(row[None], 4) for row in noise]), near)
    score = noise @ atoms.T + cells.height.float()
    assert torch.equal(near, score.topk(4).indices)


def test_not_converging_is_said_with_numbers():
    atoms = torch.randn(50, 4, generator=seeded())
    with pytest.warns(UserWarning, match=r"total variation 0\.\d+ .* cells empty"):
        cells = SemiDiscrete(iterations=2).fit(atoms, standard_normal((4,)), seeded(1))
    assert not cells.converged


def test_bad_input():
    atoms, draw = torch.randn(5, 2, generator=seeded()), standard_normal((2,))
    with pytest.raises(ValueError, match="iterations=0"):
        SemiDiscrete(iterations=0)
    with pytest.raises(ValueError, match="two or more"):
        SemiDiscrete().fit(atoms[:1], draw, seeded())
    with pytest.raises(ValueError, match="finite"):
        SemiDiscrete().fit(atoms / 0, draw, seeded())
    with pytest.raises(ValueError, match=r"the source gave \(4000, 3\)"):
        SemiDiscrete().fit(atoms, standard_normal((3,)), seeded())
    with pytest.raises(ValueError, match="5 positive numbers"):
        SemiDiscrete().fit(atoms, draw, seeded(), torch.zeros(5))
    cells = SemiDiscrete(iterations=200).fit(atoms, draw, seeded())
    with pytest.raises(ValueError, match="same shape"):
        cells.assign(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="k=6"):
        cells.nearest(torch.zeros(3, 2), 6)

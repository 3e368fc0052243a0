"""Spectra of oscillators whose frequencies are known, folded and not."""

from __future__ import annotations

import pytest
import torch

from trajlab.metrics import spectra
from trajlab.metrics.profiles import overlap
from trajlab.types import Trajectories


def oscillators(lines: list[float], stride: float, frames: int, scenes: int = 2) -> Trajectories:
    """Light atoms that oscillate against one that is very heavy, at wavenumbers in 1/cm."""
    time = stride * torch.arange(frames, dtype=torch.float64)
    phase = torch.rand(scenes, len(lines), 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 6.28
    omega = 2 * torch.pi * torch.tensor(lines, dtype=torch.float64) / spectra.WAVENUMBER
    v = torch.cat([(omega[None, :, None] * time + phase).cos(), torch.zeros(scenes, 1, frames, dtype=torch.float64)], 1).flatten(0, 1)
    v = v[:, :, None] * torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    n = len(lines) + 1
    mass = torch.tensor([1.0] * len(lines) + [1e6], dtype=torch.float64).repeat(scenes)
    return Trajectories(x=torch.zeros_like(v), time=time.expand(scenes, -1), scene=torch.arange(scenes).repeat_interleave(n),
                        extra={"velocity": v}, static={"mass": mass})


def test_lines_are_where_they_should_be():
    spectrum = spectra.vibrational_density(oscillators([500.0, 1700.0], 7.0, 2000))
    assert float(spectrum.axis[-1]) == pytest.approx(spectra.nyquist(7.0), abs=10)
    assert float(spectrum.curve().sum() * spectrum.axis[1]) == pytest.approx(1.0)
    assert spectra.peaks(spectrum).tolist() == pytest.approx([500.0, 1700.0], abs=2)


def test_a_line_beyond_nyquist_is_folded():
    spectrum = spectra.vibrational_density(oscillators([3000.0], 7.0, 2000))
    where = spectra.folded(torch.tensor([3000.0]), 7.0)
    assert float(where) == pytest.approx(2 * spectra.nyquist(7.0) - 3000)
    assert spectra.peaks(spectrum).tolist() == pytest.approx(where.tolist(), abs=2)
    inside = torch.tensor([10.0, 2000.0])
    assert torch.allclose(spectra.folded(inside, 7.0), inside)


def test_subsampling_equals_sampling_coarsely():
    fine, coarse = oscillators([3000.0, 800.0], 3.5, 2000), oscillators([3000.0, 800.0], 7.0, 1000)
    one, other = (spectra.vibrational_density(t).curve() for t in (spectra.subsampled(fine, 7.0), coarse))
    assert torch.allclose(one, other)
    with pytest.raises(ValueError, match="cannot be subsampled to 8 fs"):
        spectra.subsampled(fine, 8.0)


def test_overlap_and_shifts():
    reference = spectra.vibrational_density(oscillators([500.0, 1700.0], 7.0, 2000))
    shifted = spectra.vibrational_density(oscillators([515.0, 1700.0], 7.0, 2000))
    assert overlap(reference.curve(), reference.curve()) == pytest.approx(1.0)
    assert 0.4 < overlap(shifted.curve(), reference.curve()) < 0.9
    shifts = spectra.peak_shifts(shifted, reference)
    assert [p for p, _ in shifts] == pytest.approx([500, 1700], abs=2)
    assert [s for _, s in shifts] == pytest.approx([15.0, 0.0], abs=2)


def test_drift_of_the_whole_is_no_line():
    still = oscillators([900.0], 7.0, 1000)
    moving = still.replace(extra={"velocity": still.velocity + 3.0})
    a, b = spectra.vibrational_density(still).curve(), spectra.vibrational_density(moving).curve()
    assert torch.allclose(a, b, atol=1e-9)


def test_only_whole_windows_that_were_alive_count():
    run = oscillators([900.0], 7.0, 1000)
    mask, v = run.mask.clone(), run.velocity.clone()
    mask[:2, 480:], v[:2, 480:] = False, float("nan")
    cut = run.replace(mask=mask, extra={"velocity": v})
    power = spectra.vibrational_density(cut).total.sum(1)
    assert 0 < float(power[0]) < 0.5 * float(power[1])
    with pytest.raises(ValueError, match="window"):
        spectra.vibrational_density(run.frames(slice(0, 100)))
    with pytest.raises(ValueError, match="stopped"):
        spectra.vibrational_density(run.replace(mask=torch.arange(1000).expand(4, -1) < 300, extra={"velocity": torch.zeros_like(v)}))

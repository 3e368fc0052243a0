"""Vibrational density of states from velocities, and where its lines appear when velocities are seen only once a stride.

A surrogate of stride D shows frequencies up to the Nyquist frequency 1/(2D) alone: 2 383 cm^-1 at 7 fs, 556 cm^-1 at 30 fs. Faster motion is
folded back. Compare a surrogate with its reference subsampled at the same D, with the same window, and say so.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.metrics.profiles import Profile, alive
from trajlab.types import Trajectories

WAVENUMBER = 33356.40951981521  #: cm^-1 in one 1/fs
WINDOW_FS = 3336.0  #: default length of the window: bins of 10 cm^-1


def nyquist(stride: float) -> float:
    """Highest wavenumber, cm^-1, that frames ``stride`` fs apart can show."""
    return WAVENUMBER / (2 * stride)


def folded(wavenumber: Float[Tensor, "line"], stride: float) -> Float[Tensor, "line"]:
    """Where lines appear, cm^-1, when sampled every ``stride`` fs: reflected at multiples of the Nyquist wavenumber."""
    period = 2 * nyquist(stride)
    rest = wavenumber.abs() % period
    return torch.minimum(rest, period - rest)


def subsampled(trajectories: Trajectories, stride: float) -> Trajectories:
    """Every k-th frame, so that frames are ``stride`` apart.

    Raises:
        ValueError: ``stride`` is not a whole multiple of the spacing of the frames.
    """
    every = stride / trajectories.spacing
    if every < 0.999 or abs(every - round(every)) > 1e-3:
        raise ValueError(f"frames {trajectories.spacing:g} fs apart cannot be subsampled to {stride:g} fs; save the reference at a divisor of it")
    return trajectories if round(every) == 1 else trajectories.frames(slice(None, None, round(every)))


def vibrational_density(trajectories: Trajectories, window_fs: float = WINDOW_FS) -> Profile:
    """Power spectrum of mass-weighted velocities, normalised to 1 over its bins, per cm^-1; one row a scene.

    Welch's method: Hann windows of ``window_fs``, overlapping by half, each wholly alive; ``sum_i m_i |FT(v_i)|^2`` of velocities
    relative to the centre of mass. The axis is in cm^-1 and ends at the Nyquist wavenumber.

    Raises:
        ValueError: the run is shorter than the window, or no window is alive.
    """
    spacing, frames = trajectories.spacing, trajectories.n_frames
    length = round(window_fs / spacing)
    if not 8 <= length <= frames:
        raise ValueError(
            f"a window of {window_fs:g} fs has {length} frames of {spacing:g} fs; 8 to {frames} (the length of the run) are possible. "
            f"Choose window_fs between {8 * spacing:g} and {frames * spacing:g}"
        )
    starts = range(0, frames - length + 1, max(length // 2, 1))
    live, weighted = alive(trajectories), _mass_weighted(trajectories)
    hann = torch.hann_window(length, periodic=False, dtype=torch.float64, device=weighted.device)[:, None]
    power = weighted.new_zeros(trajectories.n_scenes, length // 2 + 1)
    for start in starts:
        whole = live[:, start : start + length].all(1)
        amplitude = torch.fft.rfft(weighted[:, start : start + length] * hann, dim=1)
        line = (amplitude.abs().square().sum(2) * whole[trajectories.scene, None])
        power.index_add_(0, trajectories.scene, line)
    if not bool((power > 0).any()):
        raise ValueError(f"no window of {window_fs:g} fs lies wholly before the runs were stopped; choose a shorter window_fs")
    axis = torch.fft.rfftfreq(length, spacing, dtype=torch.float64, device=power.device) * WAVENUMBER
    width = float(axis[1])
    return Profile(axis, power, (power.sum(1, keepdim=True) * width).expand_as(power))


def _mass_weighted(trajectories: Trajectories) -> Tensor:
    mass, scene = trajectories.mass.double(), trajectories.scene
    v = torch.where(trajectories.mask[..., None], trajectories.velocity.double(), 0.0)
    moment = v.new_zeros(trajectories.n_scenes, *v.shape[1:]).index_add_(0, scene, v * mass[:, None, None])
    mean = moment / mass.new_zeros(trajectories.n_scenes).index_add_(0, scene, mass)[:, None, None]
    return (v - mean[scene]) * mass.sqrt()[:, None, None]


def peaks(spectrum: Profile, least: float = 0.05) -> Float[Tensor, "peak"]:
    """Wavenumbers of the local maxima that reach ``least`` of the highest, by a parabola through three bins."""
    y = spectrum.curve()
    inner = y[1:-1]
    at = ((inner > y[:-2]) & (inner >= y[2:]) & (inner >= least * y.max())).nonzero().flatten() + 1
    left, here, right = y[at - 1], y[at], y[at + 1]
    offset = 0.5 * (left - right) / (left - 2 * here + right)
    return spectrum.axis[at] + offset * (spectrum.axis[1] - spectrum.axis[0])


def peak_shifts(spectrum: Profile, reference: Profile, least: float = 0.05) -> list[tuple[float, float]]:
    """For each peak of the reference its wavenumber and by how much the nearest peak of ``spectrum`` is shifted, cm^-1."""
    mine, theirs = peaks(spectrum, least / 2), peaks(reference, least)
    if not len(mine):
        return [(float(p), float("nan")) for p in theirs]
    return [(float(p), float(mine[(mine - p).abs().argmin()] - p)) for p in theirs]

"""Velocities: estimated from positions where there are none, and checked against the displacements where there are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.types import Trajectories
from trajlab.units import AMU_A2_FS2, ASE_TIME, BOLTZMANN, UNITLESS

__all__ = ["VelocityCheck", "check_velocities", "finite_differences"]

# What (true displacement) / (velocity x frame spacing) is when the velocities or the clock are in another unit than they are said to be.
ATOMIC = {
    1 / ASE_TIME: f"the velocities are in ASE units (Angstrom per {ASE_TIME:.4f} fs); divide them by {ASE_TIME:.4f} to get Angstrom/fs",
    ASE_TIME: f"the velocities were divided by ASE's unit of time ({ASE_TIME:.4f} fs) once too often, or the clock is in ASE units",
    1e-3: "the velocities are in Angstrom/ps, or the clock in ps, where femtoseconds were declared: a factor of 1000 between fs and ps",
    1e3: "the clock is in fs and the velocities in Angstrom/fs, but one of them was declared in ps: a factor of 1000 between fs and ps",
    1e-2: "the velocities are in nm/ps (GROMACS), where Angstrom/fs were declared",
    0.5291772 / 0.02418884: "the velocities are in atomic units (bohr per atomic unit of time)",
}
ROAD = {
    1 / 3.6: "the velocities are in km/h, where length/time of the store were declared",
    3.6: "the velocities were converted from km/h once too often",
    0.44704: "the velocities are in miles an hour",
    0.3048: "one of positions and velocities is in feet, the other in metres",
    1 / 0.3048: "one of positions and velocities is in feet, the other in metres",
}
TOLERANCE = 0.25  # of the logarithm of the ratio: ethanol at 400 K has ratio 1.01 at 0.5 fs, 1.06 at 2 fs and 1.17 at 4 fs
CORRELATION = 0.9  # below it the frames lie too far apart for the slope to say anything (ethanol: 0.998 at 2 fs, 0.65 at 7 fs)
COLD, HOT, OFF = 5.0, 20_000.0, 8.0  # kelvin, kelvin, and the factor from a stated temperature that is still believed


@dataclass(frozen=True)
class VelocityCheck:
    """What was found: ``ratio`` of displacement to velocity times spacing (1 where all is well), the ``correlation`` of the two,
    the ``temperature`` in kelvin (NaN where there are no masses in MD units), and a ``note`` on which test decided."""

    ratio: float
    correlation: float
    temperature: float
    note: str


def check_velocities(trajectories: Trajectories) -> VelocityCheck:
    """Compare velocities with displacements: sum(d . v) / sum(v . v) over the closest frames must be their spacing.

    v is the mean of the two ends of each displacement, which is exact to second order. Where frames lie so far apart that
    displacements no longer follow velocities, molecular temperatures are judged instead: against ``context["temperature"]``, or
    against what is plausible.

    Raises:
        ValueError: there are no velocities, they are all zero although things move, or their unit disagrees with displacements and
            clock; the ratio and the likely unit are named.
    """
    kelvin = _temperature(trajectories)
    if trajectories.n_frames < 2:
        return _by_temperature(trajectories, math.nan, math.nan, kelvin, "a single frame has no displacements")
    d, v, step = _closest(trajectories)
    dv, vv, dd = float((d * v).sum()), float((v * v).sum()), float((d * d).sum())
    if vv == 0:
        if dd == 0:
            return VelocityCheck(math.nan, math.nan, kelvin, "nothing moves, so there was nothing to check")
        raise ValueError(
            f"all velocities are zero, but positions move by {math.sqrt(dd / len(d)):.3g} {trajectories.units.length} a frame: the file has no "
            "velocities. Read them as missing, and estimate them with trajlab.data.finite_differences"
        )
    ratio, correlation = dv / vv / step, dv / math.sqrt(vv * dd) if dd else 0.0
    if correlation < -CORRELATION:
        raise ValueError("velocities point against the displacements: the frames run backwards in time, or the sign of the velocities is wrong")
    if correlation < CORRELATION:
        return _by_temperature(
            trajectories, ratio, correlation, kelvin, f"frames {step:g} {trajectories.units.time} apart are too far for displacements to tell"
        )
    if abs(math.log(ratio)) > TOLERANCE:
        raise ValueError(_disagreement(trajectories, ratio, step))
    return VelocityCheck(ratio, correlation, kelvin, f"displacements over {step:g} {trajectories.units.time} agree with the velocities")


def _disagreement(trajectories: Trajectories, ratio: float, step: float) -> str:
    units = trajectories.units
    known = ATOMIC if units.energy != UNITLESS or units.time in ("fs", "ps") else ROAD
    plain = (
        f"the frames are {ratio * step:.4g} {units.time} apart and not the declared {step:g}, or the velocities are "
        f"{1 / ratio:.4g} times too large"
    )
    # Ratios of 0.0982 (ASE) and 0.1 (a slip of the decimal point) are so close that both are told, the nearer first.
    far = {r: abs(math.log(r / ratio)) for r in (*known, 0.1, 10.0)}
    near = sorted((r for r in far if far[r] < 0.03), key=far.__getitem__)
    likely = ", or else ".join(dict.fromkeys(known.get(r, plain) for r in near)) or plain
    return (
        f"velocities disagree with displacements: over {step:g} {units.time} the positions move by {ratio:.4g} times the velocity x spacing "
        f"(1 was wanted). Likely: {likely}. Give the reader the unit or the spacing that is true, or correct the file"
    )


def _closest(trajectories: Trajectories) -> tuple[Tensor, Tensor, float]:
    """Displacements and mean velocities over the steps that are within 1 % of the shortest, and that step."""
    steps = trajectories.time.diff(dim=1)
    shortest = steps.min()
    near = (steps <= 1.01 * shortest)[trajectories.scene] & trajectories.mask[:, 1:] & trajectories.mask[:, :-1]
    velocity = trajectories.velocity.double()
    d = trajectories.x.double().diff(dim=1)[near]
    return d, ((velocity[:, 1:] + velocity[:, :-1]) / 2)[near], float(shortest)


def _temperature(trajectories: Trajectories) -> float:
    """m <v^2> / 3 k over all that was observed, kelvin; NaN where units or masses are not those of molecular dynamics."""
    units = trajectories.units
    mask = trajectories.mask
    if (units.length, units.time, units.mass) != ("angstrom", "fs", "amu") or "mass" not in trajectories.static or not bool(mask.any()):
        trajectories.velocity  # noqa: B018  # names what is missing
        return math.nan
    energy = trajectories.mass.double()[:, None] * trajectories.velocity.double().square().sum(-1) * AMU_A2_FS2
    return float(energy[mask].mean()) / (3 * BOLTZMANN)


def _by_temperature(trajectories: Trajectories, ratio: float, correlation: float, kelvin: float, why: str) -> VelocityCheck:
    stated = float(trajectories.context["temperature"].double().mean()) if "temperature" in trajectories.context else math.nan
    if math.isnan(kelvin) or kelvin == 0:
        return VelocityCheck(ratio, correlation, kelvin, f"{why}, and there is no temperature to judge: the unit of the velocities was not checked")
    low, high = (stated / OFF, stated * OFF) if stated > 0 else (COLD, HOT)
    if not low <= kelvin <= high:
        factor = math.sqrt((stated if stated > 0 else 300.0) / kelvin)
        near = min(ATOMIC, key=lambda r: abs(math.log(r / factor)))
        likely = ATOMIC[near] if abs(math.log(near / factor)) < 0.7 else f"the velocities are about {1 / factor:.3g} times too large"
        raise ValueError(
            f"the velocities stand for {kelvin:.4g} K, but {f'{stated:g} K is stated' if stated > 0 else f'{low:g} to {high:g} K is plausible'} "
            f"({why}). Likely: {likely}. Give the reader the unit that is true, or correct the file"
        )
    return VelocityCheck(ratio, correlation, kelvin, f"{why}; the temperature of {kelvin:.4g} K is plausible")


def finite_differences(trajectories: Trajectories, *, overwrite: bool = False) -> Trajectories:
    """Velocities estimated from positions: the slope of the parabola through three neighbouring frames, second order in their spacing.

    Central where both neighbours were observed, one-sided at the ends of what was observed. Nodes and frames without three observed
    frames in a row are masked out, and counted in the provenance, which names the estimate. Positions must be unwrapped.

    Raises:
        ValueError: there are velocities already (unless ``overwrite``), fewer than 3 frames, nowhere three observed in a row, or
            positions that jump by more than 0.4 of a periodic cell.
    """
    if "velocity" in trajectories.extra and not overwrite:
        raise ValueError("there are velocities already; pass overwrite=True to replace them by an estimate")
    if trajectories.n_frames < 3:
        raise ValueError(f"second-order finite differences need at least 3 frames, but there are {trajectories.n_frames}")
    _refuse_wrapped(trajectories)
    velocity, found = _slopes(trajectories)
    if not bool(found.any()):
        raise ValueError("no node was observed in three frames in a row, so no velocity can be estimated")
    lost = int((trajectories.mask & ~found).sum())
    said = {"method": "finite differences, parabola through 3 frames, second order", "frames_masked_out": lost}
    return trajectories.replace(
        extra={**trajectories.extra, "velocity": velocity.to(trajectories.x.dtype)}, mask=trajectories.mask & found,
        source={**trajectories.source, "velocity": said},
    )


def _slopes(trajectories: Trajectories) -> tuple[Float[Tensor, "node time dim"], Bool[Tensor, "node time"]]:
    frames = trajectories.n_frames
    mask, x = trajectories.mask, trajectories.x.double()
    velocity = torch.zeros_like(x)
    found = torch.zeros_like(mask)
    here = torch.arange(frames, device=x.device)
    for offsets in ((-1, 0, 1), (0, 1, 2), (-2, -1, 0)):  # central first: it has the smallest error
        valid = here[(here + offsets[0] >= 0) & (here + offsets[-1] < frames)]
        three = valid[:, None] + torch.tensor(offsets, device=x.device)
        weight = _parabola(trajectories.time[:, three], trajectories.time[:, valid])[trajectories.scene]
        use = mask[:, three].all(-1) & ~found[:, valid]
        slope = torch.einsum("nfk,nfkd->nfd", weight, torch.where(use[..., None, None], x[:, three], 0))
        velocity[:, valid] = torch.where(use[..., None], slope, velocity[:, valid])
        found[:, valid] |= use
    return velocity, found


def _parabola(nodes: Float[Tensor, "scene frame 3"], at: Float[Tensor, "scene frame"]) -> Float[Tensor, "scene frame 3"]:
    """Weights of three values in the derivative of the parabola through them (Lagrange), for any spacing."""
    a, b, c = (nodes - at[..., None]).unbind(-1)
    return torch.stack([-(b + c) / ((a - b) * (a - c)), -(a + c) / ((b - a) * (b - c)), -(a + b) / ((c - a) * (c - b))], -1)


def _refuse_wrapped(trajectories: Trajectories) -> None:
    from trajlab.data.cells import unwrap

    if not torch.equal(torch.nan_to_num(unwrap(trajectories).x), torch.nan_to_num(trajectories.x)):
        raise ValueError("positions jump across the periodic cell; call trajlab.data.unwrap(trajectories) first")

"""What a long roll-out is measured by: stability, temperatures, structure and spectra, each beside its reference and noise floor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trajlab.metrics import molecular as m
from trajlab.metrics.uncertainty import Estimate
from trajlab.types import Forecast, Trajectories


@dataclass(frozen=True)
class Settings:
    """How roll-outs are judged.

    Attributes:
        temperature: target, K; by default that of the roll-out's thermostat, else ``context["temperature"]``, else the mean over the run.
        discard_fs: what is left out at the start; at most a fifth of the run.
        bin_width: of distances, Angstrom.
        window_fs: of the spectra.
        thin: every how many frames structures and element temperatures are looked at; 0 chooses about 2 million distances.
        least_scenes: shorter sets of replicas are cut into blocks of time to have this many, for the noise floor.
        drift_fs: time after which the change of the reference energy is quoted.
        seed: of the random splits.
    """

    temperature: float | None = None
    discard_fs: float = 2000.0
    bin_width: float = 0.02
    window_fs: float = 3336.0
    thin: int = 0
    least_scenes: int = 8
    drift_fs: float = 5000.0
    seed: int = 0


@dataclass(frozen=True)
class Stops:
    """How many systems ran to the end, and what stopped the others: (system, time in fs, reason)."""

    n: int
    length_fs: float
    early: list[tuple[int, float, str]]
    share: Tensor
    time: Tensor


@dataclass(frozen=True, eq=False)
class Tracked:
    """Which distances are looked at, by node numbers of one system: ``bonded`` pairs of a molecule or the first ``shell`` of a crystal,
    the angles that bonds make, and the range of distances; ``kind`` says which system that is."""

    name: str
    pairs: Tensor
    angles: Tensor
    r_max: float
    kind: Tensor


@dataclass(frozen=True)
class Measured:
    """The figures of one roll-out.

    Attributes:
        stops: stability.
        target: temperature that was aimed at, K.
        temperature: mean, K.
        elements: mean of each element, K.
        canonical: the distribution of the kinetic energy.
        course: kinetic energies from the start.
        kinetic: kinetic energies after what was discarded.
        tracked: which distances were looked at.
        profiles: curves by name: ``"bonded"`` or ``"shell"``, ``"all"``, ``"angles"``, ``"vdos"``, ``"msd"``.
        compared: distances of those curves from the reference, where there is one.
        drift: change of the reference energy, meV/atom, where a potential was given.
    """

    stops: Stops
    target: float
    temperature: Estimate
    elements: Mapping[str, Estimate]
    canonical: m.CanonicalFit
    course: m.Kinetic
    kinetic: m.Kinetic
    tracked: Tracked
    profiles: Mapping[str, m.Profile]
    compared: Mapping[str, m.Compared] = field(default_factory=dict)
    drift: m.Drift | None = None


def stops(run: Forecast | Trajectories) -> Stops:
    """Which systems ended early, when and why."""
    trajectories = m.replicas(run)
    live = m.alive(trajectories)
    clock = trajectories.time - trajectories.time[:, :1] + (trajectories.spacing if isinstance(run, Forecast) else 0.0)
    early = []
    for scene in range(len(live)):
        seen, reason = int(live[scene].sum()), _reason(run, scene) if isinstance(run, Forecast) else ""
        if reason or not live[scene, -1]:  # where all were stopped the clock ends with the last of them
            early.append((scene, float(clock[scene, seen - 1]) if seen else 0.0, reason or "masked"))
    return Stops(len(live), float(clock[0, -1]), early, live.double().mean(0), clock[0])


def _reason(run: Forecast, replica: int) -> str:
    """Why a replica was stopped; a scene of several draws lists them as ``draw 0: ...; draw 1: ...``."""
    draw, scene = divmod(replica, run.past.n_scenes)
    if run.n_draws == 1:
        return run.stopped[scene]
    start = f"draw {draw}: "
    return next((part.removeprefix(start) for part in run.stopped[scene].split("; ") if part.startswith(start)), "")


def settled_at_all(run: Forecast | Trajectories, settings: Settings) -> bool:
    """Whether anything is left to measure after what is discarded at the start."""
    whole = m.replicas(run)
    return whole.n_frames > 1 and bool(m.alive(_settled(whole, settings)).any())


def measure(run: Forecast | Trajectories, reference: Measured | Trajectories | None = None, settings: Settings | None = None) -> Measured:
    """All figures of a roll-out of replicas of one system.

    Args:
        run: the roll-out, with velocities and masses; draws count as replicas.
        reference: runs of the reference at the same spacing or a divisor of it, best under the same thermostat; or what this function
            found for them.
        settings: how.

    Raises:
        ValueError: the scenes are different systems, spacings disagree, the run is too short, or nothing was alive after the start.
    """
    settings = settings or Settings()
    whole = m.replicas(run)
    kind = _one_system(whole)
    if isinstance(reference, Trajectories):
        reference = measure(m.subsampled(reference, whole.spacing), None, settings)
    if reference is not None and not torch.equal(reference.tracked.kind, kind):
        raise ValueError("the reference is another system, or lists its atoms in another order; judge like with like")
    trajectories = _settled(whole, settings)
    series = m.kinetic(trajectories)
    mean = series.mean_temperature()
    target = _target(whole, settings, mean)
    thin = settings.thin or _thinning(trajectories)
    tracked = _track(whole) if reference is None else reference.tracked
    profiles = _profiles(trajectories, tracked, thin, settings)
    return Measured(stops(run), target, mean, m.element_temperatures(trajectories, thin), m.canonical_fit(series, target), m.kinetic(whole), series,
                    tracked, profiles, {} if reference is None else _compared(profiles, reference.profiles, settings))


def _one_system(trajectories: Trajectories) -> Tensor:
    """The atomic numbers that all scenes share."""
    sizes = trajectories.sizes
    kinds = trajectories.kind.reshape(len(sizes), -1) if bool((sizes == sizes[0]).all()) else None
    if kinds is None or bool((kinds != kinds[0]).any()):
        raise ValueError("the scenes are different systems; judge replicas of one system at a time: trajectories.scenes(which)")
    return kinds[0]


def _settled(trajectories: Trajectories, settings: Settings) -> Trajectories:
    """Without the first ``discard_fs``, and in blocks of time where there are few replicas."""
    skip = min(round(settings.discard_fs / trajectories.spacing), trajectories.n_frames // 5)
    kept = trajectories.frames(slice(skip, None))
    blocks = math.ceil(settings.least_scenes / kept.n_scenes)
    longest = int(kept.n_frames * kept.spacing / (1.5 * settings.window_fs))
    return m.time_blocks(kept, max(1, min(blocks, longest)))


def _target(trajectories: Trajectories, settings: Settings, mean: Estimate) -> float:
    """What was asked for, else the target of the roll-out's thermostat, else the declared temperature, else the mean."""
    if settings.temperature is not None:
        return settings.temperature
    thermostat = trajectories.source.get("thermostat")
    aimed = thermostat.get("temperature_K") if isinstance(thermostat, Mapping) else None
    if isinstance(aimed, int | float):
        return float(aimed)
    declared = trajectories.context.get("temperature")
    return mean.value if declared is None else float(declared.double().mean())


def _thinning(trajectories: Trajectories) -> int:
    n = int(trajectories.sizes[0])
    distances = trajectories.n_scenes * trajectories.n_frames * n * (n - 1) / 2
    return max(1, min(round(distances / 2e6), trajectories.n_frames // 50))


def everywhere(pairs: Tensor, trajectories: Trajectories) -> Tensor:
    """Node numbers of the first scene repeated in all scenes of the same system."""
    offset = trajectories.ptr[:-1]
    return (pairs[:, None] + offset[:, None]).flatten(1)


def _track(run: Trajectories) -> Tracked:
    """What to look at, from the start frame of the first system, or from the mean structure of a crystal."""
    first = run.scenes([0])
    seen = m.alive(first)[0].nonzero().flatten()
    limit = m.half_height(first)
    if first.pbc is not None and bool(first.pbc.all()):
        mean = first.frames(seen[:1]).replace(x=first.x[:, seen].mean(1, keepdim=True))
        pairs = m.first_shell(mean)
        return Tracked("shell", pairs, pairs.new_zeros(3, 0), limit, first.kind)
    pairs = m.bonds(first)
    if math.isinf(limit):
        some = first.frames(seen[:: max(1, len(seen) // 200)])
        limit = 1.3 * float(m.distances(some, m.all_pairs(first)).max()) + 0.5 if first.n_nodes > 1 else 1.0
    return Tracked("bonded", pairs, m.bond_angles(pairs), limit, first.kind)


def _profiles(trajectories: Trajectories, tracked: Tracked, thin: int, settings: Settings) -> dict[str, m.Profile]:
    thinned, width = trajectories.frames(slice(None, None, thin)), settings.bin_width
    found = {}
    if tracked.pairs.shape[1]:
        found[tracked.name] = m.pair_distances(thinned, everywhere(tracked.pairs, trajectories), width, tracked.r_max)
    if len(tracked.kind) > 1:
        found["all"] = m.pair_distances(thinned, None, width, tracked.r_max)
    if tracked.angles.shape[1]:
        found["angles"] = m.angle_distribution(thinned, everywhere(tracked.angles, trajectories))
    if int(m.alive(trajectories).sum(1).max()) * trajectories.spacing >= settings.window_fs:
        found["vdos"] = m.vibrational_density(trajectories, settings.window_fs)
    if trajectories.cell is not None:
        found["msd"] = m.mean_square_displacement(trajectories)
    return found


def _compared(mine: Mapping[str, m.Profile], theirs: Mapping[str, m.Profile], settings: Settings) -> dict[str, m.Compared]:
    found = {}
    for name in mine.keys() & theirs.keys() - {"msd"}:
        one, other, distance = mine[name], theirs[name], m.overlap if name == "vdos" else m.l1
        if min(one.n_scenes, other.n_scenes) > 1:
            found[name] = m.compare(one, other, distance, torch.Generator().manual_seed(settings.seed))
        else:  # no halves, no noise floor
            found[name] = m.Compared(distance(one.curve(), other.curve()), math.nan, math.nan, math.nan)
    return found

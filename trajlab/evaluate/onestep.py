"""One-step errors of several propagators side by side, and how errors grow with the horizon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trajlab.data.windows import windows
from trajlab.dynamics.particles import Particles, Propagator
from trajlab.evaluate.results import Curve, Figure, Table
from trajlab.metrics.accuracy import Squares
from trajlab.models.baselines import check_stride
from trajlab.types import Trajectories

NODES = 8192  #: most atoms in one call


@dataclass(frozen=True, eq=False)
class OneStep:
    """Errors of one model: of displacements (Angstrom) and of new velocities (Angstrom/fs)."""

    displacement: Squares
    velocity: Squares


def one_step_errors(model: Propagator, test: Trajectories, name: str = "the model") -> OneStep:
    """Errors over all pairs of neighbouring frames; runs (``context["run"]``) are the independent units of the error bars.

    Raises:
        ValueError: the frames are not one stride of the model apart, or a prediction is not finite.
    """
    check_stride(name, model.stride, test)
    pairs = windows(test, 2) if test.n_frames > 2 or not bool(test.mask.all()) else test
    run = pairs.context.get("run", torch.arange(pairs.n_scenes, device=pairs.x.device))
    parts = [_predicted(model, part) for part in _batches(pairs)]
    d, v, true_d, true_v = (torch.cat([p[k] for p in parts]) for k in range(4))
    run = run[pairs.scene]
    return OneStep(Squares.of(d, true_d, pairs.kind, run), Squares.of(v, true_v, pairs.kind, run))


def _batches(pairs: Trajectories) -> Iterator[Trajectories]:
    """Some scenes at a time, together of at most about `NODES` nodes."""
    group = (pairs.ptr[1:] - 1) // NODES
    for k in group.unique().tolist():
        yield pairs.scenes((group == k).nonzero().flatten())


@torch.no_grad()
def _predicted(model: Propagator, part: Trajectories) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Displacement and velocity one stride after the first frame, and the truth."""
    p, after = Particles.of(part, 0), Particles.of(part, 1)
    d, v = model.propagate(p)
    return d, v, after.x - p.x, after.v


def one_step(propagators: Mapping[str, Propagator], test: Trajectories) -> Table:
    """The table of one-step errors of several models on the same test set.

    Errors are RMS over atoms and components, relative to the RMS of the truth (in total and by element) and absolute, with bootstrap
    standard errors over independent runs.

    Raises:
        ValueError: there are no models, or as `one_step_errors`.
    """
    if not propagators:
        raise ValueError("no models were passed; give a dict of names and propagators, for example {'ballistic': Ballistic(7.0)}")
    return one_step_table({name: one_step_errors(model, test, name) for name, model in propagators.items()})


def one_step_table(scores: Mapping[str, OneStep], title: str = "One-step errors") -> Table:
    """The table of errors that were computed already."""
    from ase.data import chemical_symbols

    first = next(iter(scores.values()))
    symbols = [chemical_symbols[z] for z in first.displacement.element.tolist()]
    columns = ["model", "d, %", "±", "v', %", "± ", "d, mA", "v', mA/fs", *[f"{s} d / v', %" for s in symbols]]
    rows = []
    for name, score in scores.items():
        d, v = score.displacement.estimates(), score.velocity.estimates()
        absolute = [1000 * float(s.absolute()[0]) for s in (score.displacement, score.velocity)]
        elements = [f"{100 * a.value:.3g} / {100 * b.value:.3g}" for a, b in zip(d[1:], v[1:])]
        rows.append([name, 100 * d[0].value, 100 * d[0].error, 100 * v[0].value, 100 * v[0].error, *absolute, *elements])
    note = ("RMS error over atoms and components of displacement d and new velocity v' one stride later, divided by the RMS of the truth; "
            "± is the standard error over independent test runs (bootstrap).")
    return Table(title, columns, rows, note)


def parity(model: Propagator, test: Trajectories, name: str, points: int = 300) -> Figure:
    """Predicted against true displacements after one stride, some atoms of each element."""
    from ase.data import chemical_symbols

    part = next(_batches(windows(test, 2) if test.n_frames > 2 else test))
    d, _, truth, _ = (value.cpu() for value in _predicted(model, part))
    curves = []
    for z in part.kind.unique().tolist():
        which = (part.kind == z).cpu().nonzero().flatten()
        some = which[:: max(1, 3 * len(which) // points)]
        curves.append(Curve(chemical_symbols[z], truth[some].flatten().numpy(), d[some].flatten().numpy(), style="points"))
    low, high = float(truth.min()), float(truth.max())
    line = torch.tensor([low, high]).numpy()
    return Figure(f"One step of {name}", "true displacement, A", "predicted displacement, A", [*curves, Curve("exact", line, line)],
                  note=f"All components; at most {points} a element.")


def horizon(propagators: Mapping[str, Propagator], test: Trajectories) -> Figure:
    """Error of the position after 1, 2, 4, ... strides without thermostat, relative to the RMS displacement until then.

    Raises:
        ValueError: the scenes hold a single pair.
    """
    if test.n_frames < 3:
        raise ValueError("an error against the horizon needs scenes of 3 or more frames without thermostat")
    curves = []
    for name, model in propagators.items():
        error, true = (sum(part) for part in zip(*(_growth(model, part) for part in _batches(test))))
        relative = 100 * (error / true).sqrt()
        kept = relative < 1000  # a model that blew up leaves the figure
        time = test.spacing * 2.0 ** torch.arange(len(relative), dtype=torch.float64)
        curves.append(Curve(name, time[kept].numpy(), relative[kept].numpy()))
    return Figure("Error against horizon", "time, fs", "error, % of the RMS displacement", curves, logy=True,
                  note="Deterministic runs without thermostat; 140 % is the error of an independent sample. A model that blows up is left out.")


@torch.no_grad()
def _growth(model: Propagator, part: Trajectories) -> tuple[Tensor, Tensor]:
    """Squared error and squared displacement after 1, 2, 4, ... strides from the first frame; infinite from where the state is not finite."""
    p, cache = Particles.of(part, 0), {}
    start, found = p.x, []
    for step in range(1, part.n_frames):
        d, v = model.propagate(p, cache)
        p = p.replace(x=p.x + d, v=v)
        if not bool(torch.isfinite(p.x).all() and torch.isfinite(p.v).all() and (p.x - start).abs().max() < 1e3):
            break
        if step & (step - 1) == 0:
            truth = part.x[:, step].double()
            found.append([float((p.x - truth).square().sum()), float((truth - start).square().sum())])
    lags = (part.n_frames - 1).bit_length()
    found += [[float("inf"), 1.0]] * (lags - len(found))
    return torch.tensor(found, dtype=torch.float64).T.unbind(0)  # type: ignore[return-value]

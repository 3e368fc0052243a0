"""Molecular dynamics judged: `one_step` compares models on pairs, `judge` compares a roll-out with its reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trajlab.dynamics.particles import Particles, Potential, Propagator
from trajlab.evaluate import figures as draw
from trajlab.evaluate.onestep import horizon, one_step, one_step_errors, parity
from trajlab.evaluate.results import Evaluation, Figure, Table
from trajlab.evaluate.rollout_tables import rollout_tables
from trajlab.evaluate.rollouts import Measured, Settings, measure
from trajlab.metrics import molecular as m
from trajlab.types import Forecast, Trajectories

__all__ = ["Evidence", "Settings", "judge", "one_step", "one_step_errors"]


@dataclass(frozen=True)
class Evidence:
    """What else there is to judge by; everything is optional.

    Attributes:
        models: propagators by name, the judged one first, for one-step errors and the Jacobian.
        test: pairs or longer scenes without thermostat that no model was fitted on.
        potential: the reference potential, for energies along ``nve``.
        nve: a roll-out of the judged model without thermostat.
        rest: one system at an equilibrium of the reference, for the Jacobian (`trajlab.evaluate.equilibrium.relaxed`).
        others: further roll-outs by name (another thermostat, another model), shown beside the judged one.
    """

    models: Mapping[str, Propagator] = field(default_factory=dict)
    test: Trajectories | None = None
    potential: Potential | None = None
    nve: Forecast | Trajectories | None = None
    rest: Particles | None = None
    others: Mapping[str, Forecast | Trajectories] = field(default_factory=dict)


def judge(
    forecast: Forecast | Trajectories, reference: Trajectories | None = None, *, evidence: Evidence | None = None, settings: Settings | None = None,
    title: str = "",
) -> Evaluation:
    """Everything that can be said about a roll-out of replicas of one system, ready for the report.

    Args:
        forecast: the roll-out, with velocities and masses.
        reference: runs of the reference, recorded at the stride (or a divisor of it), best under the same thermostat. Without it the
            tables hold what needs none: stability, temperatures, equipartition, the canonical law.
        evidence: models, test pairs, a potential, a run without thermostat.
        settings: temperature, what is discarded, bins and windows.
        title: of the page.

    Raises:
        TypeError: a noun of another sort.
        ValueError: the run is empty or too short, or is another system than the reference; see `trajlab.evaluate.rollouts.measure`.
    """
    evidence, settings = evidence or Evidence(), settings or Settings()
    whole = m.replicas(forecast)
    name = _method(forecast)
    theirs = None if reference is None else measure(m.subsampled(reference, whole.spacing), None, settings)
    runs = {name: measure(forecast, theirs, settings)}
    runs |= {other: measure(run, theirs, settings) for other, run in evidence.others.items()}
    if evidence.nve is not None and evidence.potential is not None:
        drift = m.energy_drift(m.replicas(evidence.nve), evidence.potential)
        runs[name] = replace(runs[name], drift=drift)
    tables = rollout_tables(runs, theirs, settings) + _model_tables(evidence)
    pictures = draw.rollout_figures(runs, theirs, whole.spacing) + _model_figures(evidence)
    scenes = draw.structure_scenes(whole, name) + ([] if reference is None else draw.structure_scenes(reference, "reference"))
    return Evaluation(title or f"{name}: {_formula(whole)}", _summary(name, runs[name], reference is not None), tables, pictures, scenes,
                      _provenance(forecast, reference))


def _model_tables(evidence: Evidence) -> list[Table]:
    tables = []
    if evidence.models and evidence.test is not None:
        tables.append(one_step(evidence.models, evidence.test))
    if evidence.models and evidence.rest is not None:
        rows = [[name, m.jacobian_radius(model, evidence.rest)] for name, model in evidence.models.items()]
        tables.append(Table("One-step Jacobian at the equilibrium", ["model", "largest |eigenvalue|"], rows,
                            "Without rigid motions. 1 for the exact map of harmonic motion; what is above 1 heats."))
    return tables


def _model_figures(evidence: Evidence) -> list[Figure]:
    if not evidence.models or evidence.test is None:
        return []
    first, model = next(iter(evidence.models.items()))
    found = [parity(model, evidence.test, first)]
    return found + ([horizon(evidence.models, evidence.test)] if evidence.test.n_frames > 2 else [])


def _summary(name: str, run: Measured, compared: bool) -> str:
    stops, t = run.stops, run.temperature
    lines = [f"{stops.n - len(stops.early)} of {stops.n} systems ran to the end of {stops.length_fs / 1000:.4g} ps.",
             f"Mean temperature {t.value:.1f} ± {t.error:.1f} K; the target is {run.target:.0f} K."]
    if "vdos" in run.compared:
        lines.append(f"Spectra overlap by {run.compared['vdos'].value:.3f} (two halves of the reference by {run.compared['vdos'].floor:.3f}).")
    if "all" in run.compared:
        lines.append(f"Distances of all pairs are off by {100 * run.compared['all'].value:.1f} % (noise {100 * run.compared['all'].floor:.1f} %).")
    if not compared:
        lines.append("No reference was given, so structure and spectra are shown but not compared.")
    return f"{name}.\n\n" + "\n".join(f"- {line}" for line in lines)


def _method(forecast: Forecast | Trajectories) -> str:
    about = forecast.provenance if isinstance(forecast, Forecast) else forecast.source
    return str(about.get("method") or "roll-out")


def _formula(trajectories: Trajectories) -> str:
    from ase.symbols import Symbols

    return Symbols(trajectories.kind[: int(trajectories.sizes[0])].cpu().numpy()).get_chemical_formula()


def _provenance(forecast: Forecast | Trajectories, reference: Trajectories | None) -> dict[str, Any]:
    mine = dict(forecast.provenance if isinstance(forecast, Forecast) else forecast.source)
    return {"forecast": mine, **({} if reference is None else {"reference": dict(reference.source)})}

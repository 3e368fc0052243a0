"""From a suite to its verdict: all figures of all models with error bars, held against the bars, and the evaluation for the report."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

import trajlab
from trajlab.evaluate.bars import as_text, bar_table, missed
from trajlab.evaluate.figures import drift_figure, rollout_figures, structure_scenes
from trajlab.evaluate.onestep import OneStep, horizon, one_step_errors, one_step_table, parity
from trajlab.evaluate.results import Evaluation, Figure, Scene3D, Table
from trajlab.evaluate.rollout_tables import rollout_tables
from trajlab.evaluate.rollouts import Measured, Settings, measure, settled_at_all, stops
from trajlab.evaluate.suite import Suite
from trajlab.metrics import molecular as m
from trajlab.metrics.uncertainty import Estimate
from trajlab.models.baselines import LargeStepVerlet

Found = dict[str, Estimate]


@dataclass(frozen=True)
class Verdict:
    """What a suite found.

    Attributes:
        evaluation: tables and figures for the report.
        found: figures by model.
        missed: bars that the first model did not reach, as sentences.
    """

    evaluation: Evaluation
    found: Mapping[str, Found]
    missed: list[str]


def assess(suite: Suite) -> Verdict:
    """Run all stages of a suite that are not in its cache, and judge."""
    trained = {name: suite.trained(name)[0] for name in suite.models}
    test, judged = suite.pairs[2], suite.models[0]
    scores = {name: one_step_errors(model, test, name) for name, model in {**trained, **suite.baselines}.items()}
    apart = {name: one_step_errors(model, test, name) for name, model in suite.verlet.items()}
    found = {name: one_step_figures(score, scores) for name, score in scores.items()}
    exact = LargeStepVerlet(suite.potential, suite.recipe.stride, suite.recipe.steps)
    for name, model in {**trained, **suite.baselines, "reference": exact}.items():
        found.setdefault(name, {})["largest eigenvalue of the Jacobian"] = Estimate(m.jacobian_radius(model, suite.rest), math.nan)
    tables = [one_step_table(scores), one_step_table(apart, "Large steps with the reference forces, listed apart"), _eigenvalues(found)]
    _tell(suite, tables)
    pictures = [parity(trained[judged], test, judged), horizon({**trained, **suite.baselines}, suite.segments)]
    for kind in ("Langevin", "CSVR"):
        reference, runs = _thermostatted(suite, kind, found)
        if runs:
            tables += (more := rollout_tables(runs, reference, _settings(suite), f" ({kind})"))
            _tell(suite, more)
            pictures += rollout_figures(runs, reference, suite.recipe.stride, f" ({kind})")
    more_tables, more_pictures = _isolated(suite, found)
    accepted = [bar_table(suite.plan.bars, found, judged, f"Acceptance: {suite.plan.title}")] if suite.plan.bars else []
    _tell(suite, more_tables + accepted)
    lost = missed(suite.plan.bars, found[judged])
    evaluation = Evaluation(suite.plan.title, _summary(suite, lost), [*accepted, *tables, *more_tables], [*pictures, *more_pictures],
                            _scenes(suite), _provenance(suite))
    return Verdict(evaluation, found, lost)


def _tell(suite: Suite, tables: list[Table]) -> None:
    for table in tables:
        suite.say(f"{suite.name}\n\n{as_text(table)}\n")


def one_step_figures(score: OneStep, all_scores: Mapping[str, OneStep]) -> Found:
    """Errors in % and how many times they are below those of the ridges."""
    found = {}
    for symbol, squares in (("d", score.displacement), ("v'", score.velocity)):
        value, error = squares.estimates()[0]
        found[f"one-step {symbol}"] = Estimate(100 * value, 100 * error)
        for ridge in ("linear ridge", "quadratic ridge"):
            if ridge in all_scores and all_scores[ridge] is not score:
                other = all_scores[ridge].displacement if symbol == "d" else all_scores[ridge].velocity
                found[f"{symbol} below the {ridge}"] = squares.below(other)
    return found


def rollout_numbers(run: Measured, prefix: str) -> Found:
    """The figures of a roll-out that bars are set for."""
    t, spread = run.temperature, run.canonical.spread
    worst = max(run.elements.values(), key=lambda e: abs(e.value / run.target - 1))
    found = {
        "systems that ended early": Estimate(float(len(run.stops.early)), math.nan),
        "mean temperature off target": Estimate(100 * abs(t.value / run.target - 1), 100 * t.error / run.target),
        "kinetic energy by element off canonical, worst": Estimate(100 * abs(worst.value / run.target - 1), 100 * worst.error / run.target),
        "std of K off canonical": Estimate(100 * abs(spread.value - 1), 100 * spread.error),
    }
    for name, c in run.compared.items():
        if name == "vdos":
            found["VDOS overlap"] = Estimate(c.value, c.spread)
        else:
            found[f"{name} {'' if name == 'angles' else 'distances '}above noise"] = Estimate(100 * c.above, 100 * c.spread)
    return {f"{prefix}: {name}": value for name, value in found.items()}


def _settings(suite: Suite) -> Settings:
    return Settings(temperature=suite.recipe.temperature, window_fs=suite.plan.window_fs, drift_fs=1000 * suite.plan.nve_ps)


def _thermostatted(suite: Suite, kind: str, found: dict[str, Found]) -> tuple[Measured, dict[str, Measured]]:
    """The reference and the roll-outs of all models under a thermostat; their figures are entered in ``found``."""
    settings, runs = _settings(suite), {}
    reference = measure(suite.reference(kind), None, settings)
    found["reference"] |= rollout_numbers(reference, kind)
    for name in suite.models:
        run = suite.rolled(name, kind)
        if run is not None and settled_at_all(run, settings):
            runs[name] = measure(run, reference, settings)
            found[name] |= rollout_numbers(runs[name], kind)
        else:
            ended = suite.plan.reference["replicas"] if run is None else len(stops(run).early)
            found[name][f"{kind}: systems that ended early"] = Estimate(float(ended), math.nan)
    return reference, runs


def _isolated(suite: Suite, found: dict[str, Found]) -> tuple[list[Table], list[Figure]]:
    """Runs without thermostat: change of the energy under the reference."""
    rows, drifts = [], {}
    for name in suite.models:
        run = suite.rolled(name, "NVE")
        if run is None:
            continue
        drift, ended = m.energy_drift(m.replicas(run), suite.potential), stops(run)
        drifts[name] = drift
        found[name]["NVE: systems that ended early"] = Estimate(float(len(ended.early)), math.nan)
        if not ended.early:
            found[name]["NVE: rms change of the reference energy"] = Estimate(float(drift.rms[-1]), _error_of_rms(ended.n, float(drift.rms[-1])))
        rows.append([name, f"{len(ended.early)} of {ended.n}", *(float(v[-1]) for v in (drift.mean, drift.rms, drift.worst))])
    columns = ["model", "ended early", "mean, meV/atom", "rms, meV/atom", "worst, meV/atom"]
    note = "Potential plus kinetic energy under the reference potential, last frame minus first, over the systems still running."
    title = f"Change of the reference energy in {suite.plan.nve_ps:g} ps without thermostat"
    return ([Table(title, columns, rows, note)], [drift_figure(drifts)]) if rows else ([], [])


def _error_of_rms(n: int, rms: float) -> float:
    """Standard error of the root mean square of n independent normal values."""
    return rms / math.sqrt(2 * n)


def _eigenvalues(found: Mapping[str, Found]) -> Table:
    figure = "largest eigenvalue of the Jacobian"
    rows = [[name, figures[figure].value] for name, figures in found.items() if figure in figures]
    return Table("One-step Jacobian at the equilibrium", ["model", "largest |eigenvalue|"], rows,
                 "Without rigid motions. 1 for the exact map of harmonic motion; what is above 1 heats. A net that takes the direction of a "
                 "velocity has no derivative at rest; its number is large for this reason.")


def _summary(suite: Suite, lost: list[str]) -> str:
    if not suite.plan.bars:
        return f"{suite.minutes:g} minutes of training for each model. No bars are set for this system."
    heading = f"{suite.minutes:g} minutes of training for each model. {len(suite.plan.bars) - len(lost)} of {len(suite.plan.bars)} bars are reached."
    return heading + ("\n\n" + "\n".join(f"- {line}" for line in lost) if lost else "")


def _scenes(suite: Suite) -> list[Scene3D]:
    scenes = structure_scenes(suite.reference("Langevin"), "reference, Langevin", 1)
    for name in suite.models:
        run = suite.rolled(name, "Langevin")
        if run is not None:
            scenes += structure_scenes(m.replicas(run), f"{name}, Langevin", 2)
    return scenes


def _provenance(suite: Suite) -> dict[str, Any]:
    models = {name: {"key": key, **model.about} for name in suite.models for model, key in [suite.trained(name)]}
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    return {"trajlab": trajlab.__version__, "torch": torch.__version__, "machine": machine, "recipe": asdict(suite.recipe),
            "runs": list(suite.plan.runs), "minutes": suite.minutes, "models": models}

"""What the study of a turbulent interface says, as tables and figures, and what it must reach to make sense."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from trajlab.evaluate.bars import Bar
from trajlab.evaluate.results import Curve, Evaluation, Figure, Table
from trajlab.evaluate.turbulent_interface import FIELDS, INTERFACES, Study, study_interface
from trajlab.evaluate.turbulent_interface_config import InterfaceConfig
from trajlab.metrics.uncertainty import Estimate
from trajlab.sources.jet import LABEL

__all__ = ["BARS", "as_evaluation", "claims_table", "correlation_table", "figures_of", "layer_table", "lower_end", "turbulent_interface"]

BARS = [
    Bar("jump of the FTLE across the TNTI, lower end", at_least=0.0),
    Bar("jump of the momentum barrier strength across the TNTI, lower end", at_least=0.0),
    Bar("correlation of the FTLE with the side of the TNTI below the integral time, lower end", at_least=0.0),
    Bar("fall of that correlation from the shortest to the longest integration time", at_least=0.0),
    Bar("correlation of the TNTI with its past, moving frame minus frame of the box", at_least=0.0),
    Bar("largest |det DF - 1|", at_most=1e-4),
    Bar("k_max eta", at_least=1.0),
]


def turbulent_interface(config: InterfaceConfig | None = None) -> Evaluation:
    """Compute jets, find their interfaces, and average FTLE and barriers about them.

    Raises:
        ValueError: as `trajlab.evaluate.turbulent_interface.study_interface`.
    """
    return as_evaluation(study_interface(config))


def lower_end(found: Estimate, blocks: int) -> float:
    """Of the 95 % interval by Student's t."""
    from scipy.stats import t

    return found.value - float(t.ppf(0.975, max(blocks - 1, 1))) * found.error


def blocks_of(study: Study) -> int:
    return study.config.columns * len(study.motions)


def below(study: Study) -> float:
    """The longest duration below the integral time, or the shortest of all."""
    return max([d for d in study.config.durations if d < study.integral], default=study.config.durations[0])


def figures_of(study: Study) -> dict[str, Estimate]:
    """The figures that `BARS` are about."""
    c, n, none = study.config, blocks_of(study), float("nan")
    _, moving, still = study.persistence
    shortest, longest = (study.correlation("ftle", duration=d) for d in (c.durations[0], c.durations[-1]))
    found = [lower_end(study.jump("ftle"), n), lower_end(study.jump("barrier"), n), lower_end(study.correlation("ftle", duration=below(study)), n),
             shortest.value - longest.value, float((moving - still)[1:].mean()), max(s.volume for s in study.snapshots), study.resolution]
    return {bar.figure: Estimate(value, none) for bar, value in zip(BARS, found)}


def correlation_table(study: Study) -> Table:
    """Fields against the side of each interface, over the integration times."""
    heads = ["interface", "field", *[f"T = {d:g}" for d in study.config.durations]]
    rows = [[INTERFACES[which], FIELDS[name], *[str(study.correlation(name, which, d)) for d in study.config.durations]]
            for which in INTERFACES for name in FIELDS]
    return Table("Correlation with the side of the interface", heads, rows,
                 f"Pearson's, within {study.config.band:g} Taylor microscales of the interface; T in h/U, the Lagrangian integral time is "
                 f"{study.integral:.3g} h/U. ± is one standard error over {blocks_of(study)} blocks.")


def layer_table(study: Study) -> Table:
    """Jump and thickness of the layers at the interfaces, for the shortest integration time and for the viscous force at each start."""
    rows = []
    for which, title in INTERFACES.items():
        for name, label in FIELDS.items():
            rows.append([title, label, f"T = {study.config.durations[0]:g}", str(study.jump(name, which)), str(study.thickness(name, which))])
        rows += [[title, "viscous force |grad omega|, U/h^2", f"t = {t:g}", str(study.jump("force", which, time=t)),
                  str(study.thickness("force", which, time=t))] for t in study.config.starts]
    return Table("Jump and thickness", ["interface", "field", "when", "jump", "thickness, Taylor microscales"], rows,
                 f"Jump: average within {study.config.band:g} Taylor microscales inside minus outside. Thickness: range of the conditional average "
                 f"there over its steepest slope. The Taylor microscale inside the TNTI is {study.microscale:.3g} h.")


def claims_table(study: Study) -> Table:
    """What is claimed of a turbulent jet in space, and what is seen in this flow in the plane."""
    c, near = study.config, below(study)
    ends = (c.durations[0], c.durations[-1])
    ftle = [study.correlation("ftle", duration=d) for d in (ends[0], near, ends[1])]
    barrier = [study.correlation("barrier", duration=d) for d in ends]
    kept = [b.value / a.value for a, b in ((ftle[0], ftle[2]), (barrier[0], barrier[1]))]
    jumps = [study.jump("ftle", which).value / study.average("ftle", which).sums.sum() * study.average("ftle", which).counts.sum()
             for which in INTERFACES]
    layers = [study.thickness("force", time=t) for t in c.starts]
    worst = max(abs(a.value - b.value) / max(np.hypot(a.error, b.error), 1e-12) for a in layers for b in layers)
    below_holds = lower_end(ftle[1], blocks_of(study)) > 0 and ftle[2].value < ftle[0].value
    rows = [
        ["FTLE and TNTI are correlated for integration times below the integral time, and less beyond", _seen(below_holds),
         f"T = {ends[0]:g}: {ftle[0]}, {near:g}: {ftle[1]}, {ends[1]:g}: {ftle[2]}"],
        ["diffusive structures decorrelate faster than the FTLE", _seen(kept[1] < kept[0]),
         f"from T = {ends[0]:g} to {ends[1]:g} the FTLE keeps {kept[0]:.2f} of its correlation, the momentum barriers {kept[1]:.2f}"],
        ["the internal interface has the same pattern with a stronger jump", _seen(jumps[1] > jumps[0]),
         f"jump of the FTLE over its mean: TNTI {jumps[0]:.2f}, internal {jumps[1]:.2f}"],
        ["the diffusive superlayer is nearly constant in time", _seen(worst < 3.0),
         "thickness in Taylor microscales " + ", ".join(f"t = {t:g}: {e}" for t, e in zip(c.starts, layers))],
    ]
    return Table("Claims about turbulent jets, and this flow", ["claim", "seen here", "figures"], rows,
                 f"This flow is {LABEL}. In the plane the vorticity is carried by the fluid, but for its diffusion, so that momentum barriers, level "
                 "curves of its average along trajectories, move with the interface.")


def _seen(holds: Any) -> str:
    return "yes" if holds else "no"


def as_evaluation(study: Study) -> Evaluation:
    """Tables and figures of a study for the report."""
    c, unit = study.config, study.microscale
    conditional = [_conditional(study, name, which) for which in INTERFACES for name in FIELDS]
    ratio = np.array(c.durations) / study.integral
    curves = []
    for name, word in (("ftle", "FTLE"), ("barrier", "momentum barrier field"), ("active", "active FTLE")):
        found = [study.correlation(name, duration=d) for d in c.durations]
        curves.append(Curve(word, ratio, np.array([e.value for e in found]), np.array([e.error for e in found])))
    lag, moving, still = study.persistence
    figures = [
        *conditional,
        Figure("Correlation with the side of the TNTI", "integration time / integral time", "Pearson's correlation", curves, {"integral time": 1.0},
               note=f"Within {c.band:g} Taylor microscales; bands are one standard error."),
        Figure("How the interface lasts", "time since the first start, h/U", "correlation with the first",
               [Curve("frame of its mean motion", lag, moving), Curve("frame of the box", lag, still)]),
    ]
    summary = (f"{len(study.motions)} plane jets, {LABEL}; Re = {c.jet.reynolds:g}, Schmidt number {c.jet.schmidt:g}, {c.jet.points} x "
               f"{c.jet.points} points. Taylor microscale {unit:.3g} h, Lagrangian integral time {study.integral:.3g} h/U.")
    return Evaluation("Barriers about a turbulent interface", summary, [claims_table(study), correlation_table(study), layer_table(study)], figures,
                      provenance={**study.provenance, "procedure": asdict(c)})


def _conditional(study: Study, name: str, which: str) -> Figure:
    curves = []
    for duration in study.config.durations:
        found = study.average(name, which, duration)
        good = found.counts.sum(0) > 0
        curves.append(Curve(f"T = {duration:g} h/U", found.centres[good] / study.microscale, found.mean[good], found.error[good]))
    title = f"{FIELDS[name].rpartition(',')[0]} about the {INTERFACES[which]}"
    return Figure(title[0].upper() + title[1:], "signed distance / Taylor microscale (positive inside)", FIELDS[name], curves, {"interface": 0.0},
                  note="Conditional averages; bands are one standard error.")

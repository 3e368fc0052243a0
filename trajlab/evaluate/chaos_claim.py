"""Whether a forecaster is ahead of the cheap bar: paired bootstrap over systems, in every setting (protocol and noise) on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trajlab.evaluate.chaos_names import SCORES, setting_name
from trajlab.evaluate.results import Table

__all__ = ["Claim", "against", "claim_table", "claims", "judged_in", "matrix_table", "sentences"]


@dataclass(frozen=True)
class Claim:
    """One forecaster against one other in one setting by one score.

    Attributes:
        setting: (protocol, noise).
        judged, other, score: names.
        found: a `trajlab.metrics.paired.Paired`, whose lower values are better; None where there are too few systems.
        why: then, in words.
    """

    setting: tuple[str, float]
    judged: str
    other: str
    score: str
    found: Any
    why: str = ""

    @property
    def ahead(self) -> bool:
        return self.found is not None and self.found.beats

    @property
    def shown(self) -> tuple[float, float, float] | None:
        """Difference and interval in the sense of the score: valid times are better where they are longer."""
        if self.found is None:
            return None
        p = self.found
        return (p.value, p.low, p.high) if SCORES[self.score].lower else (-p.value, -p.high, -p.low)


def against(frame: Any, setting: tuple[str, float], judged: str, other: str, score: str, level: float, seed: int = 0) -> Claim:
    """Paired bootstrap over systems of the mean score over their starts, judged minus other.

    A forecaster has a score wherever the other has: those that failed have the worst one there is.
    """
    import torch

    from trajlab.metrics.paired import paired_bootstrap

    sign = 1.0 if SCORES[score].lower else -1.0
    chosen = frame[(frame.protocol == setting[0]) & (frame.noise == setting[1]) & frame.forecaster.isin([judged, other])]
    table = chosen.pivot_table(index="system", columns="forecaster", values=score, aggfunc="mean").reindex(columns=[judged, other]).dropna()
    first, second = (torch.as_tensor(sign * table[name].to_numpy(float)) for name in (judged, other))
    try:
        found = paired_bootstrap(first, second, level=level, generator=torch.Generator().manual_seed(seed))
    except ValueError:
        return Claim(setting, judged, other, score, None, f"{len(table)} systems are too few for an interval of {level:.0%}")
    return Claim(setting, judged, other, score, found)


def judged_in(frame: Any, judged: str, bar: Sequence[str], score: str) -> tuple[str, bool]:
    """Who is judged: the one named beforehand, or the best outside the bar over all settings, which was then chosen after the fact (True)."""
    entered = list(dict.fromkeys(frame.forecaster))
    if judged in entered:
        return judged, False
    others = [name for name in entered if name not in bar]
    if not others:
        return "", False
    means = frame[frame.forecaster.isin(others)].groupby("forecaster")[score].mean()
    return str(means.idxmin() if SCORES[score].lower else means.idxmax()), True


def claims(frame: Any, judged: str, bar: Sequence[str], scores: Sequence[str], level: float) -> list[Claim]:
    """The judged forecaster against each of the bar that was run, in every setting, by each score."""
    settings = list(dict.fromkeys(zip(frame.protocol, frame.noise)))
    present = [name for name in bar if name in set(frame.forecaster)]
    return [against(frame, setting, judged, other, score, level) for score in scores for setting in settings for other in present]


def sentences(made: Sequence[Claim], judged: str, chosen: bool) -> tuple[str, list[str]]:
    """The verdict by the first score, ``"ahead"``, ``"behind"`` or ``"not judged"``, and one line a setting and score."""
    if all(claim.found is None for claim in made):
        return "not judged", [made[0].why]
    lines, verdict = [], "behind"
    for score in dict.fromkeys(claim.score for claim in made):
        for setting in dict.fromkeys(claim.setting for claim in made):
            group = [c for c in made if c.setting == setting and c.score == score]
            lines.append(f"{setting_name(*setting)}, by {SCORES[score].title}: {_line(group, judged)}")
            if score == made[0].score and all(c.ahead for c in group):
                verdict = "ahead"
    if chosen:
        lines.append(f"{judged} was chosen as the best of these runs after the fact, so that the intervals are too favourable to it")
    return verdict, lines


def _line(group: Sequence[Claim], judged: str) -> str:
    if any(c.found is None for c in group):
        return f"not judged: {group[0].why}"
    behind = [f"{c.other} ({_interval(c)})" for c in group if not c.ahead]
    if not behind:
        return f"{judged} is ahead of " + ", ".join(f"{c.other} ({_interval(c)})" for c in group)
    ahead = ", ".join(c.other for c in group if c.ahead)
    return f"{judged} is NOT ahead of {', '.join(behind)}" + (f"; it is of {ahead}" if ahead else "")


def _interval(claim: Claim) -> str:
    shown = claim.shown
    return "no interval" if shown is None else f"{shown[0]:+.3g} [{shown[1]:+.3g}, {shown[2]:+.3g}]"


def claim_table(made: Sequence[Claim], judged: str, level: float, systems: int) -> Table:
    """Every comparison of the claim."""
    rows = [[setting_name(*c.setting), SCORES[c.score].title, c.other, *(("n/a", "n/a") if c.found is None else _cells(c)),
             "not judged" if c.found is None else "yes" if c.ahead else "NO"] for c in made]
    note = (f"Differences of means over systems, {judged} minus the other; {level:.0%} intervals by paired bootstrap over {systems} systems (the "
            "mean over the starts of a system counts once); ahead: the interval lies on the good side of 0.")
    return Table(f"{judged} against the cheap bar", ["setting", "score", "against", "difference", "interval", "ahead"], rows, note)


def _cells(claim: Claim) -> tuple[str, str]:
    value, low, high = claim.shown or (np.nan, np.nan, np.nan)
    return f"{value:+.3g}", f"{low:+.3g} to {high:+.3g}"


def matrix_table(frame: Any, bar: Sequence[str], score: str, level: float) -> Table:
    """Every forecaster against each of the bar, in every setting, by one score."""
    names = list(dict.fromkeys(frame.forecaster))
    present = [name for name in bar if name in names]
    settings = list(dict.fromkeys(zip(frame.protocol, frame.noise)))
    rows = []
    for name in names:
        cells = []
        for setting in settings:
            for other in present:
                claim = None if other == name else against(frame, setting, name, other, score, level)
                cells.append(None if claim is None else _interval(claim) + (" *" if claim.ahead else ""))
        rows.append([name, *cells])
    columns = ["forecaster", *(f"{setting_name(*setting)}: minus {other}" for setting in settings for other in present)]
    note = (f"Differences of mean {SCORES[score].title} with {level:.0%} intervals over systems; * ahead. Intervals are not corrected for "
            "their number: about 1 in 40 stars would be there by chance alone.")
    return Table(f"Every forecaster against the cheap bar, by {SCORES[score].title}", columns, rows, note)

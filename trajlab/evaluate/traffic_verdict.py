"""What the numbers of the benchmark of motion say, in sentences, and the bars that were missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trajlab.evaluate.traffic_cells import BASELINES, SAME_NOISE
from trajlab.evaluate.traffic_tables import Sheet, compared
from trajlab.metrics.paired import Paired, paired_bootstrap

__all__ = ["best_missed", "checks_missed", "helped", "on_par", "propagation", "same_noise", "sheets_missed", "smoothness"]

UNIT = {"ADE": "m", "NLL": "nats a step"}
#: what is no difference to speak of, whatever the interval says: half a per cent of an error, a hundredth of a nat
NEGLIGIBLE = {"ratio": 0.005, "difference": 0.01}


def _kinematic(sheet: Sheet, plain: str) -> list[str]:
    return [name for name in sheet.rows if name != plain and name not in BASELINES]


def _against(found: Paired, score: str) -> str:
    if score == "NLL":
        return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}] nats a step"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}] times"


def _side(found: Paired) -> int:
    """-1: the first is better, 1: worse, 0: the windows cannot tell, or it is `NEGLIGIBLE`."""
    middle = 0.0 if found.statistic == "difference" else 1.0
    if abs(found.value - middle) < NEGLIGIBLE[found.statistic]:
        return 0
    return -1 if found.high < middle else 1 if found.low > middle else 0


def _median(sheet: Sheet, name: str) -> float:
    return float(np.median(sheet.rows[name].values["NLL"]))


def helped(sheets: Sequence[Sheet], plain: str) -> list[str]:
    """Where a kinematic head helps, and by how much: the best of them against the plain head, chosen and judged on the same test windows."""
    lines = []
    for sheet in sheets:
        for score in ("ADE", "NLL"):
            names = [name for name in _kinematic(sheet, plain) if np.isfinite(sheet.rows[name].mean(score))]
            if not names or plain not in sheet.rows:
                continue
            sides = {name: compared(sheet, name, plain, score) for name in names}
            best = min(names, key=lambda name: sheet.rows[name].mean(score))
            word = {-1: "it helps", 0: "no difference that the windows can tell", 1: "no kinematic head helps"}[_side(sides[best])]
            ahead, behind = (sum(_side(pair) == side for pair in sides.values()) for side in (-1, 1))
            middle = "" if score == "ADE" else f" (median window {_median(sheet, best):.3f} and {_median(sheet, plain):.3f})"
            lines.append(f"{sheet.name}: {word} by {score}: {best} is the best of {len(names)} kinematic heads, {sheet.rows[best].mean(score):.3f} "
                         f"{UNIT[score]}, {_against(sides[best], score)} against {plain}{middle}; {ahead} are ahead of it and {behind} behind")
    return lines


def same_noise(sheet: Sheet, joint: str) -> Paired | None:
    """NLL of a row trained with joint propagation minus that of the same noise propagated marginally; None where there is none."""
    mine, other = (sheet.rows[joint].by_window(score) for score in ("NLL", SAME_NOISE))
    return None if bool(other.isnan().any()) else paired_bootstrap(mine, other, sheet.cluster, level=sheet.level)


def propagation(sheets: Sequence[Sheet]) -> list[str]:
    """Whether joint propagation beats the marginal one, by NLL: where both were trained, and where the noise is the same."""
    lines = []
    for sheet in sheets:
        for joint in (name for name in sheet.rows if name.endswith(", joint")):
            marginal = joint.removesuffix("joint") + "marginal"
            if marginal in sheet.rows:
                found: Paired | None = compared(sheet, joint, marginal, "NLL")
                word = {-1: "joint beats marginal", 0: "joint and marginal cannot be told apart", 1: "marginal beats joint"}[_side(found)]
                lines.append(f"{sheet.name}, {joint.removesuffix(', joint')}: {word}, NLL {_against(found, 'NLL')}, each trained")
            found = same_noise(sheet, joint)
            if found is not None:
                lines.append(f"{sheet.name}, {joint.removesuffix(', joint')}: with the same noise of controls joint is {_against(found, 'NLL')} off "
                             "marginal")
    return lines


def on_par(sheets: Sequence[Sheet], judged: str, plain: str) -> list[str]:
    """The judged row against the plain one."""
    lines = []
    for sheet in sheets:
        if judged in sheet.rows and plain in sheet.rows:
            error, nats = (compared(sheet, judged, plain, score) for score in ("ADE", "NLL"))
            words = [{-1: "ahead of", 0: "on par with", 1: "behind"}[_side(found)] for found in (error, nats)]
            lines.append(f"{sheet.name}: {judged} is {words[0]} {plain} by ADE ({_against(error, 'ADE')}), {words[1]} it by NLL "
                         f"({_against(nats, 'NLL')})")
    return lines


def smoothness(sheets: Sequence[Sheet], plain: str) -> list[str]:
    """How rough mean paths are."""
    lines = []
    for sheet in sheets:
        told = [f"{name} {sheet.rows[name].mean('rms acceleration'):.2g} m/s^2 ({sheet.rows[name].mean('infeasible'):.1%} infeasible)"
                for name in (plain, *_kinematic(sheet, plain)) if name in sheet.rows]
        lines.append(f"{sheet.name}: " + ", ".join(told))
    return lines


# ---- bars


def sheets_missed(sheets: Sequence[Sheet], bars: Mapping[str, Any], judged: str, plain: str) -> list[str]:
    """Bars on trained heads, each as a sentence; a bar whose sheet was not measured is not judged."""
    lost = []
    gain = bars["joint_over_marginal"]
    for sheet in sheets:
        if sheet.data.name == gain["data"] and sheet.share == gain["share"]:
            pairs = {f"{gain['pair'][1]}, trained": compared(sheet, *gain["pair"], "NLL") if "trained" in gain["judge"] else None,
                     "the same noise propagated marginally": same_noise(sheet, gain["pair"][0]) if "same noise" in gain["judge"] else None}
            lost += [f"{sheet.name}: {gain['pair'][0]} is {-found.value:.3f} nats a step better than {other}, where at least {gain['at_least']:g} "
                     "was wanted" for other, found in pairs.items() if found is not None and not -found.value >= gain["at_least"]]
        if sheet.data.name in bars["par"]["data"] and sheet.share == bars["par"]["share"]:
            for score in ("ADE", "NLL"):
                found = compared(sheet, judged, plain, score)
                if _side(found) == 1 or not np.isfinite(found.value):
                    lost.append(f"{sheet.name}: {judged} is behind {plain} by {score} ({_against(found, score)}), where at least on par was wanted")
    return lost


def checks_missed(records: Mapping[str, Any], bars: Mapping[str, Any], table: Mapping[str, Any]) -> list[str]:
    """Bars on what needs no training: the pedestrian table, Monte Carlo, the recursion and the cost; those that were not measured are left out."""
    lost = []
    for one in records.get("pedestrians", []):
        found, wanted = one["found"], one["wanted"]
        limit = table["random" if one["method"] == "heading_noise" else "tolerance"]
        if found[:2] != list(wanted[:2]) or not max(abs(a - b) for a, b in zip(found[2:], wanted[2:], strict=True)) <= limit:
            lost.append(f"{one['scene']}, at least {one['least']}, {one['method']}: {found[0]} windows, {found[1]} agents, {found[2]:.4f} / "
                        f"{found[3]:.4f} m, where {wanted[0]}, {wanted[1]}, {wanted[2]:g} / {wanted[3]:g} were wanted")
    for one in records.get("agreement", []):
        limit = bars["exact" if one["exact"] else "joint"]
        if not one["error"] <= limit:
            lost.append(f"{one['case']}: standard deviations are off Monte Carlo by {one['error']:.2%}, where at most {limit:.0%} was wanted")
    lost += [f"{name}: {error:.1e} off the recursion, where at most {bars['recursion']:.0e} was wanted"
             for name, error in records.get("recursion", {}).items() if not error <= bars["recursion"]]
    lost += [f"{name}: joint propagation costs {one['joint/marginal']:.2f} times the cumulative sums of marginal propagation, where at most "
             f"{bars['cost']:g} was wanted" for name, one in records.get("cost", {}).items() if not one["joint/marginal"] <= bars["cost"]]
    return lost


def best_missed(records: Sequence[Mapping[str, Any]], at_most: Mapping[str, Sequence[float]]) -> list[str]:
    """Means over seeds of the best of 20."""
    lost = []
    for scene, limits in at_most.items():
        some = [r for r in records if r["scene"] == scene]
        for name, limit in zip(("ADE", "FDE"), limits, strict=True):
            value = float(np.mean([r[name] for r in some])) if some else float("nan")
            if some and not value <= limit:
                lost.append(f"{scene}: best-of-20 {name} {value:.3f} m, where at most {limit:g} was wanted")
    return lost

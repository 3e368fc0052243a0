"""The scores of the benchmark of chaotic systems: their names, titles, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SCORES", "Score", "setting_name"]


@dataclass(frozen=True)
class Score:
    """One column of the results.

    Attributes:
        title: in tables.
        lower: whether lower is better.
        worst: what a forecaster gets that fails altogether; None: it has none, and counts as worst where ranks or medians are taken.
        mean: whether a mean over systems makes sense (bounded scores), beside the median.
        needs: the column without which there is no such score for anybody: those series are left out for all.
    """

    title: str
    lower: bool = True
    worst: float | None = None
    mean: bool = False
    needs: str = ""


SCORES: dict[str, Score] = {
    "smape": Score("sMAPE", worst=200.0, mean=True),
    "mase": Score("MASE"),
    "vpt30_clock": Score("VPT30, periods (A) or Lyapunov times (B)", lower=False, worst=0.0, mean=True),
    "vpt30": Score("VPT30, periods", lower=False, worst=0.0, mean=True),
    "vpt30_lyapunov": Score("VPT30, Lyapunov times", lower=False, worst=0.0, mean=True, needs="cap_lyapunov"),
    "vpt": Score("VPT-NRMSE, periods", lower=False, worst=0.0, mean=True),
    "vpt_lyapunov": Score("VPT-NRMSE, Lyapunov times", lower=False, worst=0.0, mean=True, needs="cap_lyapunov"),
    "hellinger": Score("spectral Hellinger", worst=1.0),
    "kl": Score("attractor KL"),
    "dimension_gap": Score("|D2 - true D2|", needs="true_dimension"),
    "exponent_gap": Score("|exponent - true|, 1/period", needs="true_exponent"),
}


def setting_name(protocol: str, noise: float) -> str:
    """A protocol and a noise level in words."""
    return f"{protocol}, {'no noise' if noise == 0 else f'{100 * noise:g} % noise'}"

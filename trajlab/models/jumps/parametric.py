"""Generators that are any differentiable function of a few parameters, and the log-likelihood as a torch function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.optimize import least_squares
from torch import Tensor

from trajlab.dynamics.jumps.generator import from_rates
from trajlab.dynamics.jumps.likelihood import evaluate
from trajlab.dynamics.jumps.pair_counts import PairCounts

__all__ = ["Parametric", "jump_log_likelihood"]


class _LogLikelihood(torch.autograd.Function):
    """Backward is the closed-form gradient of Kalbfleisch and Lawless (1985): ``dl/dq_ij = D_ij - D_ii``."""

    @staticmethod
    def forward(ctx: Any, rates: Tensor, counts: Any) -> Tensor:
        found = evaluate(from_rates(rates.detach().double().cpu().numpy()), counts)
        ctx.save_for_backward(torch.from_numpy(found.by_rate).to(rates))  # zero on the diagonal
        return torch.tensor(found.loglik, dtype=rates.dtype, device=rates.device)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return above * slope, None


def jump_log_likelihood(rates: Float[Tensor, "state state"], counts: PairCounts | Sequence[PairCounts]) -> Float[Tensor, ""]:
    """Log-likelihood of a generator given pairs of looks, differentiable once by its rates.

    ``l = sum_m sum_ij C_m,ij log exp(Q dt_m)_ij``; the diagonal of ``rates`` is not read: Q has minus the sum of the rest of the row there. Use
    float64.

    Args:
        rates: off-diagonal rates, 1/time, ``[state state]``.
        counts: of `pair_counts`, one or a list of them (which are added).

    Raises:
        ValueError: a rate is negative or not finite, or the numbers of states disagree.
    """
    counts = [counts] if isinstance(counts, PairCounts) else list(counts)
    n = rates.shape[-1]
    off = rates.detach().masked_fill(torch.eye(n, dtype=torch.bool, device=rates.device), 0.0)
    if not bool(((off >= 0) & torch.isfinite(off)).all()):
        raise ValueError(f"the rates go from {float(off.min()):g} to {float(off.max()):g}; "
                         "finite numbers of at least 0 were wanted: write them as exponentials")
    for one in counts:
        if one.n_states != n:
            raise ValueError(f"the rates are between {n} states, the counts between {one.n_states}; they must agree")
    return sum((_LogLikelihood.apply(rates, one) for one in counts), start=rates.new_zeros(()))


class Parametric:
    """Rates ``function(theta)``: the `Parametrisation` of any physical model with a few parameters; derivatives by autograd.

    Args:
        function: from a float64 tensor ``[parameter]`` to off-diagonal rates ``[state state]`` (the diagonal is not read), by torch operations; with
            `covariates`, from theta and a tensor ``[covariate]`` of their values less the reference.
        start: a first guess of theta, ``[parameter]``; its sizes are taken as the natural steps of the parameters.
        names: of the parameters; ``theta_0, ...`` where left out.
        bounds: lowest and highest theta, each ``[parameter]``; unbounded where left out.
        covariates: that the function takes.

    Raises:
        TypeError: the function cannot be called, or returns no tensor.
        ValueError: it returns rates that are negative, not finite or not square, or the lengths of start, names and bounds disagree.
    """

    def __init__(self, function: Any, start: Any, names: Sequence[str] = (), bounds: tuple[Any, Any] | None = None,
                 covariates: Sequence[str] = ()) -> None:
        if not callable(function):
            raise TypeError(f"the function of parametric rates is a {type(function).__name__}; theta -> rates[state state] was wanted")
        self.function, self.covariates = function, tuple(covariates)
        self.start = np.atleast_1d(np.asarray(torch.as_tensor(start).detach().cpu(), dtype=np.float64)).ravel()
        self.names = tuple(names) or tuple(f"theta_{k}" for k in range(len(self.start)))
        low, high = bounds or (-np.inf, np.inf)
        self.low, self.high = (np.broadcast_to(np.asarray(b, dtype=np.float64), self.start.shape) for b in (low, high))
        if len(self.names) != len(self.start):
            raise ValueError(f"{len(self.names)} names were given for {len(self.start)} parameters; give one each, or none")
        if not ((self.low <= self.start) & (self.start <= self.high)).all():
            raise ValueError(f"the start {self.start.tolist()} is not within the bounds {self.low.tolist()} to {self.high.tolist()}")
        self._first = self._rates(torch.from_numpy(self.start), torch.zeros(len(self.covariates), dtype=torch.float64)).detach().numpy()
        self.n_states = len(self._first)

    def _rates(self, theta: Tensor, z: Tensor) -> Tensor:
        rates = self.function(theta, z) if self.covariates else self.function(theta)
        if not isinstance(rates, Tensor):
            raise TypeError(f"the function of parametric rates returned a {type(rates).__name__}; a tensor [state state] was wanted")
        if rates.ndim != 2 or rates.shape[0] != rates.shape[1]:
            raise ValueError(f"the function of parametric rates returned shape {tuple(rates.shape)}; [state state] was wanted")
        rates = rates.double().masked_fill(torch.eye(len(rates), dtype=torch.bool), 0.0)
        if not bool(((rates >= 0) & torch.isfinite(rates)).all()):
            low, high = (float(v) for v in rates.detach().aminmax())
            raise ValueError(f"at theta = {theta.detach().tolist()} the rates go from {low:g} to {high:g}; finite rates of at least 0 "
                             "were wanted: write them as exponentials, or give bounds")
        return rates

    def generators(self, x: Float[np.ndarray, "parameter"], z: Float[np.ndarray, "group covariate"]) -> Float[np.ndarray, "group state state"]:
        theta = torch.from_numpy(np.array(x, dtype=np.float64))
        with torch.no_grad():
            return from_rates(np.stack([self._rates(theta, torch.from_numpy(row)).numpy() for row in np.ascontiguousarray(z)]))

    def pull_back(self, x: Float[np.ndarray, "parameter"], z: Float[np.ndarray, "group covariate"],
                  by_rate: Float[np.ndarray, "group state state"]) -> Float[np.ndarray, "parameter"]:
        theta = torch.from_numpy(np.array(x, dtype=np.float64)).requires_grad_(True)
        total = sum((self._rates(theta, torch.from_numpy(row)) * torch.from_numpy(slope)).sum()
                    for row, slope in zip(np.ascontiguousarray(z), by_rate, strict=True))
        return torch.autograd.grad(total, theta)[0].numpy()

    def start_from(self, q: Float[np.ndarray, "state state"]) -> Float[np.ndarray, "parameter"]:
        """Least squares of log-rates (robust: outliers count by their distance), searched from the first guess."""
        links = self.free_links()
        wanted = np.log(np.maximum(q[links], 1e-6 * q[links].mean()))
        none, mask = torch.zeros(len(self.covariates), dtype=torch.float64), torch.from_numpy(links)

        def logs(theta: Tensor) -> Tensor:
            return torch.log(self._rates(theta, none)[mask].clamp_min(1e-300))

        def slope(x: np.ndarray) -> np.ndarray:
            return torch.autograd.functional.jacobian(logs, torch.from_numpy(x.copy())).numpy()

        try:
            found = least_squares(lambda x: logs(torch.from_numpy(x.copy())).detach().numpy() - wanted, self.start, jac=slope, loss="soft_l1",
                                  bounds=(self.low, self.high), x_scale=self.scale(np.zeros(0)), max_nfev=50)
        except ValueError:  # a step into negative or infinite rates
            return self.start.copy()
        return found.x if np.isfinite(found.x).all() else self.start.copy()

    def box(self, low: float, high: float, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # noqa: ARG002
        return self.low, self.high

    def scale(self, spread: np.ndarray) -> Float[np.ndarray, "parameter"]:  # noqa: ARG002
        return np.where(self.start != 0, np.abs(self.start), 1.0)

    def free_links(self) -> Bool[np.ndarray, "state state"]:
        """Links with a rate at the first guess."""
        return self._first > 0

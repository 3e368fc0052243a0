"""Libraries of functions from which an equation is identified, as tables, and equations made of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from trajlab.models import identified_kernels as kernels

__all__ = ["Equation", "Library", "library"]

POLYNOMIAL, SINE, COSINE = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Library:
    """Monomials of variables; see `trajlab.models.identified_kernels`.

    Attributes:
        variables: ``[variable 2]``: kind (0 coordinate, 1 sine, 2 cosine) and the coordinate.
        arguments: ``[variable 2]``: shift and slope of the argument.
        features: ``[feature 2]``: the feature and the variable it is the product of; row 0 is the constant.
        below: how many of the features may stand in denominators; 0 for a polynomial.
    """

    variables: Int[np.ndarray, "variable 2"]
    arguments: Float[np.ndarray, "variable 2"]
    features: Int[np.ndarray, "feature 2"]
    below: int = 0

    @property
    def size(self) -> int:
        """Coefficients a component."""
        return len(self.features) + max(self.below - 1, 0)

    def __call__(self, z: Float[np.ndarray, "time dim"]) -> Float[np.ndarray, "time feature"]:
        """The features at states."""
        a = self.arguments[:, 0] + self.arguments[:, 1] * z[:, self.variables[:, 1]]
        u = np.where(self.variables[:, 0] == POLYNOMIAL, a, np.where(self.variables[:, 0] == SINE, np.sin(a), np.cos(a)))
        phi = np.ones((len(z), len(self.features)))
        for n, (parent, factor) in enumerate(self.features[1:], 1):
            phi[:, n] = phi[:, parent] * u[:, factor]
        return phi


def library(dim: int, degree: int, *, below: int = 0, waves: tuple[np.ndarray, np.ndarray] | None = None) -> Library:
    """All monomials up to a degree.

    Args:
        below: degree of denominators; 0 for none.
        waves: origin and unit ``[dim]`` of the scaled coordinates, to add sin(x_i) and cos(x_i) of the unscaled ones, to the first power.
    """
    variables = [(POLYNOMIAL, i) for i in range(dim)]
    arguments = [(0.0, 1.0)] * dim
    features, index = [(0, 0)], {(): 0}
    for order in range(1, degree + 1):
        for term in itertools.combinations_with_replacement(range(dim), order):
            index[term] = len(features)
            features.append((index[term[:-1]], term[-1]))
    few = sum(1 for term in index if len(term) <= below) if below else 0
    if waves is not None:
        for kind in (SINE, COSINE):
            for i in range(dim):
                features.append((0, len(variables)))
                variables.append((kind, i))
                arguments.append((float(waves[0][i]), float(waves[1][i])))
    return Library(np.array(variables), np.array(arguments, dtype=np.float64), np.array(features), few)


@dataclass(frozen=True, eq=False)
class Equation:
    """dz_i/dt = (num_i . phi(z)) / (1 + den_i . phi(z)), time in frames.

    Attributes:
        library: the features phi.
        num: ``[dim feature]``.
        den: ``[dim below]``; the first column is 0.
        active: which coefficients are there, ``[parameter 3]``: component, feature, 0 for numerators and 1 for denominators.
        substeps: steps of order 8 a frame.
    """

    library: Library
    num: Float[np.ndarray, "dim feature"]
    den: Float[np.ndarray, "dim below"]
    active: Int[np.ndarray, "parameter 3"]
    substeps: int = 1

    @classmethod
    def zero(cls, library: Library, dim: int) -> Equation:
        """No rates, all coefficients free."""
        top = [(i, n, 0) for i in range(dim) for n in range(len(library.features))]
        bottom = [(i, n, 1) for i in range(dim) for n in range(1, library.below)]
        return cls(library, np.zeros((dim, len(library.features))), np.zeros((dim, library.below)), np.array(top + bottom))

    @property
    def tables(self) -> tuple[np.ndarray, ...]:
        return self.library.variables, self.library.arguments, self.library.features, self.num, self.den

    @property
    def theta(self) -> Float[np.ndarray, "parameter"]:
        """The active coefficients."""
        return np.array([(self.den if kind else self.num)[i, n] for i, n, kind in self.active])

    def moved(self, step: Float[np.ndarray, "parameter"]) -> Equation:
        """With a step added to the active coefficients."""
        num, den = self.num.copy(), self.den.copy()
        top = self.active[:, 2] == 0
        num[self.active[top, 0], self.active[top, 1]] += step[top]
        den[self.active[~top, 0], self.active[~top, 1]] += step[~top]
        return replace(self, num=num, den=den)

    def without(self, gone: np.ndarray) -> Equation:
        """With some of the active coefficients, ``gone[parameter]``, fixed at zero."""
        return replace(self.moved(np.where(gone, -self.theta, 0.0)), active=self.active[~gone])

    def flow(self, starts: Float[np.ndarray, "start dim"], frames: int, substeps: int = 0) -> Float[np.ndarray, "start frame dim"]:
        """States 1 to ``frames`` frames on; NaN from where one has gone far."""
        out = np.empty((len(starts), frames, starts.shape[1]))
        kernels.flow_driver()(np.ascontiguousarray(starts), frames, substeps or self.substeps, *self.tables, out)
        return out

    def tangents(self, starts: Float[np.ndarray, "start dim"], frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`flow`, with its derivatives by the starts ``[start frame dim dim]`` and the active coefficients ``[start frame dim parameter]``."""
        count, dim = starts.shape
        out, by_start = np.empty((count, frames, dim)), np.empty((count, frames, dim, dim))
        by_parameter = np.empty((count, frames, dim, len(self.active)))
        kernels.tangent_driver()(np.ascontiguousarray(starts), frames, self.substeps, *self.tables, self.active, out, by_start, by_parameter)
        return out, by_start, by_parameter

    def stepped(self, starts: Float[np.ndarray, "start dim"], accuracy: float, most: int = 32) -> Equation:
        """With as many substeps as one frame needs for this accuracy."""
        substeps, coarse = 1, self.flow(starts, 1, 1)
        while substeps < most:
            fine = self.flow(starts, 1, 2 * substeps)
            error = np.abs(fine - coarse).max()
            if error < accuracy:
                break
            substeps, coarse = 2 * substeps, fine
        return replace(self, substeps=substeps)

    def solve(self, start: Float[np.ndarray, "dim"], frames: int, tolerance: float = 1e-11) -> Float[np.ndarray, "frame dim"]:
        """The states 1 to ``frames`` frames on, by the adaptive method; NaN from where it cannot go on."""
        from trajlab.dynamics.dop853 import row_driver

        out = np.full((frames + 1, len(start)), np.nan)
        filled = row_driver()(kernels.rhs(), np.ascontiguousarray(start), np.arange(frames + 1.0), kernels.packed(*self.tables), tolerance,
                              tolerance, 200 * frames, out)[1]
        out[filled:] = np.nan
        return out[1:]

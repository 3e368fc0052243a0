"""Maps, and inverses of maps, that are written from their equations; the arguments are components, then parameters in alphabetical order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import register_jitable

__all__ = ["INVERSES", "PORTED_MAPS"]

ITERATIONS = 60  #: of Newton's method, at most; a handful is enough
STRETCH = 2.0 - 1e-10  #: of the baker's map: a little below 2, because doubling binary fractions ends at 0 after 53 steps


@register_jitable
def _kepler(mean, eccentricity):  # type: ignore[no-untyped-def]
    """q with q - e sin q = mean, by Newton's method."""
    q = mean + 0.85 * eccentricity * np.sign(np.sin(mean))
    for _ in range(ITERATIONS):
        change = (q - eccentricity * np.sin(q) - mean) / (1.0 - eccentricity * np.cos(q))
        q = q - change
        if np.max(np.abs(change)) < 1e-15 * (1.0 + np.max(np.abs(q))):
            break
    return q


@register_jitable
def half_turn(r, theta, a, b, gamma, t):  # type: ignore[no-untyped-def]
    """A point after time t about a vortex of strength gamma at distance b from the centre of a cylinder of radius a.

    The point moves on a circle on which the ratio lambda of the distances to the vortex and to its image at a^2 / b is constant (Aref 1984).
    """
    image = a**2 / b
    x, y = r * np.cos(theta), r * np.sin(theta)
    square = ((x - b) ** 2 + y**2) / ((x - image) ** 2 + y**2)
    ratio = np.sqrt(square)
    centre, radius = (b - square * image) / (1.0 - square), np.abs(ratio / (1.0 - square) * (image - b))
    eccentricity = 2.0 * ratio / (1.0 + square)
    around = (2.0 * np.pi) ** 2 * radius**2 / gamma * (1.0 + square) / (1.0 - square)
    start = np.arctan2(y, x - centre)
    q = _kepler(start - eccentricity * np.sin(start) + 2.0 * np.pi * t / around, eccentricity)
    return np.sqrt(radius**2 + centre**2 + 2.0 * radius * centre * np.cos(q)), np.arctan2(radius * np.sin(q), centre + radius * np.cos(q))


@register_jitable
def blinking_vortex(r, theta, a, b, gamma, t):  # type: ignore[no-untyped-def]
    """One period of the blinking vortex (Aref 1984): time t about the vortex at b, then time t about the one at -b."""
    middle, turned = half_turn(r, theta, a, b, gamma, t)
    return half_turn(middle, turned, a, -b, gamma, t)


@register_jitable
def henon_inverse(x, y, a, b):  # type: ignore[no-untyped-def]
    """Of (x, y) -> (1 - a x^2 + y, b x)."""
    before = y / b
    return before, x - 1.0 + a * before**2


@register_jitable
def chirikov_inverse(p, x, k):  # type: ignore[no-untyped-def]
    """Of (p, x) -> (p + k sin x, x + p + k sin x)."""
    before = x - p
    return p - k * np.sin(before), before


@register_jitable
def baker_inverse(x, y, a):  # type: ignore[no-untyped-def]
    """Of (x, y) -> (s x - floor(s x), (a y + floor(s x)) / 2) for 0 <= a <= 1, s just below 2."""
    cut = 1.0 * (y >= 0.5)
    return (x + cut) / STRETCH, (2.0 * y - cut) / a


PORTED_MAPS: dict[str, Callable[..., Any]] = {"BlinkingVortexMap": blinking_vortex}
INVERSES: dict[str, Callable[..., Any]] = {"Henon": henon_inverse, "Chirikov": chirikov_inverse, "Baker": baker_inverse}

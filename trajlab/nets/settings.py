"""The sizes of a net, as one record."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NetSettings:
    """What the nets for moving atoms are built from.

    Attributes:
        species: number of elements.
        channels: features of each irreducible representation.
        blocks: rounds of messages.
        cutoff: radius of the graph, Angstrom.
        l_max: highest rotation order (the polar net has scalars and vectors, whatever this says).
        radial: hidden units of the edge perceptrons, one number a layer.
        width: hidden units of the node perceptrons of the polar net.
        bessel: radial basis functions.
        speed_functions, speed_max: the published speed basis; Angstrom/fs.
        neighbours: typical number of neighbours; sums over them are divided by it (published net) or by its root (polar net).
    """

    species: int
    channels: int
    blocks: int
    cutoff: float
    l_max: int = 1
    radial: tuple[int, ...] = (16, 16, 16)
    width: int = 64
    bessel: int = 8
    speed_functions: int = 8
    speed_max: float = 0.11
    neighbours: float = 10.0

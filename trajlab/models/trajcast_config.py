"""Hyper-parameters of TrajCast, without torch, so that the command line can show them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self


@dataclass(frozen=True)
class TrajCastConfig:
    """One frozen record says which net, which targets and which graph.

    Attributes:
        net: ``"polar"``, scalars and vectors with relative velocities on the edges (our default), or ``"trajcast"``, the published
            tensor-product net.
        strides: femtoseconds from input to output; several make one model of several strides. None named takes the spacing of the frames.
        cutoff: radius of the graph, Angstrom.
        channels: features of each irreducible representation.
        blocks: rounds of message passing.
        l_max: highest rotation order of the published net; the polar net has l <= 1.
        radial: hidden units of the weight perceptrons, one number a layer.
        width: hidden units of the node perceptrons of the polar net.
        bessel: radial basis functions.
        speed_functions, speed_max: the published speed basis: Gaussians up to this speed, Angstrom/fs.
        targets: ``"deviation"`` from ballistic motion, (d - v D, v' - v), or ``"plain"``, (d, v').
        scaling: one root mean square for all atoms (``"global"``, as published) or one an element (``"element"``), where pairs of several
            temperatures count by their relative errors too.
        neighbours: typical number of neighbours; None measures it on the training data.
        time_reversal: whether each training pair is also shown reversed in time.
        rollout_loss: weight of a second step from the model's own output (needs three frames a scene); 0 is off.
        dtype: of the net; positions and the conservation layer are always float64.
    """

    net: Literal["polar", "trajcast"] = "polar"
    strides: tuple[float, ...] = ()
    cutoff: float = 6.5
    channels: int = 32
    blocks: int = 3
    l_max: int = 1
    radial: tuple[int, ...] = (32, 32)
    width: int = 64
    bessel: int = 8
    speed_functions: int = 8
    speed_max: float = 0.11
    targets: Literal["deviation", "plain"] = "deviation"
    scaling: Literal["global", "element"] = "element"
    neighbours: float | None = None
    time_reversal: bool = False
    rollout_loss: float = 0.0
    dtype: Literal["float32", "float64"] = "float32"

    @classmethod
    def default(cls, cutoff: float = 6.5) -> Self:
        """What we recommend for molecules and, with a cutoff between the first and second neighbour shells and beyond, for crystals."""
        return cls(cutoff=cutoff)

    @classmethod
    def small(cls, cutoff: float = 4.0) -> Self:
        """The small published network: the hyper-parameters of the paracetamol example that accompanies the paper."""
        return cls(net="trajcast", cutoff=cutoff, channels=16, blocks=3, l_max=1, radial=(16, 16, 16), targets="plain", scaling="global",
                   neighbours=10.0)

    @classmethod
    def paper(cls, cutoff: float = 5.0) -> Self:
        """The large published network: 64 channels, l_max = 2, five blocks, perceptrons of three layers of 64."""
        return cls(net="trajcast", cutoff=cutoff, channels=64, blocks=5, l_max=2, radial=(64, 64, 64), targets="plain", scaling="global",
                   speed_max=0.2, neighbours=10.0)

    def __post_init__(self) -> None:
        wrong = [name for name in ("cutoff", "channels", "blocks", "bessel", "width") if getattr(self, name) <= 0]
        if wrong or self.l_max < 0 or any(s <= 0 for s in self.strides):
            raise ValueError(f"TrajCastConfig: {', '.join(wrong) or 'l_max or a stride'} must be positive, but this is {self}")
        if self.rollout_loss < 0 or (self.rollout_loss and len(self.strides) > 1):
            raise ValueError(f"rollout_loss={self.rollout_loss:g} with strides {self.strides}: it must not be negative, and is for one stride only")

"""Hyper-parameters of GeoTDM, without torch, so that the command line can show them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

PRIORS = ("ridge", "equivariant_ridge", "velocity", "last", "rollout", "learned")
NETS = ("frame_channels", "egtn", "transformer")


@dataclass(frozen=True)
class GeoTDMConfig:
    """One frozen record says which windows, which reference forecast, which net and which noise.

    Attributes:
        given: frames that are known; 0 makes an unconditional model, which is sampled instead of forecast with.
        predicted: frames that are made.
        net: ``"frame_channels"``, frames as vector channels (our default), ``"egtn"``, the published equivariant geometric trajectory net, or
            ``"transformer"``, a diffusion transformer without built-in symmetry, for comparison.
        channels: vector channels of frame_channels.
        width: scalar features.
        layers: rounds (of egtn: pairs of a spatial and a temporal layer).
        prior: the reference forecast whose residual is diffused: a linear one fitted first (``"ridge"``, each node by its own past;
            ``"equivariant_ridge"``, all nodes by all pasts, for molecules), ``"velocity"`` (constant velocity), ``"last"`` (last position),
            ``"rollout"``, an equivariant step trained first and rolled out, which the net then sees too; or ``"learned"``, the published
            equivariant geometric prior, trained along.
        prior_share: of the training budget that goes into the ``rollout``.
        node: names of scalar static values that the net is told, such as ``charge``.
        pair: features of pairs: ``product:NAME``, ``matrix:NAME`` or ``hop``.
        edges: who talks to whom at the last given frame: ``"full"``, ``"cutoff"`` or ``"knn"``.
        cutoff: radius of the edges, in the unit of the data.
        k: number of nearest neighbours.
        identity: tell the net the place of a node (molecules whose atoms come in one order).
        sigma_min, sigma_max: noise at the ends of the path, in units of the residual's standard deviation.
        level_mean, level_std: of the logarithm of the noise that training draws.
        drop: share of training windows whose given frames are hidden, for classifier-free guidance.
        dim: of the positions, for the transformer, which must know it.
        dtype: of the net.

    Raises:
        ValueError: a number out of range, an unknown name, or a prior that needs more given frames.
    """

    given: int = 10
    predicted: int = 20
    net: Literal["frame_channels", "egtn", "transformer"] = "frame_channels"
    channels: int = 32
    width: int = 64
    layers: int = 4
    prior: Literal["ridge", "equivariant_ridge", "velocity", "last", "rollout", "learned"] = "ridge"
    prior_share: float = 0.5
    node: tuple[str, ...] = ()
    pair: tuple[str, ...] = ()
    edges: Literal["full", "cutoff", "knn"] = "full"
    cutoff: float | None = None
    k: int | None = None
    identity: bool = False
    sigma_min: float = 0.002
    sigma_max: float = 40.0
    level_mean: float = 0.0
    level_std: float = 1.4
    drop: float = 0.0
    dim: int = 3
    dtype: Literal["float32", "float64"] = "float32"

    @classmethod
    def default(cls, given: int = 10, predicted: int = 20) -> Self:
        """What we recommend: the residual of a per-particle ridge, frames as vector channels."""
        return cls(given=given, predicted=predicted)

    @classmethod
    def nbody(cls) -> Self:
        """Charged particles: residual of a roll-out."""
        return cls(prior="rollout", pair=("product:charge",), node=("charge",))

    @classmethod
    def molecule(cls) -> Self:
        """One molecule: residual of the equivariant ridge, bonds as features of pairs, atoms told apart by their place."""
        return cls(prior="equivariant_ridge", pair=("hop",), identity=True, layers=3)

    @classmethod
    def pedestrians(cls) -> Self:
        """Eight frames given, twelve predicted, neighbours within five metres: residual of constant velocity."""
        return cls(given=8, predicted=12, edges="cutoff", cutoff=5.0, layers=2, prior="velocity")

    @classmethod
    def paper(cls) -> Self:
        """The published N-body network: width 128, six pairs of layers, a learned prior. Slow on a CPU."""
        return cls(net="egtn", width=128, layers=6, prior="learned", node=("charge",), pair=("product:charge",))

    def __post_init__(self) -> None:
        wrong = [name for name in ("predicted", "channels", "width", "layers", "sigma_min", "level_std", "dim") if getattr(self, name) <= 0]
        if wrong or self.given < 0:
            raise ValueError(f"GeoTDMConfig: {', '.join(wrong) or 'given'} = {[getattr(self, n) for n in wrong] or self.given}; positive wanted "
                             "(given may be 0)")
        if self.net not in NETS or self.prior not in PRIORS:
            raise ValueError(f"GeoTDMConfig: net={self.net!r} and prior={self.prior!r}; one of {NETS} and one of {PRIORS} was wanted")
        if not self.sigma_min < self.sigma_max or not 0 <= self.drop < 1:
            raise ValueError(f"GeoTDMConfig: sigma from {self.sigma_max:g} to {self.sigma_min:g} and drop = {self.drop:g}; a falling sigma and a "
                             "share within [0, 1) were wanted")
        if self.given == 1 and self.prior in ("velocity", "rollout"):
            raise ValueError(f"GeoTDMConfig: one given frame has no velocity, as prior={self.prior!r} needs; take 'last', or give two frames")
        if not 0 < self.prior_share < 1:
            raise ValueError(f"GeoTDMConfig: prior_share = {self.prior_share:g}; a share of the budget within (0, 1) was wanted")
        if self.prior == "rollout" and self.net != "frame_channels":
            raise ValueError(f"GeoTDMConfig: prior='rollout' is shown to the net as further frames, which net={self.net!r} does not take; "
                             "take net='frame_channels' or a linear prior")
        if self.given == 0 and self.edges != "full":
            raise ValueError(f"GeoTDMConfig: edges={self.edges!r} are taken from the last given frame, and given=0; take edges='full'")

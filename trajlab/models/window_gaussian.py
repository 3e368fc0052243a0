"""WindowGaussian: the Gaussian fit of windows, conditional on given frames or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trajlab.data.dense import Dense, dense
from trajlab.models.linear_forecasts import ConstantVelocity, EquivariantRidge, LastPosition, ParticleRidge
from trajlab.models.window_covariance import WindowCovariance
from trajlab.models.window_forecaster import WindowForecaster, check_windows
from trajlab.samplers.noise import RowNoise
from trajlab.types import Trajectories

__all__ = ["WindowGaussian"]

PRIORS = {cls.name: cls for cls in (LastPosition, ConstantVelocity, ParticleRidge, EquivariantRidge)}
FOLDS = 5


class WindowGaussian(WindowForecaster):
    """Draws around a linear forecast whose residual is Gaussian, with a covariance over time shared by axes.

    Around a ridge this is the Gaussian of whole windows conditioned on the given frames: least squares is the conditional mean, and the residual
    does not depend on the given frames. Nodes are exchangeable, with a common and an own part (`WindowCovariance`); around the equivariant
    ridge, whose nodes have places, the covariance is over nodes and time. The covariance is that of cross-validated residuals (five folds of
    runs), so that its spread is calibrated on new data. `sample` draws whole windows without a past; with ``given=0`` only that is fitted.

    Args:
        around: the linear forecast.
        joint: whether nodes have places in `sample` and in the residual; by default they have around the equivariant ridge.

    Raises:
        ValueError: an unknown linear forecast.
    """

    name = "window-gaussian"

    def __init__(self, around: Literal["last-position", "constant-velocity", "particle-ridge", "equivariant-ridge"] = "particle-ridge",
                 joint: bool | None = None) -> None:
        super().__init__()
        if around not in PRIORS:
            raise ValueError(f"around={around!r}; one of {', '.join(PRIORS)} was wanted")
        self.prior: WindowForecaster = PRIORS[around]()
        self.joint = around == EquivariantRidge.name if joint is None else joint
        self.residual = self.window = WindowCovariance(torch.zeros(0, 0), torch.zeros(0, 0), self.joint)

    def fit(self, windows: Trajectories, given: int, validation: Trajectories | None = None) -> Self:
        """As for all forecasters of windows; ``given=0`` fits what `sample` needs and no forecast."""
        if given:
            return super().fit(windows, given, validation)
        check_windows(type(self).__name__, windows, 1)
        self.ahead, self.spacing = windows.n_frames, float(windows.time.diff(dim=1).mean())
        self._check_spacing(windows.time)
        self.window = self._of_windows(dense(windows))
        return self

    def _fit(self, windows: Trajectories, validation: Trajectories | None) -> None:
        block = dense(windows)
        parts = [self._left_out(windows, block, fold) for fold in _folds(windows)]
        self.prior.fit(windows, self.given, validation)
        parts = parts or [self._residual(self.prior, block)]
        self.residual = WindowCovariance.fit(torch.cat([r for r, _ in parts]), torch.cat([w for _, w in parts]), self.joint)
        self.window = self._of_windows(block)

    def _left_out(self, windows: Trajectories, block: Dense, fold: Bool[Tensor, "scene"]) -> tuple[Tensor, Tensor]:
        """Residuals of some scenes around the forecast that was fitted on the others."""
        rest = type(self.prior)().fit(windows.scenes((~fold).nonzero().flatten()), self.given)
        return self._residual(rest, block.scenes(fold))

    def _residual(self, prior: WindowForecaster, block: Dense) -> tuple[Tensor, Tensor]:
        return block.x[:, :, self.given :].double() - prior.predict(block), block.mask.all(2) & block.there

    def _of_windows(self, block: Dense) -> WindowCovariance:
        """Covariance of windows about their mean over nodes and frames, of scenes in which every node was observed throughout."""
        whole = block.mask.all(2)
        whole = whole & (whole | ~block.there).all(1, keepdim=True)
        return WindowCovariance.fit(_centred(block.x.double(), whole), whole, self.joint)

    def predict(self, block: Dense, steps: int | None = None) -> Float[Tensor, "scene node time dim"]:
        """The conditional mean."""
        self._check(block)
        return self.prior.predict(block, self.steps(steps))

    def _draws(self, block: Dense, steps: int, draws: int, generator: torch.Generator | None) -> Tensor:
        if generator is None:
            raise ValueError("WindowGaussian draws random numbers; pass generator=torch.Generator().manual_seed(...)")
        mean = self.predict(block, steps)
        out = self.residual.draw(block.there, self.ahead, block.x.shape[3], draws, RowNoise(generator))
        return mean + out[:, :, :, :steps].to(mean.dtype)

    def sample(self, n: int, like: Trajectories, generator: torch.Generator) -> Trajectories:
        """Windows from nothing, centred at the origin.

        Args:
            n: number of scenes.
            like: scenes whose nodes, kinds, statics and clocks are taken in turn; only positions are drawn.
            generator: of the random numbers.

        Raises:
            ValueError: not fitted, n below 1, or scenes of other numbers of frames, or, with ``joint``, of nodes.
        """
        frames = self.given + self.ahead
        if not self.ahead:
            raise ValueError("this WindowGaussian was not fitted; call fit(windows, given) first")
        if n < 1 or like.n_frames != frames or not like.n_scenes:
            raise ValueError(f"sample(n={n}) like {like.n_scenes} scenes of {like.n_frames} frames; at least one of each, and {frames} frames, were "
                             "wanted")
        scenes = like.scenes(torch.arange(n, device=like.x.device) % like.n_scenes)
        scenes = scenes.replace(mask=torch.ones_like(scenes.mask), extra={}, x=torch.zeros_like(scenes.x))
        block = dense(scenes)
        nodes = self.window.own.shape[0] // frames
        if self.joint and bool((scenes.sizes != nodes).any()):
            raise ValueError(f"nodes have places in this WindowGaussian: scenes of {nodes} nodes were wanted, and these have "
                             f"{scenes.sizes.unique().tolist()}")
        drawn = self.window.draw(block.there, frames, like.dim, 1, RowNoise(generator))[0]
        return scenes.replace(x=block.pack(_centred(drawn, block.there)).to(like.x.dtype), source=self.provenance())

    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), "around": self.prior.name, "joint": self.joint}

    def state(self) -> dict[str, Tensor]:
        made = {**super().state(), "around": torch.tensor(list(PRIORS).index(self.prior.name))}
        for name, part in (("prior", self.prior), ("residual", self.residual), ("window", self.window)):
            made.update({f"{name}.{key}": value for key, value in part.state().items()})
        return made

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Self:
        names = list(PRIORS)
        if not {"around", "window.joint"} <= set(state):
            raise ValueError(f"a state with {sorted(state)} is none of {cls.__name__}")
        made = cls(names[int(state["around"])], bool(state["window.joint"]))  # type: ignore[arg-type]
        made._load(state)
        return made

    def _load(self, state: Mapping[str, Tensor]) -> None:
        super()._load(state)
        part = lambda name: {k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")}  # noqa: E731
        self.prior = type(self.prior).from_state(part("prior"))
        self.residual, self.window = (WindowCovariance.from_state(part(name)) for name in ("residual", "window"))


def _folds(windows: Trajectories) -> list[Bool[Tensor, "scene"]]:
    """Scenes of each fifth of the runs, every fifth run in one; none where there is one run only."""
    run = windows.context.get("run")
    number = torch.arange(windows.n_scenes, device=windows.x.device) if run is None else run.unique(return_inverse=True)[1]
    runs = int(number.max()) + 1
    return [number % FOLDS == k for k in range(min(FOLDS, runs))] if runs > 1 else []


def _centred(x: Float[Tensor, "scene node frame dim"], there: Bool[Tensor, "scene node"]) -> Float[Tensor, "scene node frame dim"]:
    weight = there[..., None, None].to(x.dtype)
    mean = (x * weight).sum((1, 2), keepdim=True) / (weight.sum((1, 2), keepdim=True) * x.shape[2]).clamp(min=1)
    return (x - mean) * weight

"""GeoTDM: trajectory diffusion for geometric systems, equivariant, with a reference forecast whose residual is diffused.

Source: J. Han et al., "Geometric Trajectory Diffusion Models", arXiv:2410.13027 (NeurIPS 2024). Written from the equations. The published
network and learned prior are settings (``GeoTDMConfig.paper()``); the default differs as docs/methods/geotdm.md says.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from trajlab.data.dense import Dense, dense
from trajlab.models.geotdm_config import GeoTDMConfig
from trajlab.models.geotdm_module import GeoTDMModule, residual_mask, typical_length
from trajlab.models.geotdm_sampling import Observed, Sampling, Start, draw, onward
from trajlab.models.given_frames import seen_nodes
from trajlab.models.window_forecaster import continued
from trajlab.types import Forecast, Trajectories
from trajlab.units import Units

if TYPE_CHECKING:
    from trajlab.metrics.diagnostics import Threshold
    from trajlab.samplers.likelihood import LikelihoodConfig
    from trajlab.train.config import TrainConfig

__all__ = ["GeoTDM", "GeoTDMConfig", "Sampling"]


class GeoTDM:
    """Config in, `fit`, and the verbs `forecast` (given the past), `sample` (from nothing) and `refine` (from a rough window)."""

    def __init__(self, config: GeoTDMConfig | None = None) -> None:
        self.config = config or GeoTDMConfig()
        self.module: GeoTDMModule | None = None
        self.spacing, self.units = float("nan"), Units()
        self.about: dict[str, Any] = {}

    # ---- fitting

    def fit(
        self, trajectories: Trajectories, validation: Trajectories | None = None, *, minutes: float | None = None, train: TrainConfig | None = None,
        folder: str | Path | None = None, progress: bool = True, seed: int = 0,
    ) -> Self:
        """Fit on windows: scenes of given + predicted frames; longer scenes are cut.

        Nodes may come late or be hidden now and then: what was not observed counts nothing.

        Args:
            trajectories: the windows; ``context["run"]`` says which are of one run.
            validation: of other runs; without it every tenth run is set aside.
            minutes: training budget; ``train`` says everything else.
            folder: where checkpoints and metrics go; a fit that was killed goes on from there.

        Raises:
            ValueError: scenes that are too short or unevenly spaced, a static value that is missing, or windows that leave nothing to learn.
        """
        from trajlab.models.geotdm_fit import fit

        return fit(self, trajectories, validation, minutes=minutes, train=train, folder=folder, progress=progress, seed=seed)  # type: ignore[return-value]

    @property
    def fitted(self) -> GeoTDMModule:
        """The trained module; a ValueError before `fit` or `load`."""
        if self.module is None:
            raise ValueError("this GeoTDM has not been fitted; call fit(trajectories), or GeoTDM.load(folder)")
        return self.module

    # ---- verbs

    def forecast(self, past: Trajectories, steps: int | None = None, *, draws: int = 20, evaluations: int = 15, seed: int = 0,
                 progress: bool = False, how: Sampling | None = None, observed: tuple[Tensor, Tensor] | None = None) -> Forecast:
        """Draw continuations of the last given frames.

        Args:
            past: at least the given frames, spaced as in training.
            steps: frames to forecast; more than the predicted ones of a window go on from the draws.
            draws: number of draws.
            evaluations: calls of the net a window (where ``how`` does not say).
            seed: of all random numbers; a draw of a scene does not depend on the other scenes, nor on how many draws there are.
            progress: show a bar on a terminal.
            how: solver, guidance, steering, rejection.
            observed: frames to come that are known in part, ``(value[node steps dim], mask[node steps])``, for windows of at most the predicted
                frames; the draws have these values.

        Raises:
            ValueError: too few frames, another spacing, kinds that were not in the training data, or lengths that look like another unit.
        """
        module, config = self._conditional("forecast"), self.config
        how = how or Sampling(evaluations=evaluations)
        used = self._given(past)
        steps = config.predicted if steps is None else steps
        if steps < 1 or draws < 1:
            raise ValueError(f"steps={steps} and draws={draws}; at least 1 of each was wanted")
        block = dense(used)
        self._same_units(block)
        many = block.scenes(torch.arange(len(block), device=block.x.device).repeat(draws))
        known = None if observed is None else self._observed(block, past, observed, steps, draws)
        made, scores, current = [], None, many
        reference: Tensor | None = module.forecast(block).repeat(draws, 1, 1, 1)  # once a scene, not once a draw
        for leg in range(-(-steps // config.predicted)):
            new, score = draw(module, current, torch.arange(len(many)), seed + 0x9E3779B9 * leg, how, observed=known, reference=reference,
                              progress=progress)
            scores = score if scores is None or score is None else torch.maximum(scores, score)
            made.append(new)
            if (leg + 1) * config.predicted < steps:
                current, reference = onward(current, new, config.given, self.spacing), None
        out = torch.cat(made, 2)[:, :, :steps].reshape(draws, len(block), *block.x.shape[1:2], steps, block.x.shape[-1])
        return self._answer(out, block, past, steps, scores, how, {"draws": draws, "evaluations": how.evaluations, "seed": seed})

    def sample(self, n: int, like: Trajectories, *, evaluations: int = 15, seed: int = 0, how: Sampling | None = None) -> Trajectories:
        """Draw windows from nothing, with the nodes of the first scene of ``like``; the centre over nodes and frames is at zero.

        Raises:
            ValueError: the model was fitted with given frames.
        """
        module = self.fitted
        if self.config.given:
            raise ValueError(f"this GeoTDM continues {self.config.given} given frames; call forecast(past), or fit one with given=0 to sample")
        frames = self.config.predicted
        one = dense(like.scenes([0]).frames(slice(0, 1)))
        block = one.scenes(torch.zeros(n, dtype=torch.long))
        shape = (n, block.x.shape[1], frames, block.x.shape[3])
        block = Dense(block.x.new_zeros(shape), block.there[..., None].expand(shape[:3]), block.there, block.kind,
                      (self.spacing * torch.arange(frames, dtype=torch.float64)).expand(n, frames), {}, block.static, block.context)
        x, _ = draw(module, block, torch.arange(n), seed, how or Sampling(evaluations=evaluations))
        scene = torch.arange(n).repeat_interleave(shape[1])
        flat = lambda value: value.flatten(0, 1)  # noqa: E731
        return Trajectories(x=flat(x), time=block.time, scene=scene, kind=flat(block.kind), static={k: flat(v) for k, v in block.static.items()},
                            context={"run": torch.arange(n)}, units=self.units, source=self._provenance({"seed": seed}))

    def refine(self, rough: Trajectories, strength: float = 0.3, *, evaluations: int = 15, seed: int = 0, how: Sampling | None = None,
               ) -> Trajectories:
        """Partial diffusion of rough windows: noised to a level and denoised from there; given frames stay as they are.

        Args:
            rough: windows of given + predicted frames.
            strength: share of the path that is gone back, within (0, 1]; small keeps the windows, 1 forgets the predicted frames.

        Raises:
            ValueError: windows of another length, or a strength out of range.
        """
        module, config = self.fitted, self.config
        frames = config.given + config.predicted
        if rough.n_frames != frames:
            raise ValueError(f"refine wants windows of {config.given} + {config.predicted} frames, and these have {rough.n_frames}")
        block = dense(rough)
        later = block.x[:, :, config.given :]
        if not config.given:
            from trajlab.paths.centre import centred

            later = centred(later, None if bool(block.mask.all()) else block.mask, (1, 2))
        x, _ = draw(module, block, torch.arange(len(block)), seed, how or Sampling(evaluations=evaluations), start=Start(later, strength))
        packed = block.pack(x)
        new = torch.cat([rough.x[:, : config.given], packed], 1)
        return rough.replace(x=new, extra={}, source=self._provenance({"seed": seed, "strength": strength}))

    def calibrate(self, windows: Trajectories, loss: float = 0.05, *, evaluations: int = 15, seed: int = 0) -> Threshold:
        """A threshold of the hallucination score, for ``Sampling(reject=...)``, that loses at most this share of draws like those of ``windows``.

        Raises:
            ValueError: too few windows for so small a loss.
        """
        from trajlab.metrics.diagnostics import Threshold, calibrate

        module = self._conditional("calibrate")
        block = dense(self._given(windows.frames(slice(0, self.config.given))))
        how = Sampling(evaluations=evaluations, reject=Threshold(float("inf"), loss, 0))
        _, scores = draw(module, block, torch.arange(len(block)), seed, how)
        return calibrate(scores, loss)  # type: ignore[arg-type]  # a rejecting draw has scores

    def log_likelihood(self, windows: Trajectories, config: LikelihoodConfig | None = None, *, seed: int = 0) -> Tensor:
        """log p(predicted frames | given frames) of every window, by the probability-flow ODE, in the unit of the data, ``[scene]``, nats.

        It is the density of the windows with noise of standard deviation 1e-3 times the residual's scale, and invariant to rotations,
        reflections, shifts and permutations. The exact trace costs a backward pass a coordinate, so by default windows of more than 64
        coordinates have Hutchinson's estimate (unbiased, with the noise of its probes); ``config`` says otherwise.

        Raises:
            ValueError: windows of another length.
        """
        from trajlab.samplers.dopri5 import Control
        from trajlab.samplers.likelihood import Divergence, LikelihoodConfig, log_likelihood

        module, settings = self._conditional("log_likelihood"), self.config
        if windows.n_frames != settings.given + settings.predicted:
            raise ValueError(f"windows of {settings.given} + {settings.predicted} frames were wanted, and these have {windows.n_frames}")
        block = dense(windows)
        mask = residual_mask(block, settings.given)
        z = (block.x[:, :, settings.given :] - module.forecast(block)) / module.scale
        z = torch.where(mask[..., None], z, torch.zeros_like(z)).to(module.scale.dtype)
        how = Divergence() if z[0].numel() <= 64 else Divergence("hutchinson", probes=4)
        config = config or LikelihoodConfig(stop=min(6.0, -math.log(settings.sigma_min)), divergence=how, control=Control(1e-4, 1e-4))
        found = log_likelihood(module.denoiser, z, config, generator=torch.Generator().manual_seed(seed),
                               mask=None if bool(mask.all()) else mask, **module.condition(block))
        return found.log_density - found.dims * module.scale.double().log()

    # ---- files

    def save(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` and ``model.json`` into a folder, each by a temporary file and a rename."""
        from trajlab.models.geotdm_files import save

        return save(self, folder)

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | str = "cpu") -> Self:
        """Read what `save` wrote. A version of trajlab other than the one that wrote it is told in a warning.

        Raises:
            ValueError: the folder holds no model, or one of another kind.
        """
        from trajlab.models.geotdm_files import load

        return load(cls, folder, device)

    # ---- what the verbs share

    def _conditional(self, verb: str) -> GeoTDMModule:
        module = self.fitted
        if not self.config.given:
            raise ValueError(f"this GeoTDM was fitted with given=0 and has no past to go on from; {verb} needs one with given frames (or use sample)")
        return module

    def _given(self, past: Trajectories) -> Trajectories:
        given = self.config.given
        if past.n_frames < given:
            raise ValueError(f"this GeoTDM continues {given} given frames, and the past has {past.n_frames}; pass at least {given}, or fit one with "
                             f"given={past.n_frames}")
        used = past.last(given)
        steps = used.time.diff(dim=1)
        if steps.numel() and bool(((steps - self.spacing).abs() > 1e-3 * self.spacing).any()):
            raise ValueError(f"frames lie {float(steps.min()):g} to {float(steps.max()):g} {used.units.time} apart, and this GeoTDM was trained on "
                             f"frames {self.spacing:g} apart; resample them")
        if used.units != self.units:
            raise ValueError(f"the past is in {used.units}, and this GeoTDM was trained in {self.units}; convert it")
        return used

    def _same_units(self, block: Dense) -> None:
        """Warn of lengths that look like another unit."""
        ratio = typical_length(block, self.config.given) / float(self.fitted.unit)
        if not 0.2 < ratio < 5.0:
            warnings.warn(f"lengths of this past are {ratio:.3g} times those of the training data; if it is in another unit, convert it "
                          "(predictions outside the range of training are not to be trusted)", UserWarning, stacklevel=3)

    def _observed(self, block: Dense, past: Trajectories, observed: tuple[Tensor, Tensor], steps: int, draws: int) -> Observed:
        value, mask = observed
        wanted = (past.n_nodes, steps, past.dim)
        if value.shape != wanted or mask.shape != wanted[:2] or steps > self.config.predicted:
            raise ValueError(f"observed has shapes {tuple(value.shape)} and {tuple(mask.shape)} for {steps} steps; {wanted} and {wanted[:2]} were "
                             f"wanted, and at most {self.config.predicted} steps")
        full = block.x.new_zeros(*block.x.shape[:2], self.config.predicted, past.dim)
        there = torch.zeros(full.shape[:3], dtype=torch.bool, device=full.device)
        full[block.place[:, 0], block.place[:, 1], :steps] = torch.where(mask[..., None], value, torch.zeros_like(value)).to(full)
        there[block.place[:, 0], block.place[:, 1], :steps] = mask
        return Observed(full.repeat(draws, 1, 1, 1), there.repeat(draws, 1, 1))

    def _answer(self, out: Tensor, block: Dense, past: Trajectories, steps: int, scores: Tensor | None, how: Sampling, told: dict[str, Any],
                ) -> Forecast:
        packed = torch.stack([block.pack(one) for one in out])
        seen = block.pack(seen_nodes(block, self.config.given))
        weight = None
        if scores is not None and how.reject is not None:
            keep = how.reject.keep(scores).reshape(len(out), -1)
            weight = torch.where(keep, 0.0, -torch.inf)
        return Forecast(packed, past, continued(past.time, steps, self.spacing), seen[None, :, None].expand(packed.shape[:3]).clone(),
                        log_weight=weight, provenance=self._provenance(told))

    def _provenance(self, told: dict[str, Any]) -> dict[str, Any]:
        return {"method": "geotdm", **{k: self.about[k] for k in ("version", "config", "data") if k in self.about}, **told}

    def __repr__(self) -> str:
        state = "not fitted" if self.module is None else f"{self.spacing:g} {self.units.time} a frame"
        return f"GeoTDM({self.config.given} + {self.config.predicted} frames, {self.config.net}, prior {self.config.prior}, {state})"

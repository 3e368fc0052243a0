"""The trained part of GeoTDM: a backbone on standardised residuals of a reference forecast, and the condition it is told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trajlab.catalog import load
from trajlab.data.dense import Dense
from trajlab.models.features import Features
from trajlab.models.features_config import FeatureConfig
from trajlab.models.geotdm_config import GeoTDMConfig
from trajlab.models.given_frames import filled, scene_mean, seen_nodes
from trajlab.models.window_forecaster import WindowForecaster
from trajlab.paths.centre import centred
from trajlab.paths.denoiser import Denoiser, Edm
from trajlab.paths.schedules import EDM

#: The linear reference forecasts by the name of the setting.
LINEAR = {
    "ridge": "trajlab.models.linear_forecasts:ParticleRidge",
    "equivariant_ridge": "trajlab.models.linear_forecasts:EquivariantRidge",
    "velocity": "trajlab.models.linear_forecasts:ConstantVelocity",
    "last": "trajlab.models.linear_forecasts:LastPosition",
}


def feature_config(config: GeoTDMConfig) -> FeatureConfig:
    """The settings of the features within those of the method."""
    return FeatureConfig(config.node, config.pair, config.edges, config.cutoff, config.k, config.identity)


class GeoTDMModule(nn.Module):
    """F of the preconditioned denoiser, on residuals z = (x - x_r) / scale of the predicted frames.

    Args:
        config: the settings.
        features: learned from the training data.
        reference: a fitted linear forecast, or None for a learned prior and for unconditional models.

    Attributes:
        scale: standard deviation of the residual, in the unit of the data.
        unit: a length typical of the windows; positions are divided by it before they reach the net.
        reach: no reference forecast goes farther from the last given position than this; a roll-out may run away.
    """

    def __init__(self, config: GeoTDMConfig, features: Features, reference: WindowForecaster | None) -> None:
        super().__init__()
        self.config, self.features, self.reference = config, features, reference
        if config.net == "frame_channels":
            from trajlab.nets.frame_channels import FrameChannels

            shown = config.given + config.predicted * (config.prior == "rollout")
            self.net: nn.Module = FrameChannels(shown, config.predicted, features.n_node, features.n_pair, config.channels, config.width,
                                                config.layers)
        elif config.net == "transformer":
            from trajlab.nets.diffusion_transformer import DiffusionTransformer, TransformerSettings

            self.net = DiffusionTransformer(config.given, config.predicted, features.n_node, features.n_pair, config.dim,
                                            TransformerSettings(width=config.width, layers=config.layers))
        else:
            from trajlab.nets.egtn import EGTN, EgtnSettings

            self.net = EGTN(features.n_node, features.n_pair, EgtnSettings(width=config.width, layers=config.layers, clock_scale=25.0))
        self.prior: nn.Module | None = None
        if config.prior == "learned" and config.given:
            from trajlab.nets.egtn import EgtnSettings
            from trajlab.nets.geometric_prior import GeometricPrior

            self.prior = GeometricPrior(features.n_node, features.n_pair, config.predicted, EgtnSettings(width=config.width, layers=2))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("unit", torch.ones(()))
        self.register_buffer("reach", torch.full((), math.inf))

    @property
    def denoiser(self) -> Denoiser:
        """On an EDM path over standardised residuals."""
        path = EDM(sigma_min=self.config.sigma_min, sigma_max=self.config.sigma_max)
        return Denoiser(self, path, precondition=Edm(1.0), clock="quarter_log_rho")

    def condition(self, block: Dense, hide: Tensor | None = None, reference: Tensor | None = None) -> dict[str, Tensor]:
        """What the net is told of the scenes of a block, batch first.

        Args:
            block: padded scenes of at least the given frames.
            hide: scenes whose given frames are hidden from the net ``[scene]`` (the reference forecast stays).
            reference: `forecast` of the block, where it is known already.

        Returns:
            ``given`` (positions in units, about the scene's centre), ``base`` (where the residual is added, likewise), ``node``, ``pair``, and
            ``adjacent`` and ``seen`` where not everything is there.
        """
        given, dtype = self.config.given, self.scale.dtype
        node, pair, adjacent = self.features.of(block, given)
        found = {"node": node.to(dtype), "pair": pair.to(dtype)}
        if given:
            past, there = filled(block, given), seen_nodes(block, given)
            origin = scene_mean(past[:, :, -1:], there)
            needed = self.config.net == "egtn" or self.config.prior == "rollout"
            expected = self.forecast(block) if reference is None and needed else reference
            base: Any = expected if self.config.net == "egtn" else past[:, :, -1:].expand(-1, -1, self.config.predicted, -1)
            seen = block.mask[:, :, :given]
            if self.config.prior == "rollout":  # a linear reference follows from the past; this one knows more, and is shown before it
                past = torch.cat([expected, past], 2)
                seen = torch.cat([there[..., None].expand(-1, -1, self.config.predicted), seen], 2)
            found |= {"given": ((past - origin) / self.unit).to(dtype), "base": ((base - origin) / self.unit).to(dtype)}
            if hide is not None:
                seen = seen & ~hide[:, None, None]
            if not bool(seen.all()):
                found["seen"] = seen
        else:
            shape = (*block.x.shape[:2], 0, block.x.shape[3])
            found |= {"given": block.x.new_zeros(shape, dtype=dtype), "seen": block.mask[:, :, :0]}
        return found if adjacent is None else {**found, "adjacent": adjacent}

    def forecast(self, block: Dense) -> Tensor:
        """The reference forecast x_r ``[scene node predicted dim]``, in the unit of the data."""
        if not self.config.given:
            return torch.zeros_like(block.x[:, :, : self.config.predicted])
        if self.prior is None:
            made = self.reference.predict(block, self.config.predicted)  # type: ignore[union-attr]  # there where there is no learned prior
            return self._within_reach(block, made) if self.config.prior == "rollout" else made
        given = self.config.given
        past, there = filled(block, given), seen_nodes(block, given)
        origin = scene_mean(past[:, :, -1:], there)
        node, pair, adjacent = self.features.of(block, given)
        dtype = self.scale.dtype
        mask = None if bool(there.all()) else there[..., None].expand(-1, -1, given)
        made = self.prior(((past - origin) / self.unit).to(dtype), self.config.predicted, node.to(dtype), pair.to(dtype), mask, adjacent)
        return made.to(past.dtype) * self.unit + origin

    def _within_reach(self, block: Dense, made: Tensor) -> Tensor:
        last = filled(block, self.config.given)[:, :, -1:]
        apart = (made - last).nan_to_num(0.0, posinf=0.0, neginf=0.0)
        return last + apart * (self.reach.to(apart) / apart.norm(dim=-1, keepdim=True).clamp(min=1e-12)).clamp(max=1.0)

    def forward(self, x: Tensor, clock: Tensor, given: Tensor, node: Tensor, pair: Tensor, base: Tensor | None = None, mask: Tensor | None = None,
                seen: Tensor | None = None, adjacent: Tensor | None = None) -> Tensor:
        """The net's answer to scaled residuals x ``[scene node predicted dim]``."""
        whole = None
        if mask is not None or (seen is not None and self.config.given):
            there = torch.ones(x.shape[:3], dtype=torch.bool, device=x.device) if mask is None else mask
            before = torch.ones(given.shape[:3], dtype=torch.bool, device=x.device) if seen is None else seen
            whole = torch.cat([before, there], 2)
        if base is None:
            future = x
        elif self.config.net != "egtn":
            future = base + x
        else:
            future = base + x * (self.scale / self.unit)
        out: Tensor = self.net(given, future, clock, node, pair, mask=whole, adjacent=adjacent)
        return out if self.config.given else centred(out, mask, (1, 2))


def reference_of(config: GeoTDMConfig, state: Mapping[str, Tensor] | None = None) -> WindowForecaster | None:
    """A reference forecast, unfitted or with the state of a fitted one; None for a learned prior and for unconditional models."""
    if config.prior == "learned" or not config.given:
        return None
    if config.prior == "rollout":
        from trajlab.models.egnn_rollout import EgnnRollout, EgnnRolloutConfig

        settings = EgnnRolloutConfig(history=2, unroll=1, features=feature_config(config))
        return EgnnRollout(settings) if state is None else EgnnRollout.from_state(state, settings)
    if state is not None:
        return load(LINEAR[config.prior]).from_state(state)  # type: ignore[no-any-return]
    made: WindowForecaster = load(LINEAR[config.prior])()
    return made


def residual_mask(block: Dense, given: int) -> Tensor:
    """What is predicted and can be compared: seen in the future, by a node that was seen in the past, ``[scene node predicted]``."""
    future = block.mask[:, :, given:]
    return future & seen_nodes(block, given)[..., None] if given else future


def typical_length(block: Dense, given: int) -> float:
    """A length of the windows: geometric mean of how far nodes move over the given frames and of how far they are from their scene's centre."""
    frames = given or block.x.shape[2]
    past, there = filled(block, frames), seen_nodes(block, frames)
    weight = there[..., None, None].to(past.dtype)
    count = weight.sum().clamp(min=1)
    moved = float((((past[:, :, :1] - past[:, :, -1:]) ** 2) * weight).sum().div(count).sqrt())
    last = past[:, :, -1:]
    apart = float((((last - scene_mean(last, there)) ** 2) * weight).sum().div(count).sqrt())
    lengths = [length for length in (moved, apart) if length > 0]
    return float(torch.tensor(lengths).log().mean().exp()) if lengths else 1.0


def settings(config: GeoTDMConfig) -> dict[str, Any]:
    """The config as plain values."""
    from dataclasses import asdict

    return asdict(config)

"""Paths drawn from a fitted head: controls with their noise, moved by the exact Euler step, not by its linearisation."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trajlab.dynamics.kinematics import Controls, Start
from trajlab.dynamics.kinematics_path import path
from trajlab.dynamics.kinematics_persistent import ar1_factor
from trajlab.models.motion.mixture import PathMixture, cholesky
from trajlab.models.motion.module import MotionModule
from trajlab.models.motion.rows import Rows

__all__ = ["chosen_modes", "mode_paths", "rolled", "sampled"]


def chosen_modes(mixture: PathMixture, draws: int, joint: bool, generator: torch.Generator | None) -> Int[Tensor, "draw scene node"]:
    """A mode for each draw and agent; the same for all agents of a scene where modes are joint (and so are the logits)."""
    if not joint:
        return mixture.choose(draws, generator)
    first = PathMixture(mixture.logits[:, :1], mixture.mean[:, :1], mixture.covariance[:, :1])
    return first.choose(draws, generator).expand(draws, *mixture.logits.shape[:2])


def mode_paths(mixture: PathMixture, draws: int) -> Float[Tensor, "draw scene node time 2"]:
    """The mean paths of the modes, the likeliest of each agent first.

    Raises:
        ValueError: there are fewer modes than draws.
    """
    if draws > mixture.n_modes:
        raise ValueError(f"draws={draws} were wanted of {mixture.n_modes} modes; ask for at most these, or set draws='paths' to draw from them")
    order = mixture.logits.argsort(dim=-1, descending=True, stable=True)[..., :draws]
    return mixture.picked(mixture.mean, order.movedim(-1, 0))


def sampled(module: MotionModule, rows: Rows, mixture: PathMixture, draws: int, generator: torch.Generator | None,
            ) -> Float[Tensor, "draw scene node time 2"]:
    """Paths in the frames of the agents.

    With joint propagation of controls, these are drawn and the agent is moved exactly; the noise of observation and slip has one standard normal a
    path. With marginal propagation the standard deviations of controls are not those of a noise that could be drawn (they make up for what is left
    out), and the position head has none: then positions are drawn from the mixture, with one standard normal for the whole path.
    """
    mode = chosen_modes(mixture, draws, module.config.joint, generator)
    settings = module.head.settings
    if settings.formulation == "position" or settings.propagation == "marginal":
        return mixture.sample(draws, generator, mode)
    controls, start = module.head.controls(module.features(rows), rows.start, rows.wheelbase)
    moved = rolled(settings.formulation, _picked(controls, mode), _start(start, mode, settings.formulation, generator),
                   (module.dt, rows.wheelbase), generator)
    offset = torch.randn(*mode.shape, 1, 2, generator=generator, dtype=torch.float64).to(moved)
    noise = module.head.noise(module.features(rows)).sqrt().unsqueeze(-1)
    return moved + (noise if noise.ndim < 3 else PathMixture.picked(noise, mode)) * offset


def rolled(formulation: str, controls: Controls, start: Start, step: tuple[float, Tensor | float], generator: torch.Generator | None,
           ) -> Float[Tensor, "*batch time 2"]:
    """Paths of controls with noise drawn, one for each leading index.

    Args:
        formulation: of `trajlab.dynamics.kinematics.FORMULATIONS`.
        controls: mean, std and correlations.
        start: exactly known.
        step: its length in s, and the wheelbase in m.
        generator: of the noise.
    """
    noise = torch.randn(controls.mean.shape, generator=generator, dtype=torch.float64).to(controls.mean)
    if controls.persistence:
        noise = ar1_factor(controls.mean.shape[-2], controls.persistence, controls.mean) @ noise
    if controls.rho is not None:
        first, second = noise.unbind(-1)
        noise = torch.stack((first, controls.rho * first + (1 - controls.rho.square()).clamp(min=0).sqrt() * second), -1)
    return path(formulation, controls.mean + controls.std * noise, start, step[0], wheelbase=step[1])


def _picked(controls: Controls, mode: Int[Tensor, "draw scene node"]) -> Controls:
    pick = lambda value: PathMixture.picked(value, mode)  # noqa: E731
    rho = None if controls.rho is None else pick(controls.rho.unsqueeze(-1)).squeeze(-1)
    return Controls(pick(controls.mean), pick(controls.std), rho, controls.persistence)


def _start(start: Start, mode: Int[Tensor, "draw scene node"], formulation: str, generator: torch.Generator | None) -> Start:
    """Without the axis of modes, and with the uncertain velocity drawn."""
    known = replace(start, position=start.position.squeeze(-2), velocity=start.velocity.squeeze(-2), covariance=None,
                    heading=None if start.heading is None else start.heading.squeeze(-1))
    if start.covariance is None:
        return known
    factor = PathMixture.picked(cholesky(start.covariance[..., 2:, 2:]).unsqueeze(-2), mode).squeeze(-2)
    z = torch.randn(*mode.shape, 2, generator=generator, dtype=torch.float64).to(factor)
    off = torch.stack((factor[..., 0] * z[..., 0], factor[..., 1] * z[..., 0] + factor[..., 2] * z[..., 1]), -1)
    if formulation in ("velocity", "acceleration"):
        return replace(known, velocity=known.velocity + off)
    heading = known.direction + off[..., 0]
    speed = known.speed + off[..., 1]
    return Start(known.position, torch.stack((speed * heading.cos(), speed * heading.sin()), -1), heading)

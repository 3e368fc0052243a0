"""What a head that was trained with joint covariances would say if the noise of its controls were propagated as if variances were independent."""

from __future__ import annotations

import torch
from torch import Tensor

from trajlab.data.dense import dense
from trajlab.dynamics.kinematics import propagate
from trajlab.models.motion.mixture import PathMixture
from trajlab.models.motion.motion import Motion
from trajlab.models.motion.rows import rows_of
from trajlab.types import Trajectories

__all__ = ["marginal_nll"]

DIFFERENT = ("acceleration", "bicycle", "unicycle")  #: formulations whose noise is remembered from step to step


@torch.no_grad()
def marginal_nll(model: Motion, test: Trajectories) -> Tensor | None:
    """Negative log-likelihood of the path, nats a step, ``[window]``: the same controls with the same noise, propagated marginally.

    A head that is trained with marginal propagation makes up for what is left out by noise that is too large, so that its likelihood says little
    about the propagation; this says what the covariances left out are worth, at the noise that explains the data.

    Args:
        model: fitted, of one mode.
        test: windows of one agent each, with the future.

    Returns:
        None where joint and marginal propagation are the same, or where the head was trained with the latter.
    """
    module = model.fitted
    settings = module.head.settings
    if settings.propagation != "joint" or settings.formulation not in DIFFERENT:
        return None
    rows = rows_of(dense(test), model.given, model.config, module.layout, model.spacing)
    features = module.features(rows)
    controls, start = module.head.controls(features, rows.start, rows.wheelbase)
    at = propagate(settings.formulation, controls, start, module.dt, propagation="marginal", moments=settings.moments,
                   wheelbase=rows.wheelbase.unsqueeze(-1))
    noise = module.head.noise(features)[..., None, None] * torch.eye(2)
    said = PathMixture(module.head.logits(features).double(), at.mean.double(), (at.covariance + noise).double())
    return said.nll_joint(rows.truth.double(), rows.future)[:, 0] / rows.future[:, 0].sum(-1)

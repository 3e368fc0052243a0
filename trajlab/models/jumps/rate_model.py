"""The parametrisation of rates that a configuration asks for."""

from __future__ import annotations

from typing import Any

from trajlab.models.jumps.markov_jump_config import MarkovJumpConfig
from trajlab.models.jumps.parameters import log_rates
from trajlab.models.jumps.prepare import Prepared
from trajlab.models.jumps.reversible import reversible_rates

__all__ = ["rate_model"]


def rate_model(data: Prepared, config: MarkovJumpConfig) -> Any:
    """Free, equal and fixed rates with effects of covariates; rates in detailed balance; or a function of a few parameters.

    Raises:
        ValueError: the configuration and the possible links contradict each other.
    """
    names = tuple(data.paths.names)
    n = data.paths.n_states
    if config.parametric is not None:
        from trajlab.models.jumps.parametric import Parametric

        function, theta = config.parametric
        return Parametric(function, theta)
    if config.reversible:
        if config.equal or config.fixed or config.covariates:
            raise ValueError("reversible rates take no equal or fixed rates and no covariates yet; leave them out")
        return reversible_rates(n, data.links, names=names)
    return log_rates(n, data.links, config.equal, {(i, j): rate for i, j, rate in config.fixed}, dict.fromkeys(config.covariates), names)

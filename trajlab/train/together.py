"""Fabric's data-parallel strategy without its wrapper. In a file of its own, because Lightning Fabric is slow to import."""

from __future__ import annotations

from lightning_fabric.strategies import DDPStrategy
from torch import nn

from trajlab.train.processes import quiet


class Together(DDPStrategy):
    """Processes, devices and precision as in `DDPStrategy`, but no DistributedDataParallel around the model.

    `trajlab.train.processes.add_gradients` does its work in one call, and does not mind weights that a batch leaves unused.
    """

    def setup_environment(self) -> None:
        """As in `DDPStrategy`, without a banner."""
        with quiet():
            super().setup_environment()

    def setup_module(self, module: nn.Module) -> nn.Module:
        """The module as it is."""
        return module

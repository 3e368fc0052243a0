"""All trained weights of a model in one contiguous tensor, so that the optimiser, the clipping and the average are a few calls a step.

A network of small layers has some hundred parameters, and an optimiser that visits each spends a millisecond a step on book-keeping.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


class Flat:
    """The trained parameters of a model, packed by dtype; the model's own parameters and gradients become views of the packs.

    Args:
        module: the model, already on its device and in its precision. Parameters that require no gradient are left alone.

    Attributes:
        weights: one parameter a dtype, by the dtype's name, ``[weight]``, with its gradient allocated.

    Raises:
        ValueError: no parameter requires a gradient.
    """

    def __init__(self, module: nn.Module) -> None:
        self._members: dict[str, list[tuple[str, nn.Parameter]]] = {}
        for name, p in module.named_parameters():
            if p.requires_grad:
                self._members.setdefault(str(p.dtype).removeprefix("torch."), []).append((name, p))
        if not self._members:
            raise ValueError(f"{type(module).__name__} has no parameters that require a gradient; there is nothing to train")
        self.weights = {key: nn.Parameter(torch.cat([p.detach().reshape(-1) for _, p in group])) for key, group in self._members.items()}
        for flat in self.weights.values():
            flat.grad = torch.zeros_like(flat)
        self.bind()

    def _views(self, packs: Mapping[str, Tensor]) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
        for key, group in self._members.items():
            start = 0
            for name, p in group:
                yield name, p, packs[key].detach()[start : start + p.numel()].view(p.shape)
                start += p.numel()

    @torch.no_grad()
    def bind(self) -> None:
        """Make the model's parameters views of the packs, with the values they have now; needed again after ``module.to`` or the like."""
        gradients = {key: flat.grad for key, flat in self.weights.items()}
        for (_, p, view), (_, _, gradient) in zip(self._views(self.weights), self._views(gradients), strict=True):
            if p.data_ptr() != view.data_ptr():
                view.copy_(p)
                p.data = view
            p.grad = gradient

    @torch.no_grad()
    def release(self) -> None:
        """Give every parameter of the model memory of its own again, and no gradient."""
        for group in self._members.values():
            for _, p in group:
                p.data = p.detach().clone()
                p.grad = None

    def split(self, packs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Packed values by the names of the model's parameters."""
        return {name: view for name, _, view in self._views(packs)}

    @torch.no_grad()
    def join(self, packs: Mapping[str, Tensor], named: Mapping[str, Tensor]) -> None:
        """Write values by name into ``packs``."""
        for name, _, view in self._views(packs):
            view.copy_(named[name])

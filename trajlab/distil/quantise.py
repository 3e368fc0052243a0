"""Post-training quantisation of linear layers to int8 (PTQ4DM, Shang et al. 2023), with vector channels that stay equivariant.

Only `torch.nn.Linear` is replaced. Wide layers gain; everything else of a net stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn

from trajlab.catalog import unknown
from trajlab.distil.kernels import choose, product
from trajlab.distil.quantiser import CANDIDATES, POWER, Quantiser, by_norm, check_bits, fit, fit_channels, round_channels, sqnr

#: Numbers a layer's input is remembered by.
HELD = 1 << 16
ROUNDINGS = ("norm", "shared")


@dataclass(frozen=True)
class QuantiseConfig:
    """What is quantised, and how.

    Attributes:
        weight_bits, activation_bits: 2 to 8; fewer than 8 are held in int8 all the same.
        skip_first, skip_last: keep the first and last linear layer that is called in floating point.
        skip: names of further layers to keep, ``*`` allowed.
        vectors: names of layers, ``*`` allowed, whose input is vectors ``[... dim channel]``.
        rounding: of vectors. ``norm``: length quantised, direction kept, weights int8, the product in floating point: exactly equivariant.
            ``shared``: int8 product with one scale for all components, from the longest vector: equivariant to ~2^-bits.
        power, candidates: of the search of scales.
        kernel: ``auto``, ``packed`` or ``int_mm``.

    Raises:
        ValueError: bits outside 2 to 8, or an unknown rounding.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    skip_first: bool = True
    skip_last: bool = True
    skip: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    rounding: str = "norm"
    power: float = POWER
    candidates: int = CANDIDATES
    kernel: str = "auto"

    def __post_init__(self) -> None:
        check_bits(self.weight_bits)
        check_bits(self.activation_bits)
        if self.rounding not in ROUNDINGS:
            raise ValueError(unknown("rounding of vectors", self.rounding, ROUNDINGS))


class QuantisedLinear(nn.Module):
    """A linear layer on int8 kernels; float in, float out, no gradient.

    Args:
        layer: what is replaced.
        activation: quantiser of its input.
        config: bits, kernel, search.
    """

    def __init__(self, layer: nn.Linear, activation: Quantiser, config: QuantiseConfig) -> None:
        super().__init__()
        choose(config.kernel, layer.weight.device)
        self.activation, self.kernel = activation, config.kernel
        scale = fit_channels(layer.weight, config.weight_bits, config.power, config.candidates)
        self.register_buffer("weight", round_channels(layer.weight.detach().double(), scale, config.weight_bits).to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().float())
        self._product: Callable[[Tensor], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """``[... in]`` to ``[... out]``.

        Raises:
            ValueError: a gradient is wanted.
        """
        _no_gradient(x)
        if self._product is None:
            # The integers are those of 8 bits; fewer bits only narrow the range that is used.
            kernel = choose(self.kernel, self.weight.device)
            self._product = product(kernel, self.weight, self.scale, self.bias, self.activation.scale, self.activation.zero)
        rows = x.reshape(-1, x.shape[-1]).float()
        if self.activation.bits < 8:
            rows = rows.clamp(*self.activation.range)
        return self._product(rows).reshape(*x.shape[:-1], -1).to(x.dtype)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self._product = None  # to another device
        return super()._apply(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        # The packed weight belongs to this process; a copy packs its own.
        return {**self.__dict__, "_product": None}


class NormQuantisedLinear(nn.Module):
    """A linear map of vector channels ``[... dim channel]``: int8 weights, quantised lengths, directions kept (see `by_norm`).

    Raises:
        ValueError: the layer has a bias, which no map of vectors may have.
    """

    def __init__(self, layer: nn.Linear, activation: Quantiser, config: QuantiseConfig) -> None:
        super().__init__()
        if layer.bias is not None:
            raise ValueError("this layer adds a bias to vectors, so that it isn't equivariant; take it out of `vectors`, or build it with bias=False")
        scale = fit_channels(layer.weight, config.weight_bits, config.power, config.candidates)
        self.activation = activation
        self.register_buffer("weight", round_channels(layer.weight.detach().double(), scale, config.weight_bits).to(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """``[... dim in]`` to ``[... dim out]``."""
        return nn.functional.linear(by_norm(x, self.activation), (self.weight * self.scale[:, None]).to(x.dtype))


@dataclass(frozen=True)
class LayerReport:
    """What became of a linear layer.

    Attributes:
        name: within the module.
        how: ``int8``, ``norm`` (vectors), or why it was kept.
        shape: ``(out, in)``.
        input_db, weight_db, output_db: signal over quantisation noise, dB, on the calibration inputs; nan where kept.
    """

    name: str
    how: str
    shape: tuple[int, int]
    input_db: float = float("nan")
    weight_db: float = float("nan")
    output_db: float = float("nan")


@dataclass(frozen=True)
class Quantised:
    """A quantised copy.

    Attributes:
        module: in eval mode, without gradients; the original is untouched.
        layers: what became of every linear layer.
    """

    module: nn.Module
    layers: list[LayerReport] = field(repr=False)

    def __str__(self) -> str:
        lines = [f"{'layer':<32} {'how':<12} {'out x in':>12} {'input':>7} {'weight':>7} {'output':>7}  (SQNR, dB)"]
        for r in self.layers:
            quality = " ".join(f"{db:>7.1f}" for db in (r.input_db, r.weight_db, r.output_db))
            lines.append(f"{r.name:<32} {r.how:<12} {r.shape[0]:>5} x {r.shape[1]:<4} {quality}")
        return "\n".join(lines)


def quantise(module: nn.Module, calibration: Callable[[nn.Module], Any], config: QuantiseConfig | None = None) -> Quantised:
    """A copy of a module with its linear layers in int8.

    Args:
        module: any; it is not changed.
        calibration: calls the module it is given on representative inputs, ``lambda net: net(x, t)`` or `Calibration.driver`; scales are fitted
            to what the layers see then.
        config: bits, layers, kernel.

    Raises:
        ValueError: no linear layer was called, a name in ``skip`` or ``vectors`` fits none, or there is no kernel for the module's device.
    """
    config = config or QuantiseConfig()
    copied = copy.deepcopy(module).eval().requires_grad_(False)
    linear = {name: m for name, m in copied.named_modules() if type(m) is nn.Linear}
    _check_names(linear, config)
    seen = _observe(copied, linear, calibration)
    if not seen:
        raise ValueError(f"no torch.nn.Linear was called ({len(linear)} are there), and only these are quantised; does the calibration call the net?")
    called = list(seen)
    kept = {**({called[-1]: "kept: last"} if config.skip_last else {}), **({called[0]: "kept: first"} if config.skip_first else {})}
    new, reports = {}, []
    for name, layer in linear.items():
        why = "kept: unused" if name not in seen else "kept: asked" if _fits(name, config.skip) else kept.get(name)
        if why:
            reports.append(LayerReport(name, why, tuple(layer.weight.shape)))
            continue
        new[layer], report = _replaced(name, layer, seen[name], config)
        reports.append(report)
    return Quantised(_swap(copied, new), reports)


def _replaced(name: str, layer: nn.Linear, x: Tensor, config: QuantiseConfig) -> tuple[nn.Module, LayerReport]:
    vectors = _fits(name, config.vectors)
    by_length = vectors and config.rounding == "norm"
    if vectors:
        if x.ndim < 3:
            raise ValueError(f"{name} is named in `vectors`, but its input has shape [... {x.shape[-1]}]; vectors are [... dim channel]")
        values = x.norm(dim=-2)
    else:
        values = x
    activation = fit(values, config.activation_bits, config.power, config.candidates)
    if vectors and not by_length:
        longest = activation.range[1]
        activation = Quantiser.between(-longest, longest, config.activation_bits)
    made = (NormQuantisedLinear if by_length else QuantisedLinear)(layer, activation, config)
    with torch.no_grad():
        rounded = by_norm(x, activation) if by_length else activation(x)
        weight = made.weight * made.scale[:, None]
        quality = sqnr(x, rounded), sqnr(layer.weight, weight), sqnr(layer(x), made(x))
    return made, LayerReport(name, "norm" if by_length else "int8", tuple(layer.weight.shape), *quality)


def _observe(module: nn.Module, linear: dict[str, nn.Linear], calibration: Callable[[nn.Module], Any]) -> dict[str, Tensor]:
    """A sample of every layer's input, in the order of the first calls; rows are taken at even distances, so nothing is drawn."""
    held: dict[str, list[Tensor]] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            x = args[0].detach()
            rows = x.reshape(-1, *x.shape[-2:]) if x.ndim > 2 else x.reshape(-1, x.shape[-1])
            most = max(1, HELD // rows[0].numel()) if len(rows) else 1
            held.setdefault(name, []).append(rows[:: -(-len(rows) // most) or 1].clone())

        return hook

    handles = [layer.register_forward_pre_hook(watch(name)) for name, layer in linear.items()]
    try:
        with torch.no_grad():
            calibration(module)
    finally:
        for handle in handles:
            handle.remove()
    return {name: torch.cat(parts if len({p.shape[1:] for p in parts}) == 1 else [p.reshape(-1, p.shape[-1]) for p in parts])
            for name, parts in held.items()}


def _swap(module: nn.Module, new: dict[nn.Module, nn.Module]) -> nn.Module:
    """Put the new layers where the old ones were, under every name that they have."""
    if module in new:
        return new[module]
    for parent in list(module.modules()):
        for name, child in list(parent._modules.items()):
            if child in new:
                setattr(parent, name, new[child])
    return module


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, p) for p in patterns)


def _check_names(linear: dict[str, nn.Linear], config: QuantiseConfig) -> None:
    for pattern in (*config.skip, *config.vectors):
        if not any(fnmatch(name, pattern) for name in linear):
            raise ValueError(unknown("linear layer", pattern, linear))


def _no_gradient(x: Tensor) -> None:
    if torch.is_grad_enabled() and x.requires_grad:
        raise ValueError("int8 layers have no gradient; steer with the floating-point net, or call this one under torch.no_grad()")

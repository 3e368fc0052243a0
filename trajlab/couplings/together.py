"""A coupling is a permutation: `source[k]` goes with `data[index[k]]`. Here everything that belongs to a sample is permuted at once.

Pairing x and leaving its label, mask or time stamps in place trains a net on wrong conditions and raises no error; so couplings return
indices, and one call moves the whole sample.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

Tree = TypeVar("Tree")


def together(index: Int[Tensor, " batch"], belongings: Tree, shared: Collection[str] = ()) -> Tree:
    """Everything that belongs to the samples, in the order of ``index``: row k of the result is row ``index[k]``.

    Args:
        index: what a coupling returned.
        belongings: a tensor or array with the batch first, or dicts, tuples, lists and dataclasses of them, nested as one likes: x,
            condition, mask, time stamps. None stays None.
        shared: names of fields or keys that belong to the batch as a whole (units, a graph that all share) and stay as they are.

    Raises:
        ValueError: the index is not a permutation, or a tensor has another number of rows; its place is named.
        TypeError: something is neither a tensor nor a container of them nor named in ``shared``.
    """
    check_permutation(index)
    return _moved(index, belongings, frozenset(shared), "")


def inverse(index: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """The permutation that moves the source instead of the data: `source[inverse(index)[k]]` goes with `data[k]`.

    Raises:
        ValueError: the index is not a permutation.
    """
    check_permutation(index)
    return torch.empty_like(index).scatter_(0, index, torch.arange(len(index), device=index.device, dtype=index.dtype))


def check_permutation(index: Tensor) -> None:
    """Refuse an index that is not a permutation, as one drawn with replacement from a transport plan is not.

    Raises:
        ValueError: it has other than one axis, is not of integers, or misses rows.
    """
    if index.ndim != 1 or index.is_floating_point() or index.dtype == torch.bool:
        raise ValueError(f"an index of shape {tuple(index.shape)} and type {index.dtype} came; integers of shape (batch,) were wanted")
    if bool(((index < 0) | (index >= len(index))).any()):
        raise ValueError(f"the index runs from {int(index.min())} to {int(index.max())}; a permutation of 0 to {len(index) - 1} was wanted")
    times = torch.bincount(index, minlength=len(index))
    if bool((times != 1).any()):
        many, few = int(times.argmax()), int(times.argmin())
        raise ValueError(f"the index is not a permutation: row {many} comes {int(times[many])} times and row {few} never. Pairs "
                         "drawn with replacement repeat some samples and omit others; use a coupling that assigns, such as MinibatchOT")


def _moved(index: Tensor, value: Any, shared: frozenset[str], place: str) -> Any:
    if value is None:
        return None
    if isinstance(value, Tensor | np.ndarray):
        return _rows(index, value, place or "the tensor")
    if isinstance(value, dict):
        return type(value)((k, v if k in shared else _moved(index, v, shared, f"{place}[{k!r}]")) for k, v in value.items())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(v if k in shared else _moved(index, v, shared, f"{place}.{k}") for k, v in zip(value._fields, value)))
    if isinstance(value, tuple | list):
        return type(value)(_moved(index, v, shared, f"{place}[{k}]") for k, v in enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init and f.name not in shared}
        return dataclasses.replace(value, **{k: _moved(index, v, shared, f"{place}.{k}") for k, v in fields.items()})
    raise TypeError(f"{place or 'what came'} is a {type(value).__name__}; pass a tensor with the batch first, a container of tensors, "
                    "or name it in shared= if it belongs to the whole batch")


def _rows(index: Tensor, value: Any, place: str) -> Any:
    if value.ndim == 0 or len(value) != len(index):
        raise ValueError(f"{place} has shape {tuple(value.shape)}; {len(index)} rows were wanted, one a sample "
                         "(name it in shared= if it belongs to the whole batch)")
    return value[index.to(value.device)] if isinstance(value, Tensor) else value[index.cpu().numpy()]

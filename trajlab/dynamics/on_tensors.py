"""Right-hand sides that are written with numpy's functions, on torch tensors with gradients.

numpy asks its arguments whether they know better (``__array_ufunc__``, ``__array_function__``; NEP 13 and 18). The components that the function gets
answer with torch's function of the same name.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    import torch

    from trajlab.dynamics.fields import VectorField

__all__ = ["on_tensors"]

NAMES = {"arctan2": "atan2", "power": "pow", "absolute": "abs", "fabs": "abs", "mod": "remainder"}


def on_tensors(field: VectorField, t: float, x: Float[torch.Tensor, "batch dim"]) -> Float[torch.Tensor, "batch dim"]:
    """Rates ``[batch dim]`` of a vector field at tensors of that shape, on their device, differentiable.

    Raises:
        TypeError: the function branches on single values, uses `math`, or a function of numpy that torch lacks.
    """
    import torch

    try:
        return field(t, x.as_subclass(component())).as_subclass(torch.Tensor)
    except (TypeError, RuntimeError, ValueError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise TypeError(f"{field.name}: the right-hand side does not take batches of tensors ({why}). Write it with arithmetic and numpy "
                        "functions of components, numpy.where in the place of branches, or pass a function f(t, x[batch dim]) of tensors") from error


@cache
def component() -> type[torch.Tensor]:
    """A tensor that numpy's functions hand over to torch."""
    import torch

    class Component(torch.Tensor):
        def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
            if method != "__call__" or options:
                return NotImplemented
            return self._torch(ufunc.__name__, inputs)

        def __array_function__(self, function: Any, kinds: Any, inputs: Any, options: Any) -> Any:
            return NotImplemented if options else self._torch(function.__name__, inputs)

        def __float__(self) -> float:
            raise TypeError("a function of single numbers, such as those of math, would lose the gradient")

        def _torch(self, name: str, inputs: tuple[Any, ...]) -> Any:
            function = getattr(torch, NAMES.get(name, name), None)
            if function is None:
                raise TypeError(f"torch has no {name}")
            return function(*(i if isinstance(i, torch.Tensor) else torch.as_tensor(np.asarray(i), device=self.device).to(
                torch.bool if np.asarray(i).dtype == bool else self.dtype) for i in inputs))

    return Component

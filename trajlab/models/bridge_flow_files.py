"""Global flows of bridges on disk."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from trajlab.dynamics.linear_sde import LinearSDE
from trajlab.dynamics.references import LinearReference, Reference
from trajlab.models import model_files
from trajlab.models.bridge_flow_config import BridgeFlowConfig
from trajlab.models.bridge_flow_net import FlowNets
from trajlab.models.bridge_scale import Scale
from trajlab.models.family import family
from trajlab.models.parametric_families import Parametric
from trajlab.units import Units

if TYPE_CHECKING:
    from trajlab.models.bridge_flow import BridgeFlow

__all__ = ["load", "save"]


def save(flow: BridgeFlow, folder: str | Path) -> Path:
    """Write a fitted flow; see `BridgeFlow.save`."""
    nets, known = flow.fitted(), flow.reference
    kind, matrices = "none", {}
    if known.linear is not None:
        kind, matrices = "linear", {"A": known.linear.A, "b": known.linear.b}
    elif _named(flow.law):
        kind = "family"
    elif flow.config.residual:
        raise ValueError(f"the velocity of this flow contains the drift of a reference of family {flow.law['family']!r}, which cannot be written to "
                         "a file; fit the flow with BridgeFlowConfig(residual=False), whose nets hold everything")
    tensors = {**{f"nets.{k}": v for k, v in nets.state_dict().items()}, **{f"reference.{k}": v for k, v in matrices.items()}, "theta": flow.theta,
               "D": flow.D, "shift": flow.scale.shift, "divisor": flow.scale.divisor, "time": flow.time, "first": flow.first, "weight": flow.weight}
    tensors = {name: value.clone() for name, value in tensors.items()}  # views of one vector would be refused
    record = {**flow.about, "config": asdict(flow.config), "frequencies": nets.frequencies, "reference": kind,
              "law": flow.law if kind == "family" else {}, "units": asdict(flow.units)}
    return model_files.write(folder, record, tensors)


def _named(law: dict[str, Any]) -> bool:
    """Whether the family can be made again from its name and options."""
    if not isinstance(law["family"], str) or not isinstance(family(law["family"], **law["options"]), Parametric):
        return False
    try:
        json.dumps(law["options"])
    except TypeError:
        return False
    return True


def load(flow: BridgeFlow, folder: str | Path) -> BridgeFlow:
    """Read into an unfitted flow; see `BridgeFlow.load`."""
    record, tensors, flow.config = model_files.read(folder, "bridge_flow", BridgeFlowConfig)
    part = lambda name: {k.removeprefix(name): v for k, v in tensors.items() if k.startswith(name)}  # noqa: E731
    flow.D, flow.time, flow.first, flow.weight, flow.theta = (tensors[name] for name in ("D", "time", "first", "weight", "theta"))
    flow.scale, flow.units = Scale(tensors["shift"], tensors["divisor"]), Units(**record["units"])
    flow.law = record["law"]
    flow.reference = _reference(record["reference"], part("reference."), flow.law, flow.theta, flow.D)
    nets = FlowNets(len(flow.D), record["frequencies"], flow.config).double()
    nets.load_state_dict(part("nets."))
    flow.nets = nets.eval().requires_grad_(False)
    flow.about = {k: v for k, v in record.items() if k not in ("config", "frequencies", "reference", "law", "units")}
    return flow


def _reference(kind: str, matrices: dict[str, Tensor], law: dict[str, Any], theta: Tensor, D: Tensor) -> Reference | None:
    if kind == "linear":
        return LinearReference(LinearSDE(matrices["A"], matrices["b"], D))
    return family(law["family"], **law["options"]).reference(theta, D) if kind == "family" else None

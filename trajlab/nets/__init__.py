"""Backbones: they know shapes only, nothing of data, training or tasks."""

TABLE: dict[str, str] = {
    "trajcast": "trajlab.nets.trajcast:TrajCastNet",
    "polar": "trajlab.nets.polar:PolarNet",
}

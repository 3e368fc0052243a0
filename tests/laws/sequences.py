"""Small nets of sequences, by name, on which their laws are tested (tests/nets/test_sequence_nets.py)."""

from __future__ import annotations

from trajlab.nets.causal_transformer import CausalTransformer
from trajlab.nets.gru import GRUSequence
from trajlab.nets.state_space import StateSpace

NETS = {
    "gru": lambda: GRUSequence(3, 8, 2),
    "causal_transformer": lambda: CausalTransformer(3, 8, 2, heads=2, reach=5),
    "causal_transformer without norms": lambda: CausalTransformer(3, 8, 2, heads=2, reach=5, norm=False),
    "state_space": lambda: StateSpace(3, 8, 2, modes=4),
    "state_space without norms": lambda: StateSpace(3, 8, 2, modes=4, norm=False),
}
#: Nets of windows of single series; they have no law in common but their shapes.
WINDOWS = {"window_perceptron"}

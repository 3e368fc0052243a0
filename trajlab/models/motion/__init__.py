"""Probabilistic forecasting of motion: frames of agents, mixtures of paths, kinematic heads and what trains them."""

"""Markov jump processes with a known generator: transition matrices, likelihood and its gradient, simulation, what follows from the rates.

Everywhere a generator is ``q[i, j] >= 0``, the rate of jumps from i to j, with ``q[i, i] = -sum_j q[i, j]``; arrays are numpy float64.
"""

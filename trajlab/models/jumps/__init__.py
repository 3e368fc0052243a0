"""Inference of Markov jump processes: exact (likelihood, posterior mode) and zero-shot, with intervals and diagnostics."""

"""Forecasts on graphs of sensors: AirPhyNet, its ablations, recurrent nets and plain baselines, all with the same ``fit`` and ``forecast``."""

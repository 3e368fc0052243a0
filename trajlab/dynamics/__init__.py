"""Known laws, nothing learned: particles and their kinetics, integrators, thermostats."""

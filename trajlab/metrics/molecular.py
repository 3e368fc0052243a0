"""Everything molecular dynamics is judged by, in one place.

| figure | functions |
|---|---|
| one-step errors, total and by element | `Squares` |
| pair distances, radial distribution, shells, bonds, angles | `pair_distances`, `radial_distribution`, `first_shell`, `bonds`, `angle_distribution` |
| displacement | `mean_square_displacement` |
| vibrational spectra, folded at the Nyquist wavenumber of the stride | `vibrational_density`, `peak_shifts`, `folded`, `nyquist` |
| temperature, by element, kinetic-energy distribution | `kinetic`, `element_temperatures`, `canonical_fit` |
| energy drift under the reference, one-step Jacobian | `energy_drift`, `jacobian` |
| distances with the noise floor of the reference | `compare` with `l1` or `overlap` |
| error bars | `blocked_mean`, `bootstrap` |
"""

from __future__ import annotations

from trajlab.metrics.accuracy import Squares
from trajlab.metrics.lattice import Lattice
from trajlab.metrics.profiles import Compared, Profile, alive, compare, l1, overlap, replicas, time_blocks
from trajlab.metrics.spectra import folded, nyquist, peak_shifts, peaks, subsampled, vibrational_density
from trajlab.metrics.stability import Drift, Jacobian, energy_drift, jacobian, jacobian_radius, total_energy
from trajlab.metrics.structure import (
    all_pairs,
    angle_distribution,
    bond_angles,
    bonds,
    by_elements,
    distances,
    first_shell,
    half_height,
    mean_square_displacement,
    pair_distances,
    radial_distribution,
)
from trajlab.metrics.temperature import CanonicalFit, Kinetic, canonical_fit, element_temperatures, energy_histogram, instants, kinetic
from trajlab.metrics.uncertainty import Estimate, blocked_mean, bootstrap

__all__ = [
    "CanonicalFit", "Compared", "Drift", "Estimate", "Jacobian", "Kinetic", "Lattice", "Profile", "Squares", "alive", "all_pairs",
    "angle_distribution", "blocked_mean", "bond_angles", "bonds", "bootstrap", "by_elements", "canonical_fit", "compare", "distances",
    "element_temperatures", "energy_drift", "energy_histogram", "first_shell", "folded", "half_height", "instants", "jacobian", "jacobian_radius",
    "kinetic", "l1", "mean_square_displacement", "nyquist", "overlap", "pair_distances", "peak_shifts", "peaks", "radial_distribution",
    "replicas", "subsampled", "time_blocks", "total_energy", "vibrational_density",
]

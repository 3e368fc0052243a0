"""Windows of molecules: equal energy within a segment, shared runs of overlapping windows, bond distances."""

from __future__ import annotations

import pytest
import torch

from trajlab.sources.cards import SGDML_FILES
from trajlab.sources.simulate import build
from trajlab.sources.windows_md import FAR, bond_distances, hops, molecule_windows

FAST = {"equilibrate": 100.0, "decorrelate": 50.0, "quiet": True}


@pytest.fixture(scope="module")
def folder(reference):
    return reference / "md/sgdml_models"


@pytest.fixture(scope="module")
def ethanol(folder):
    return molecule_windows("ethanol", 11, frames=12, folder=folder, per=3, hop=4, replicas=2, **FAST)


def test_shape_clock_and_names(ethanol):
    assert (ethanol.n_scenes, ethanol.n_frames, ethanol.n_nodes) == (11, 12, 99)
    assert ethanol.spacing == 5.0
    assert str(ethanol.units).startswith("angstrom, fs")
    assert ethanol.static["hop"].shape == (99, 9)
    assert torch.equal(ethanol.static["hop"][:9], ethanol.static["hop"][90:])
    assert (ethanol.context["temperature"] == 500).all()
    assert ethanol.source["recipe"]["stride"] == 5.0


def test_windows_of_a_segment_overlap_and_share_the_run(ethanol):
    run = ethanol.context["run"].tolist()
    assert run == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3]
    assert len(set(zip(run, ethanol.context["replica"].tolist()))) == 4
    x = ethanol.x.reshape(11, 9, 12, 3)
    torch.testing.assert_close(x[0, :, 4:], x[1, :, :8], rtol=0, atol=0)
    assert float((x[2] - x[3]).abs().min()) > 0
    assert torch.equal(ethanol.time[1], ethanol.time[0] + 20)


def test_windows_conserve_energy_and_momenta(ethanol, folder):
    potential, rest = build("ethanol", folder)
    energy = []
    for frame in (0, 11):
        p = rest.replace(x=ethanol.x[:9, frame], v=ethanol.velocity[:9, frame])
        kinetic = 0.5 * 103.642697 * (p.mass[:, None] * p.v.square()).sum()
        energy.append(float(potential(p)[0].sum() + kinetic))
    assert energy[1] == pytest.approx(energy[0], abs=0.02)
    momentum = (ethanol.mass[:, None, None] * ethanol.velocity).reshape(11, 9, 12, 3).sum(1)
    assert float(momentum.abs().max()) < 1e-10


def test_one_replica_a_window_by_default(folder):
    w = molecule_windows("uracil", 3, frames=4, folder=folder, **FAST)
    assert w.context["replica"].tolist() == [0, 1, 2]
    assert w.context["run"].tolist() == [0, 1, 2]
    again = molecule_windows("uracil", 3, frames=4, folder=folder, **FAST)
    torch.testing.assert_close(w.x, again.x, rtol=0, atol=0)
    assert not torch.equal(molecule_windows("uracil", 3, frames=4, folder=folder, seed=1, **FAST).x, w.x)


def test_fewer_windows_than_rounds_of_replicas_use_all_replicas(folder):
    w = molecule_windows("ethanol", 5, frames=3, folder=folder, replicas=4, **FAST)
    assert w.context["replica"].tolist() == [0, 0, 1, 2, 3]


def test_bond_distances_of_a_chain_and_of_two_pieces():
    bonded = torch.zeros(7, 7, dtype=torch.bool)
    for i, j in ((0, 1), (1, 2), (2, 3), (3, 4), (5, 6)):
        bonded[i, j] = bonded[j, i] = True
    far = bond_distances(bonded)
    assert far[0].tolist() == [0, 1, 2, 3, FAR, FAR, FAR]
    assert far[5].tolist() == [FAR] * 5 + [0, 1]
    assert torch.equal(far, far.T)


@pytest.mark.parametrize(("name", "bonds"), [("aspirin", 21), ("ethanol", 8), ("malonaldehyde", 8), ("naphthalene", 19), ("paracetamol", 20),
                                             ("salicylic_acid", 16), ("toluene", 15), ("uracil", 12)])
def test_bonds_of_all_molecules(folder, name, bonds):
    _, rest = build(name, folder)
    near = hops(rest.kind, rest.x)
    assert int((near == 1).sum()) == 2 * bonds
    published = bond_distances((torch.cdist(rest.x, rest.x) < 1.6).fill_diagonal_(False))
    assert torch.equal(near, published) == (name != "toluene")  # whose reference has a stretched bond
    assert set(SGDML_FILES) >= {name}


@pytest.mark.parametrize(("arguments", "words"), [
    ({"name": "uracyl", "n": 1}, "did you mean 'uracil'"),
    ({"name": "copper", "n": 1}, "is a crystal"),
    ({"name": "uracil", "n": 0}, "n=0"),
    ({"name": "uracil", "n": 1, "frames": 1}, "frames=1"),
    ({"name": "uracil", "n": 1, "per": 0}, "per=0"),
    ({"name": "uracil", "n": 1, "spacing": 5.2}, "multiple"),
])
def test_bad_input(folder, arguments, words):
    with pytest.raises(ValueError, match=words):
        molecule_windows(**arguments, folder=folder, **FAST)

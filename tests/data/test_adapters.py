"""What users hold already goes in and comes out unchanged, and what is wrong with it is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import trajlab.data as data
from trajlab.data.adapters.arrays import read_npz
from trajlab.data.adapters.ase import from_ase, read_ase, to_ase
from trajlab.data.adapters.lammps import read_lammps
from trajlab.data.fields import checksum, flatten
from trajlab.data.read import kind_of_file, read
from trajlab.data.store import save
from trajlab.types import Trajectories
from trajlab.units import ASE_TIME, Units

ase = pytest.importorskip("ase")
from ase.build import bulk, molecule  # noqa: E402
from ase.io import write  # noqa: E402


def assert_same(a, b, tolerance=1e-12):
    (arrays, _), (others, _) = flatten(a), flatten(b)
    assert arrays.keys() == others.keys()
    for name, value in arrays.items():
        assert value.shape == others[name].shape, name
        assert torch.allclose(value.double(), others[name].double(), atol=tolerance), name
    assert a.units == b.units


def test_ase_there_and_back(run):
    t = from_ase(run)
    assert t.x.shape == (8, 6, 3)
    assert t.time[0].tolist() == [0, 2, 4, 6, 8, 10]
    assert torch.allclose(t.velocity[:, 1], torch.as_tensor(run[1].get_velocities()) / ASE_TIME)
    back = to_ase(t)
    for image, other in zip(run, back, strict=True):
        assert np.allclose(image.positions, other.positions, atol=1e-12)
        assert np.allclose(image.get_momenta(), other.get_momenta(), atol=1e-12)
        assert np.array_equal(image.numbers, other.numbers)
        assert np.allclose(image.cell, other.cell)
        assert np.array_equal(image.pbc, other.pbc)
        assert np.allclose(image.get_masses(), other.get_masses())
    assert_same(from_ase(back), t)


@pytest.mark.parametrize("name", ["a.extxyz", "a.traj", "a.xyz", "a.db"])
def test_files_of_ase(run, name, tmp_path):
    for image in run:
        write(tmp_path / name, image, append=True) if name.endswith("db") else None
    if not name.endswith("db"):
        write(tmp_path / name, run, format="extxyz" if name.endswith("xyz") else None)
    options = {"spacing": 2.0} if name.endswith(("db", "traj")) else {}
    assert_same(read(tmp_path / name, **options), from_ase(run), 1e-7)


def test_isotopes_keep_their_mass(run):
    heavy = [image.copy() for image in run]
    for image in heavy:
        image.set_masses([65.0] * 8)
        image.set_velocities(run[0].get_velocities() * 0)
    assert from_ase(heavy, check=False).mass.tolist() == [65.0] * 8


def test_velocity_columns_and_their_unit(run, tmp_path):
    images = []
    for image in run:
        bare = image.copy()
        del bare.arrays["momenta"]
        bare.arrays["velocities"] = image.get_velocities() / ASE_TIME * 1000  # Angstrom/ps
        images.append(bare)
    write(tmp_path / "a.extxyz", images)
    with pytest.raises(ValueError, match=r"Angstrom/ps, or the clock in ps"):
        read(tmp_path / "a.extxyz")
    assert_same(read(tmp_path / "a.extxyz", velocity_unit="angstrom/ps"), from_ase(run), 1e-6)
    with pytest.raises(ValueError, match="like 'angstrom/fs'"):
        read(tmp_path / "a.extxyz", velocity_unit="fast")
    for image in images:
        image.arrays["velocities"] /= 1000 / ASE_TIME
    with pytest.raises(ValueError, match="ASE units"):
        from_ase(images)
    assert_same(from_ase(images, velocity_unit="ase"), from_ase(run), 1e-6)


def test_missing_velocities_are_allowed_until_asked_for(run, tmp_path):
    bare = [image.copy() for image in run]
    for image in bare:
        del image.arrays["momenta"]
    write(tmp_path / "a.extxyz", bare)
    t = read(tmp_path / "a.extxyz")
    with pytest.raises(ValueError, match="finite_differences"):
        _ = t.velocity
    guess = data.finite_differences(t)
    assert torch.allclose(guess.velocity, from_ase(run).velocity, atol=5e-4)
    with pytest.raises(ValueError, match=r"frame 1 .* has no velocities, though others have"):
        from_ase([run[0], bare[1]])


def test_a_clock_is_asked_for(run):
    images = [image.copy() for image in run]
    for image in images:
        image.info.clear()
    with pytest.raises(ValueError, match=r"6 frames but no clock; pass spacing= .* the velocities suggest (2|1\.99\d*|2\.0\d*) fs"):
        from_ase(images)
    with pytest.raises(ValueError, match="spacing=-1"):
        from_ase(images, spacing=-1)
    assert from_ase(images[:1]).n_frames == 1


def test_mixed_systems_become_scenes():
    t = from_ase([molecule("H2O"), molecule("CH4"), bulk("Cu", cubic=True)])
    assert t.sizes.tolist() == [3, 5, 4]
    assert t.pbc.any(1).tolist() == [False, False, True]
    assert "velocity" not in t.extra
    with pytest.raises(ValueError, match=r"elements of frame 1 .*differ .* frames='scenes'"):
        from_ase([molecule("H2O"), molecule("CH4")], frames="trajectory", spacing=1.0)
    with pytest.raises(ValueError, match="frames='all'"):
        from_ase([molecule("H2O")], frames="all")


def test_wrapped_runs_are_unwrapped(run):
    wrapped = [image.copy() for image in run]
    for image in wrapped:
        image.positions += [0, 0, -0.01]  # atoms at the face cross it all the time
        image.wrap(eps=0)
    t = from_ase(wrapped)
    assert float(t.x.diff(dim=1).abs().max()) < 0.5
    assert float(from_ase(wrapped, unwrap=False).x.diff(dim=1).abs().max()) > 3


def test_bad_atoms(run, tmp_path):
    with pytest.raises(ValueError, match="no atoms"):
        from_ase([])
    odd = molecule("H2O")
    odd.numbers[1] = 0
    with pytest.raises(ValueError, match=r"atom 1 .* atomic number 0, an unknown element"):
        from_ase(odd)
    broken = [image.copy() for image in run]
    broken[3].positions[5, 1] = np.nan
    with pytest.raises(ValueError, match=r"x is not finite at node 5, frame 3"):
        from_ase(broken, unwrap=False)
    with pytest.raises(ValueError, match=r"x is not finite at node 5, frame 3"):
        from_ase(broken)
    swollen = [image.copy() for image in run]
    swollen[2].set_cell(run[0].cell * 1.1)
    with pytest.raises(ValueError, match=r"cell changes .* frame 2"):
        from_ase(swollen)
    write(tmp_path / "a.extxyz", run)
    text = (tmp_path / "a.extxyz").read_text()
    (tmp_path / "b.extxyz").write_text(text.replace("Cu ", "Qq ", 1))
    with pytest.raises(ValueError, match="unknown element or field 'Qq'"):
        read(tmp_path / "b.extxyz")


def test_truncated_files_are_refused(run, tmp_path):
    write(tmp_path / "a.extxyz", run)
    text = (tmp_path / "a.extxyz").read_text()
    lines = text.splitlines(keepends=True)
    (tmp_path / "b.extxyz").write_text("".join(lines[:-3]))
    with pytest.raises(ValueError, match="cut short: frame 5 announces 8 atoms, but the file ends after 5"):
        read(tmp_path / "b.extxyz")
    (tmp_path / "c.extxyz").write_text(text[:-40])
    with pytest.raises(ValueError, match="may be cut short"):
        read(tmp_path / "c.extxyz")
    write(tmp_path / "a.traj", run)
    whole = (tmp_path / "a.traj").read_bytes()
    for cut in (len(whole) // 2, 40, 3):
        (tmp_path / "b.traj").write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"cut short|of no format"):
            read(tmp_path / "b.traj", spacing=2.0)


def test_to_ase_refuses(run):
    t = from_ase(run)
    with pytest.raises(ValueError, match="angstrom and fs"):
        to_ase(t.replace(units=Units.si()))
    with pytest.raises(ValueError, match="not all atomic numbers"):
        to_ase(t.replace(kind=t.kind * 0))
    mask = t.mask.clone()
    mask[2, 3] = False
    with pytest.raises(ValueError, match="atom 2 was not observed at frame 3"):
        to_ase(t.replace(mask=mask))
    assert len(to_ase(t.replace(mask=mask), frames=slice(0, 3))) == 3


def test_reference_files(reference):
    folder = reference / "md" / "trajcast_tests"
    pairs = read(folder / "aspirin_energy.extxyz")
    assert (pairs.n_scenes, pairs.n_frames, pairs.spacing) == (10, 2, 1.0)
    assert pairs.context["run"].tolist() == [0] * 10
    with pytest.raises(ValueError, match=r"move by 0\.\d+ times .* the frames are 0\.(1|09\d*|10\d*) fs apart and not the declared 1"):
        read(folder / "benzene_validation_traj.extxyz")
    peptide = read(folder / "md22_Ac-Ala3-NHMe_disp_100frames.extxyz")
    assert (peptide.n_scenes, peptide.n_nodes, peptide.spacing) == (98, 98 * 42, 2.0)
    with pytest.raises(ValueError, match="no velocities"):
        _ = peptide.velocity
    with pytest.raises(ValueError, match=r"coords has shape \(10, 12, 3\), but there are 10 atomic numbers"):
        read(folder / "rmd17_benzene_10frames.npz")
    benzene = read(folder / "rmd17_benzene_10frames.npz", numbers=[6] * 6 + [1] * 6)
    assert (benzene.n_scenes, benzene.n_frames) == (10, 1)
    molecule = read(reference / "md" / "sgdml_geometries" / "uracil_sgdml.xyz")
    assert molecule.kind.tolist() == ase.io.read(reference / "md" / "sgdml_geometries" / "uracil_sgdml.xyz").numbers.tolist()
    assert 50 < data.check_velocities(molecule).temperature < 500


def test_lammps_dump(reference):
    path = reference / "md" / "trajcast_tests" / "benzene_lammps_short.xyz"
    t = read(path, units="real", elements=["C", "H"], timestep=0.1, check=False)
    assert t.kind.tolist() == [6] * 6 + [1] * 6
    assert t.n_frames == 3
    assert t.velocity[0, 0, 0] == pytest.approx(-0.00388752)
    slow = read(path, units="metal", elements={1: "C", 2: "H"}, spacing=1.0, check=False)
    assert slow.velocity[0, 0, 0] == pytest.approx(-0.00388752 / 1000)
    for options, message in (
        ({}, "does not say its units"), ({"units": "reel"}, "did you mean 'real'"), ({"units": "real"}, r"types \[1, 2\] but no elements"),
        ({"units": "real", "elements": ["C"]}, r"types \[2\], for which"),
        ({"units": "real", "elements": ["C", "Hh"]}, "atom 6 .* unknown element: no element 'Hh'"),
        ({"units": "real", "elements": ["C", "H"]}, "no clock; pass spacing= .* timestep="),
    ):
        with pytest.raises(ValueError, match=message):
            read(path, **options)


def dump(style, cell, x, image):
    """One atom in a tilted cell, as LAMMPS writes it."""
    lx, ly, lz, xy, xz, yz = cell[0, 0], cell[1, 1], cell[2, 2], cell[1, 0], cell[2, 0], cell[2, 1]
    low = np.array([min(0, xy, xz, xy + xz), min(0, yz), 0]) + 1.0  # the origin is at (1, 1, 1)
    high = np.array([lx + max(0, xy, xz, xy + xz), ly + max(0, yz), lz]) + 1.0
    inside = x - image @ cell
    scaled = (inside - 1.0) @ np.linalg.inv(cell)
    columns = {"x y z ix iy iz": [*inside, *image], "xs ys zs ix iy iz": [*scaled, *image], "xu yu zu": x,
               "xsu ysu zsu": (x - 1.0) @ np.linalg.inv(cell)}
    box = "\n".join(f"{a:.12g} {b:.12g} {t:.12g}" for a, b, t in zip(low, high, (xy, xz, yz), strict=True))
    numbers = " ".join(f"{v:.12g}" for v in columns[style])
    return f"ITEM: TIMESTEP\n5\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS xy xz yz pp pp ff\n{box}\nITEM: ATOMS id element {style}\n7 Si {numbers}\n"


@pytest.mark.parametrize("style", ["x y z ix iy iz", "xs ys zs ix iy iz", "xu yu zu", "xsu ysu zsu"])
def test_lammps_positions_in_tilted_cells(style, tmp_path):
    cell = np.array([[5.0, 0, 0], [-1.5, 4.0, 0], [0.7, 0.9, 6.0]])
    x, image = np.array([13.0, -2.0, 3.0]), np.array([2, -1, 0])
    (tmp_path / "a.dump").write_text(dump(style, cell, x, image))
    t = read_lammps(tmp_path / "a.dump", units="real")
    assert torch.allclose(t.x[0, 0], torch.as_tensor(x), atol=1e-9)
    assert torch.allclose(t.cell[0], torch.as_tensor(cell))
    assert t.pbc.tolist() == [[True, True, False]]
    assert t.kind.tolist() == [14]
    (tmp_path / "a.dump").write_text(dump(style, cell, x, image)[:-30].rpartition("\n")[0] + "\n")
    with pytest.raises(ValueError, match="cut short or damaged"):
        read_lammps(tmp_path / "a.dump", units="real")


def test_npz(tmp_path, run):
    x = np.stack([image.positions for image in run])
    np.savez(tmp_path / "a.npz", nuclear_charges=run[0].numbers, coords=x)
    t = read(tmp_path / "a.npz")
    assert (t.n_scenes, t.n_frames) == (6, 1)
    assert read_npz(tmp_path / "a.npz", spacing=2.0, frames=slice(0, 3)).x.shape == (8, 3, 3)
    np.savez(tmp_path / "b.npz", a=x)
    with pytest.raises(ValueError, match=r"holds the arrays \['a'\]"):
        read(tmp_path / "b.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "c.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="may be cut short"):
        read(tmp_path / "c.npz")


def test_read_picks_by_content(run, tmp_path):
    t = from_ase(run)
    save(t, tmp_path / "folder")
    save(t, tmp_path / "file.zip")
    assert checksum(read(tmp_path / "folder")) == checksum(read(tmp_path / "file.zip")) == checksum(t)
    assert read(tmp_path / "folder", frames=slice(0, 2)).n_frames == 2
    (tmp_path / "file.zip").rename(tmp_path / "odd.name")
    assert kind_of_file(tmp_path / "odd.name") == "zarr store"
    with pytest.raises(TypeError, match=r"read as zarr store, which has no option 'frame'; did you mean 'frames'"):
        read(tmp_path / "folder", frame=1)
    write(tmp_path / "a.extxyz", run)
    with pytest.raises(TypeError, match=r"read as ASE file, which has no option 'spaceing'; did you mean 'spacing'"):
        read(tmp_path / "a.extxyz", spaceing=1)
    (tmp_path / "empty.xyz").touch()
    (tmp_path / "nothing").mkdir()
    (tmp_path / "a.foo").write_text("hello\n")
    for name, error, message in (("none.xyz", FileNotFoundError, "no file"), ("empty.xyz", ValueError, "is empty"),
                                 ("nothing", ValueError, "without a zarr store"), ("a.foo", ValueError, "no format that ASE knows")):
        with pytest.raises(error, match=message):
            read(tmp_path / name)


def test_names_of_the_room():
    for name, target in data.TABLE.items():
        assert getattr(data, name).__name__ == target.partition(":")[2]
    with pytest.raises(AttributeError, match="did you mean 'unwrap'"):
        _ = data.unwarp
    assert issubclass(Trajectories, object)
    assert read_ase is not None

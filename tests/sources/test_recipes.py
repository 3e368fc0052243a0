"""Names, cards, and the call from a name to trajectories."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from trajlab.catalog import load
from trajlab.sources import POTENTIALS, TABLE
from trajlab.sources.cards import SGDML_FILES, Card, sgdml_card
from trajlab.sources.recipes import MDRecipe
from trajlab.sources.simulate import build, find, simulate, simulate_long


def test_tables_are_light_and_complete():
    subprocess.run([sys.executable, "-c", "import sys, trajlab.sources; assert 'torch' not in sys.modules"], check=True)
    for name, target in TABLE.items():
        recipe = load(target)
        assert isinstance(recipe, MDRecipe)
        assert recipe.potential in POTENTIALS
        assert find(name) == recipe
    for target in POTENTIALS.values():
        assert callable(load(target))


def test_names():
    assert find("xtb:methanol").system == "methanol"
    with pytest.raises(ValueError, match="did you mean 'uracil'"):
        find("uracyl")
    with pytest.raises(ValueError, match="no reference system 'copper:big'"):
        find("copper:big")
    with pytest.raises(ValueError, match="no reference potential"):
        build(MDRecipe("copper", "eam"))


def test_metals_by_name():
    pairs = simulate("aluminium", pairs=2, replicas=2, equilibrate=4, decorrelate=4, quiet=True)
    assert pairs.x.shape == (216, 2, 3)
    assert pairs.pbc.all()
    assert pairs.spacing == 30.0
    assert pairs.source["potential"] == "EMT"
    long = simulate_long("copper", 60.0, replicas=2, equilibrate=4, quiet=True)
    assert (long.n_scenes, long.n_frames) == (2, 3)


def test_quartz_by_name():
    pairs = simulate("quartz", pairs=1, replicas=1, equilibrate=2, decorrelate=2, quiet=True)
    assert (pairs.n_nodes, pairs.spacing) == (243, 20.0)
    assert float(pairs.cell[0, 0].norm()) == pytest.approx(3 * 5.046, abs=0.005)


@pytest.mark.parametrize("name", ["uracil", "ethanol"])
def test_molecules_by_name(reference, name):
    pairs = simulate(name, folder=reference / "md/sgdml_models", pairs=3, replicas=3, equilibrate=10, decorrelate=5, quiet=True)
    assert pairs.n_scenes == 3
    assert pairs.source["potential"] == "sGDML"
    assert pairs.mass[pairs.kind == 1].unique().tolist() == pytest.approx([1.008])


@pytest.mark.parametrize("name", SGDML_FILES)
def test_cards_know_their_files(reference, name):
    card = sgdml_card(name)
    path = card.fetch(reference / "md/sgdml_models")
    assert path.stat().st_size == card.size
    assert card.url.startswith("https://raw.githubusercontent.com/")
    assert "MIT" in card.licence


def test_damaged_files(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"12345")
    card = Card("a.bin", "test", "CC0-1.0", "none", 5, "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5")
    assert card.fetch(tmp_path) == tmp_path / "a.bin"
    card.save(tmp_path / "a.json")
    assert Card.load(tmp_path / "a.json") == card
    (tmp_path / "a.bin").write_bytes(b"1234")
    with pytest.raises(ValueError, match="4 bytes instead of 5"):
        card.fetch(tmp_path)
    (tmp_path / "a.bin").write_bytes(b"12346")
    with pytest.raises(ValueError, match="its sha256 is"):
        card.fetch(tmp_path)
    with pytest.raises(FileNotFoundError, match="not in"):
        card.fetch(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="cannot be downloaded"):
        card.fetch()
    with pytest.raises(ValueError, match="did you mean 'aspirin'"):
        sgdml_card("aspirine")


def test_download_goes_through_the_checksum(tmp_path, monkeypatch):
    """A download is a local copy here: the address is the only thing that differs."""
    import pooch

    (tmp_path / "source").mkdir()
    (tmp_path / "source/a.bin").write_bytes(b"12345")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)

    def copy(url, output_file, *_, **__):
        shutil.copy(tmp_path / "source" / url.rpartition("/")[2], output_file)

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda *_, **__: copy)
    card = Card("a.bin", "test", "CC0-1.0", "none", 5, "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5", url="https://x.invalid/a.bin")
    assert card.fetch().read_bytes() == b"12345"
    (tmp_path / "source/a.bin").write_bytes(b"other")
    (tmp_path / "cache/trajlab/a.bin").unlink()
    with pytest.raises(ValueError, match="hash"):
        card.fetch()


def test_no_network(monkeypatch):
    import pooch

    def fails(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", fails)
    with pytest.raises(ConnectionError, match=r"could not be downloaded .* pass folder="):
        sgdml_card("uracil").fetch()


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "tblite.interface", None)
    with pytest.raises(ImportError, match=r"pip install 'trajlab\[md\]'"):
        simulate("xtb:water", pairs=1)


def test_sample():
    from trajlab.sources import sample

    if not (sample.FOLDER / f"{sample.PAIRS}.json").is_file():
        pytest.skip("the package was installed without its repository")
    found = sample.sample()
    runs = [set(part.context["run"].tolist()) for part in (found.train, found.validation, found.test)]
    assert len(set.union(*runs)) == sum(map(len, runs))
    assert found.train.n_scenes == 3200
    assert found.reference.n_scenes == sample.JUDGES
    assert found.train.spacing == found.reference.spacing == 7.0
    assert sum(f.stat().st_size for f in sample.FOLDER.iterdir()) < 2_000_000


def test_sample_that_is_missing_or_damaged(tmp_path):
    from trajlab.sources import sample

    with pytest.raises(FileNotFoundError, match=r"python -m trajlab\.sources\.sample"):
        sample.sample(tmp_path)
    (tmp_path / "ethanol_pairs.zarr.zip").write_bytes(b"half")
    Card("ethanol_pairs.zarr.zip", "", "", "", 9, "00").save(tmp_path / "ethanol_pairs.json")
    with pytest.raises(ValueError, match="4 bytes instead of 9"):
        sample.sample(tmp_path)


def test_compact_keeps_what_matters():
    from trajlab.sources.sample import STEP_V, STEP_X, compact

    pairs = simulate("copper", pairs=1, replicas=1, equilibrate=2, decorrelate=2, quiet=True)
    small = compact(replace(pairs))
    assert small.x.dtype == torch.float32
    assert float((small.x - pairs.x).abs().max()) <= 0.51 * STEP_X
    assert float((small.velocity - pairs.velocity).abs().max()) <= 0.51 * STEP_V

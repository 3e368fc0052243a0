"""The original annotation of ETH and Hotel."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.data.adapters.eth_ucy import read_eth_ucy
from trajlab.data.adapters.obsmat import read_obsmat
from trajlab.sources.pedestrians import WindowRule, pedestrian_windows


def rows(frames, person=1, z=0.0):
    return "".join(f"{f:.7e} {person:.7e} {0.1 * f:.7e} {z:.7e} {2.0:.7e} {1.5:.7e} {0.0:.7e} {-0.5:.7e}\n" for f in frames)


def written(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(("gap", "rate"), [(6, 15), (10, 25)])
def test_the_clock_of_the_video(tmp_path, gap, rate):
    read = read_obsmat(written(tmp_path / "o.txt", rows(range(gap * 2, gap * 8, gap)) + rows(range(gap * 4, gap * 6, gap), 2)))
    np.testing.assert_allclose(read.time[0].diff(), gap / rate)
    np.testing.assert_allclose(read.time[0, 0], 2 * gap / rate)
    np.testing.assert_allclose(read.x[0], np.stack([0.1 * gap * np.arange(2, 8), np.full(6, 2.0)], 1))
    np.testing.assert_allclose(read.velocity[read.mask], [[1.5, -0.5]] * 8)
    assert read.mask.sum(1).tolist() == [6, 2]
    assert read.static["id"].tolist() == [1, 2]


def test_missing_frames_are_there_and_masked(tmp_path):
    read = read_obsmat(written(tmp_path / "o.txt", rows([6, 12, 18, 36, 42])))
    assert read.mask.tolist() == [[True, True, True, False, False, True, True]]


def test_groups(tmp_path):
    path = written(tmp_path / "o.txt", rows([6, 12]) + rows([6, 12], 2) + rows([6, 12], 5))
    read = read_obsmat(path, groups=written(tmp_path / "g.txt", " 7 8\n\n 5 1\n"))
    assert read.static["group"].tolist() == [1, -1, 1]


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (rows([6]) + "12 1 3.0 2.0\n", {}, "line 2 of .* 4 columns"),
        (rows([6]) + "12 1 a 0 0 0 0 0\n", {}, "line 2 of"),
        (rows([7, 14, 21]), {}, "every 7 frames.*rate="),
        (rows([6, 12]), {"rate": 0.0}, "positive"),
        (rows([6, 12, 12]), {}, "1 pedestrians are seen twice"),
        (rows([6, 12]) + rows([18]).replace("1.5000000e+00", "nan"), {}, "1 rows are not finite"),
        ("\n", {}, "no sightings"),
    ],
)
def test_a_damaged_annotation_is_refused(tmp_path, text, options, said):
    with pytest.raises(ValueError, match=said):
        read_obsmat(written(tmp_path / "o.txt", text), **options)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_obsmat(tmp_path / "o.txt")
    with pytest.raises(FileNotFoundError):
        read_obsmat(written(tmp_path / "o.txt", rows([6, 12])), groups=tmp_path / "g.txt")


def test_the_reference_annotation_has_the_published_windows(reference):
    """Of the two-pedestrian rule; constant velocity 0.679/1.348 m."""
    folder = reference / "traffic" / "eth_ucy" / "obsmat"
    read = read_obsmat(folder / "eth_obsmat.txt", groups=folder / "eth_groups.txt")
    plain = read_eth_ucy(folder / "eth_obsmat.txt")
    np.testing.assert_allclose(read.x, plain.x)
    np.testing.assert_allclose(read.time, plain.time)
    windows = pedestrian_windows(read, WindowRule(least=2))
    assert (windows.n_scenes, windows.n_nodes) == (603, 2313)
    step = windows.x[:, 7:8] - windows.x[:, 6:7]
    error = (windows.x[:, 7:8] + step * np.arange(1, 13)[None, :, None] - windows.x[:, 8:]).norm(dim=-1)
    assert float(error.mean()) == pytest.approx(0.679, abs=0.002)
    assert float(error[:, -1].mean()) == pytest.approx(1.348, abs=0.002)
    assert int((read.static["group"] >= 0).sum()) > 100


def test_annotated_velocities_are_central_differences(reference):
    for name, spacing in (("eth", 0.4), ("hotel", 0.4)):
        read = read_obsmat(reference / "traffic" / "eth_ucy" / "obsmat" / f"{name}_obsmat.txt")
        central = (read.x[:, 2:] - read.x[:, :-2]) / (2 * spacing)
        seen = read.mask[:, 2:] & read.mask[:, 1:-1] & read.mask[:, :-2]
        assert (central - read.velocity[:, 1:-1])[seen].norm(dim=-1).median() < 1e-3

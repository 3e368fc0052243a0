"""ETH/UCY pedestrians: the published counts, the split, late entrants, and the stretched clock."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from trajlab.data.adapters.eth_ucy import recording, resampled
from trajlab.sources.pedestrian_cards import FILES, card
from trajlab.sources.pedestrians import RECORDINGS, SCENES, WindowRule, eth_ucy, focal, pedestrian_windows, read_eth_ucy


@pytest.fixture(scope="module")
def folder(reference):
    return reference / "traffic/eth_ucy"


def constant_velocity(x):
    """ADE and FDE of the last step continued, 8 given frames of ``[node time 2]``."""
    error = (x[:, 7:8] + (x[:, 7:8] - x[:, 6:7]) * torch.arange(1, 13)[:, None] - x[:, 8:]).norm(dim=-1)
    return float(error.mean()), float(error[:, -1].mean())


def write(path, rows):
    path.write_text("".join(f"{f}\t{i}\t{x}\t{y}\n" for f, i, x, y in rows))
    return path


def walkers(spans, speed=1.3, step=10):
    """Rows of pedestrians who walk along x, each from one frame to another (counted in steps, last excluded)."""
    return [(step * k, i, 0.4 * speed * k, 2.0 * i) for i, (first, end) in enumerate(spans, 1) for k in range(first, end)]


@pytest.mark.parametrize(("scene", "one", "two", "cv_one", "cv_two"), [
    ("eth", (253, 364), (70, 181), (1.075, 2.282), (0.995, 2.234)),
    ("hotel", (445, 1197), (301, 1053), (0.319, 0.614), (0.323, 0.617)),
    ("univ", (947, 24334), (947, 24334), (0.524, 1.165), (0.524, 1.165)),
    ("zara1", (705, 2356), (602, 2253), (0.427, 0.952), (0.431, 0.960)),
    ("zara2", (998, 5910), (921, 5833), (0.324, 0.724), (0.326, 0.728)),
    ("eth_native", (904, 2614), (603, 2313), (0.678, 1.344), (0.679, 1.348)),
])
def test_published_counts_and_errors(folder, scene, one, two, cv_one, cv_two):
    files = [read_eth_ucy(card(name).path(folder), stretched="keep") for name in SCENES[scene]]
    for least, counts, cv in ((1, one, cv_one), (2, two, cv_two)):
        parts = [pedestrian_windows(f, WindowRule(least=least)) for f in files]
        assert (sum(p.n_scenes for p in parts), sum(p.n_nodes for p in parts)) == counts
        assert constant_velocity(torch.cat([p.x for p in parts])) == pytest.approx(cv, abs=6e-4)
        for p in parts:
            assert p.spacing == pytest.approx(0.4)  # no window leads across a gap


def test_split_is_the_published_one(folder):
    train, validation, test = eth_ucy(folder, "zara1", stretched="keep")
    assert (train.n_nodes, validation.n_nodes, test.n_nodes) == (28577, 5184, 2356)
    runs = [set(part.context["run"].tolist()) for part in (train, validation, test)]
    assert runs == [{0, 1, 3, 4, 5, 6, 7}, {0, 1, 3, 4, 5, 6, 7}, {2}]
    for run, begin in RECORDINGS.values():
        if run != 2:
            assert float(train.time[train.context["run"] == run].max()) < begin * 0.04 - 1e-6
            assert float(validation.time[validation.context["run"] == run].min()) > begin * 0.04 - 1e-6
    assert (str(train.units), train.n_frames, train.dim) == ("m, s, 1, 1", 20, 2)
    assert test.source["files"][0]["file"] == "crowds_zara01.txt"


def test_univ_is_two_recordings_and_keeps_the_third_of_the_place_in_training(folder):
    train, _, test = eth_ucy(folder, "univ", stretched="keep", hop=7)
    assert set(test.context["run"].tolist()) == {5, 6}
    assert 7 in train.context["run"]
    assert not {5, 6} & set(train.context["run"].tolist())
    assert len(torch.unique(test.context["block"][test.context["run"] == 5])) >= 8


def test_native_eth_keeps_the_stretched_file_out_of_training(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train, _, test = eth_ucy(folder, "eth_native", hop=5)
    assert 0 not in train.context["run"]
    assert set(test.context["run"].tolist()) == {0}


def test_stretched_file_is_known_by_its_speed(folder, tmp_path):
    with pytest.warns(UserWarning, match="stretched in time by 10/6"):
        eth = read_eth_ucy(folder / "biwi_eth.txt")
    assert eth.source["stretched"]
    assert not eth.source["corrected"]
    late = tmp_path / "some.txt"  # a part under another name
    late.write_text("".join(line + "\n" for line in (folder / "biwi_eth.txt").read_text().splitlines() if float(line.split()[0]) > 10230))
    with pytest.warns(UserWarning, match="stretched"):
        read_eth_ucy(late)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_eth_ucy(folder / "biwi_eth.txt", stretched="keep").source["stretched"]
        for name in set(RECORDINGS) - {"biwi_eth"}:
            assert not read_eth_ucy(folder / f"{name}.txt").source["stretched"]
        read_eth_ucy(folder / "obsmat/eth_obsmat.txt")


def test_corrected_clock_is_that_of_the_annotation(folder):
    """The annotation has every sixth frame of 15 a second; the corrected file must have the same clock and the same people in the same places."""
    native, mine = read_eth_ucy(folder / "obsmat/eth_obsmat.txt"), read_eth_ucy(folder / "biwi_eth.txt", stretched="correct")
    assert mine.source["corrected"]
    assert mine.spacing == pytest.approx(0.4)
    assert float(mine.time[0, 0]) == pytest.approx(780 / 15)
    where = {round(15 * t): k for k, t in enumerate(native.time[0].tolist())}
    columns = [(k, where[round(15 * t)]) for k, t in enumerate(mine.time[0].tolist()) if round(15 * t) in where]
    k, j = torch.tensor(columns).T
    node = {i: n for n, i in enumerate(native.static["id"].tolist())}
    same = torch.tensor([node[i] for i in mine.static["id"].tolist()])
    both = mine.mask[:, k] & native.mask[same][:, j]
    off = (mine.x[:, k] - native.x[same][:, j]).norm(dim=-1)[both]
    assert len(off) > 1000  # the annotation changes its phase at gaps
    assert float(off.median()) < 0.03
    windows = pedestrian_windows(mine, WindowRule(least=2))
    assert windows.n_scenes == pytest.approx(603, rel=0.1)
    assert windows.n_nodes == pytest.approx(2313, rel=0.1)
    step = mine.x.diff(dim=1).norm(dim=-1)[mine.mask[:, 1:] & mine.mask[:, :-1]] / 0.4
    assert float(step[step > 0.5].median()) == pytest.approx(1.5, abs=0.1)


def test_correcting_leaves_the_others_alone_and_moves_the_split(folder):
    train, validation, _ = eth_ucy(folder, "zara1", stretched="correct", hop=4)
    assert float(train.time[train.context["run"] == 0].max()) < 10240 / 15
    assert float(validation.time[validation.context["run"] == 0].min()) > 10240 / 15 - 1e-6
    assert float(train.time[train.context["run"] == 1].max()) < 14400 * 0.04


def test_splines_between_frames():
    rows = np.array([(10.0 * k, 1.0, (0.1 * k) ** 3, 1 - 0.2 * k) for k in range(8)])
    fine = resampled(rows, 10.0, 6.0)
    np.testing.assert_allclose(fine[:, 0], np.arange(0, 71, 6))
    np.testing.assert_allclose(fine[:, 2], (0.01 * fine[:, 0]) ** 3, atol=1e-12)  # a cubic is its own spline
    gap = np.concatenate([rows[:3], rows[5:]])
    assert not ((resampled(gap, 10.0, 6.0)[:, 0] > 20) & (resampled(gap, 10.0, 6.0)[:, 0] < 50)).any()


def test_gaps_are_masked_and_no_window_crosses_them(tmp_path):
    rows = [r for r in walkers([(0, 60)]) if not 250 <= r[0] < 300]  # frames 25 to 29 are missing in the file
    whole = read_eth_ucy(write(tmp_path / "a.txt", rows))
    assert whole.n_frames == 60
    assert whole.spacing == pytest.approx(0.4)
    assert whole.mask[0].tolist() == [not 25 <= k < 30 for k in range(60)]
    windows = pedestrian_windows(whole)
    assert windows.time[:, 0].div(0.4).round().tolist() == [*range(0, 6), *range(30, 41)]


def test_late_entrants_are_dropped_and_counted_or_masked(tmp_path):
    spans = [(0, 20), (5, 20), (0, 12), (9, 15), (12, 20), (2, 6)]
    whole = read_eth_ucy(write(tmp_path / "a.txt", walkers(spans)))
    complete = pedestrian_windows(whole)
    assert (complete.n_scenes, complete.static["id"].tolist()) == (1, [1])
    assert complete.source["left_out"] == {"entered late": 2, "left early": 1, "entered late and left early": 2, "interrupted": 0}
    present = pedestrian_windows(whole, WindowRule(agents="present"))
    assert present.static["id"].tolist() == [1, 2, 3]  # there in the eighth frame
    assert present.mask[1].tolist() == [k >= 5 for k in range(20)]
    assert present.mask[2].tolist() == [k < 12 for k in range(20)]
    assert present.source["masked"] == {"entered late": 1, "left early": 1, "entered late and left early": 0, "interrupted": 0}
    assert present.source["left_out"] == {"entered late": 1, "left early": 0, "entered late and left early": 2, "interrupted": 0}
    with pytest.raises(ValueError, match="with 2 pedestrians fits"):
        pedestrian_windows(whole, WindowRule(least=2))


def test_windows_keep_values_and_clock(tmp_path):
    whole = read_eth_ucy(write(tmp_path / "a.txt", walkers([(0, 25), (2, 24)])))
    windows = pedestrian_windows(whole)
    assert windows.sizes.tolist() == [1, 1, 2, 2, 2, 1]
    for scene in range(6):
        one = windows.scenes([scene])
        torch.testing.assert_close(one.time[0], 0.4 * torch.arange(scene, scene + 20, dtype=torch.float64))
        torch.testing.assert_close(one.x[:, :, 0], (1.3 * one.time).expand(len(one.x), -1))
        torch.testing.assert_close(one.x[:, 0, 1], 2.0 * one.static["id"].double())
    assert windows.context["block"].tolist() == [0] * 6
    blocks = pedestrian_windows(whole, WindowRule(block=0.8)).context["block"]
    assert blocks.tolist() == [0, 0, 1, 1, 2, 2]


def test_focal_scenes(tmp_path):
    at = {1: 0.0, 2: 3.0, 3: 4.0, 4: 30.0}
    rows = [(10 * k, i, x, 0.1 * k) for i, x in at.items() for k in range(20)]
    windows = pedestrian_windows(read_eth_ucy(write(tmp_path / "a.txt", rows)))
    scenes = focal(windows, most=3)
    groups = [scenes.static["id"][scenes.scene == s].tolist() for s in range(4)]
    assert groups == [[1, 2, 3], [2, 3, 1], [3, 2, 1], [4]]
    assert scenes.static["focal"].tolist() == [True, False, False, True, False, False, True, False, False, True]
    torch.testing.assert_close(scenes.x[3], windows.x[1])
    assert focal(windows, most=1).sizes.tolist() == [1, 1, 1, 1]
    assert focal(windows, most=9, radius=3.5).static["id"].tolist() == [1, 2, 2, 3, 1, 3, 2, 4]
    with pytest.raises(ValueError, match="given=21"):
        focal(windows, given=21)


def test_focal_scenes_of_the_protocol(folder):
    test = pedestrian_windows(read_eth_ucy(folder / "crowds_zara01.txt"))
    scenes = focal(test, most=3)
    assert scenes.n_scenes == 2356
    assert int(scenes.sizes.max()) == 3
    first = scenes.ptr[:-1]
    torch.testing.assert_close(scenes.x[first], test.x)


def test_cards(folder, tmp_path):
    assert set(FILES) == {*RECORDINGS, "eth_obsmat"}
    for name in FILES:
        path = card(name).path(folder)
        card(name).check(path)
        assert path.stat().st_size == card(name).size
    assert card("students003").licence != card("biwi_eth").licence
    (tmp_path / "crowds_zara01.txt").write_text((folder / "crowds_zara01.txt").read_text() + "9020\t500\t1\t1\n")
    for name in ("biwi_eth", "biwi_hotel"):
        (tmp_path / f"{name}.txt").write_text((folder / f"{name}.txt").read_text())
    with pytest.warns(UserWarning, match="not the customary file"), pytest.raises(FileNotFoundError, match="crowds_zara02"):
        eth_ucy(tmp_path, "univ", stretched="keep")


@pytest.mark.parametrize(("text", "words"), [
    ("", "holds no sightings"),
    ("0 1 2.0\n", "line 1 of"),
    ("0 1 2.0 3.0\n10 1 ? ?\n", "line 2 of"),
    ("0 1 2.0 nan\n", "all finite|four finite"),
    ("0 1 2 3\n0 1 2 4\n", "pedestrian 1 is seen twice in frame 0"),
])
def test_damaged_files(tmp_path, text, words):
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_eth_ucy(path)


def test_bad_input(folder, tmp_path):
    with pytest.raises(ValueError, match="did you mean 'univ'"):
        eth_ucy(folder, "uni")
    with pytest.raises(ValueError, match="did you mean 'correct'"):
        read_eth_ucy(folder / "biwi_eth.txt", stretched="corect")
    with pytest.raises(FileNotFoundError, match="no file"):
        read_eth_ucy(tmp_path / "none.txt")
    with pytest.raises(FileNotFoundError, match=r"biwi_eth\.txt is not in"):
        eth_ucy(tmp_path, "zara1")
    with pytest.raises(ValueError, match="given=0"):
        WindowRule(given=0)
    with pytest.raises(ValueError, match="did you mean 'present'"):
        WindowRule(agents="presnt")
    short = read_eth_ucy(write(tmp_path / "a.txt", walkers([(0, 12)])))
    with pytest.raises(ValueError, match="its longest track 12"):
        pedestrian_windows(short)
    with pytest.raises(ValueError, match="one recording, got 2 scenes"):
        pedestrian_windows(pedestrian_windows(short, WindowRule(given=4, predicted=7)))


def test_rows_in_any_order():
    rows = np.array(walkers([(0, 5), (1, 4)]), dtype=float)
    one = recording(rows, 10.0, 0.04, {})
    assert one.mask.sum(1).tolist() == [5, 3]
    torch.testing.assert_close(one.time[0], 0.4 * torch.arange(5, dtype=torch.float64))

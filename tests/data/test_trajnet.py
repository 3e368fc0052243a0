"""TrajNet++ files: scenes, recordings, predictions, and the way back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from trajlab.data.adapters.trajnet import GIVEN, PREDICTED, read_trajnet
from trajlab.data.adapters.trajnet_answers import read_trajnet_answers, write_trajnet, write_trajnet_answers
from trajlab.types import Forecast


def lines(*entries):
    return "\n".join(json.dumps(e) for e in entries) + "\n"


def scene(number, primary, first, last, **more):
    return {"scene": {"id": number, "p": primary, "s": first, "e": last, "fps": 2.5, "tag": [1, []], **more}}


def walk(person, frames, y=0.0):
    return [{"track": {"f": f, "p": person, "x": round(0.05 * f, 2), "y": y}} for f in frames]


ALL = range(100, 310, 10)


def file(tmp_path, *more):
    """Three pedestrians; 5 leaves early, 9 is there in the second scene only."""
    path = tmp_path / "a.ndjson"
    path.write_text(lines(scene(7, 5, 100, 150), scene(8, 2, 100, 300), *walk(2, ALL), *walk(5, range(100, 160, 10), 3.0),
                          *walk(9, range(250, 310, 10), 6.0), *more))
    return path


def test_scenes_have_their_primary_first(tmp_path):
    read = read_trajnet(file(tmp_path))
    assert (read.n_scenes, read.n_frames, read.sizes.tolist()) == (2, 21, [2, 3])
    assert read.static["id"].tolist() == [5, 2, 2, 5, 9]
    assert read.static["focal"].tolist() == [True, False, True, False, False]
    assert read.context["number"].tolist() == [7, 8]
    assert read.mask.sum(1).tolist() == [6, 6, 21, 6, 6]
    assert read.mask[4].nonzero().flatten().tolist() == list(range(15, 21))
    np.testing.assert_allclose(read.time[1], (np.arange(100, 310, 10)) / 25)
    np.testing.assert_allclose(read.x[2, :, 0], 0.05 * np.arange(100, 310, 10))
    assert GIVEN + PREDICTED == 21
    assert read.source["tags"] == [[1, []]] * 2


def test_the_whole_recording(tmp_path):
    read = read_trajnet(file(tmp_path), cut="recording")
    assert (read.n_scenes, read.n_nodes, read.n_frames, read.spacing) == (1, 3, 21, pytest.approx(0.4))
    assert read.static["id"].tolist() == [2, 5, 9]


def test_scenes_go_to_a_file_and_back(tmp_path):
    read = read_trajnet(file(tmp_path))
    back = read_trajnet(write_trajnet(tmp_path / "b.ndjson", read))
    for name in ("x", "time", "scene", "mask"):
        assert torch.equal(getattr(back, name), getattr(read, name)), name
    assert back.static["id"].tolist() == read.static["id"].tolist()
    assert back.source["tags"] == read.source["tags"]


def test_predictions_go_to_a_file_and_back(tmp_path):
    past = read_trajnet(file(tmp_path)).scenes([1]).frames(slice(GIVEN))
    draws = torch.randn(3, past.n_nodes, PREDICTED, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(3, past.n_nodes, PREDICTED, dtype=torch.bool)
    mask[:, 2] = False
    forecast = Forecast(draws, past, past.time[:, -1:] + 0.4 * torch.arange(1, PREDICTED + 1), mask)
    path = write_trajnet_answers(tmp_path / "p.ndjson", forecast)
    first = json.loads(path.read_text().splitlines()[0])["scene"]
    assert (first["id"], first["p"], first["s"], first["e"], first["fps"]) == (8, 2, 100, 300, 2.5)
    back = read_trajnet_answers(path, past)
    assert torch.equal(back.mask, mask)
    np.testing.assert_allclose(back.draws[mask], draws[mask], atol=5.1e-4)
    np.testing.assert_allclose(back.time, forecast.time)


def test_predictions_that_do_not_fit(tmp_path):
    past = read_trajnet(file(tmp_path)).frames(slice(GIVEN))
    with pytest.raises(ValueError, match="no predictions"):
        read_trajnet_answers(tmp_path / "a.ndjson", past)
    for person, frame, said in ((2, 150, "that frame already"), (4, 190, "no such pedestrian"), (2, 195, "no such frame")):
        path = tmp_path / "p.ndjson"
        path.write_text(lines({"track": {"f": frame, "p": person, "x": 0, "y": 0, "prediction_number": 0, "scene_id": 8}}))
        with pytest.raises(ValueError, match=said):
            read_trajnet_answers(path, past)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"track": {"f": 1, "p": 2, "x": 3}}', "line 36 of .*'y'"),
        ('{"trakc": {}}', "line 36 of .*track"),
        ("{cut", "line 36 of .*JSONDecodeError"),
        (json.dumps(scene(9, 77, 100, 300)), "primary 77 of scene 9"),
        (json.dumps(scene(9, 2, 105, 300)), "no multiple of 10"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, line, said):
    path = file(tmp_path)
    assert len(path.read_text().splitlines()) == 35
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=said):
        read_trajnet(path)


def test_what_is_no_recording(tmp_path):
    (tmp_path / "p.ndjson").write_text(lines(*walk(2, ALL)))
    with pytest.raises(ValueError, match="marks no scenes"):
        read_trajnet(tmp_path / "p.ndjson")
    with pytest.raises(ValueError, match="cut"):
        read_trajnet(tmp_path / "p.ndjson", cut="scene")
    with pytest.raises(FileNotFoundError):
        read_trajnet(tmp_path / "q.ndjson")
    (tmp_path / "q.ndjson").write_text(lines(scene(0, 1, 0, 10)))
    with pytest.raises(ValueError, match="no tracks"):
        read_trajnet(tmp_path / "q.ndjson")


def test_scenes_of_several_recordings_are_not_one_file(tmp_path):
    read = read_trajnet(file(tmp_path))
    with pytest.raises(ValueError, match="2 recordings"):
        write_trajnet(tmp_path / "b.ndjson", read.replace(context={"run": torch.tensor([0, 1])}))
    with pytest.raises(ValueError, match="pedestrian 2 is at"):
        write_trajnet(tmp_path / "b.ndjson", read.replace(x=torch.where(read.scene[:, None, None] == 1, read.x + 1, read.x)))


def test_the_reference_files(reference):
    folder = reference / "traffic" / "trajnetpp"
    read = read_trajnet(folder / "Test.ndjson")
    assert (read.n_scenes, read.static["id"].tolist(), read.mask.sum(1).tolist()) == (1, [3, 4], [9, 9])
    forecast = read_trajnet_answers(folder / "Predictions.ndjson", read.frames(slice(GIVEN)))
    assert tuple(forecast.draws.shape) == (2, 2, 12, 2)
    assert bool(forecast.mask.all())
    np.testing.assert_allclose(forecast.draws[0, 0, 0], [0.79, 3.41])

"""The Stanford Drone Dataset, in metres and in pixels."""

from __future__ import annotations

import numpy as np
import pytest

from trajlab.data.adapters.sdd import KINDS, read_sdd, read_sdd_trajnet, sdd_scale

SCALES = "gates:\n   video0:\n      scale: 0.03\n      certainty: 1.0\n   video1:\n      scale: 0.04\n      certainty: 1.0\n"


def written(path, text):
    path.write_text(text)
    return path


def trajnet(person, frames, known=20):
    return "".join(f"{f} {person}.0 " + (f"{0.1 * f:.3f} 2.0\n" if k < known else "? ?\n") for k, f in enumerate(frames))


def test_withheld_places_are_masked_and_their_frames_are_there(tmp_path):
    read = read_sdd_trajnet(written(tmp_path / "t.txt", trajnet(3, range(0, 240, 12), known=8) + trajnet(4, range(12, 60, 12))))
    assert (read.n_frames, read.spacing) == (20, pytest.approx(0.4))
    assert read.mask.sum(1).tolist() == [8, 4]
    assert read.mask[0, :8].all()
    assert read.source["withheld"] == 12
    np.testing.assert_allclose(read.x[0, :8, 0], 0.1 * np.arange(0, 96, 12))


def test_damaged_rows_are_refused(tmp_path):
    for text, said in ((trajnet(1, [0, 12]) + "24 1.0 3.0\n", "line 3 of"), ("0 1.0 ? ?\n", "1 of them withheld"), ("0 ? 1 1\n", "1 without frame")):
        with pytest.raises(ValueError, match=said):
            read_sdd_trajnet(written(tmp_path / "t.txt", text))
    with pytest.raises(FileNotFoundError):
        read_sdd_trajnet(tmp_path / "u.txt")


def boxes(person, frames, label="Biker", lost=()):
    return "".join(f'{person} {f} 40 {f + 20} 60 {f} {int(f in lost)} 0 1 "{label}"\n' for f in frames)


def test_pixels_become_metres_with_y_upwards(tmp_path):
    path = written(tmp_path / "gates_video1_annotations.txt", boxes(0, range(48), lost={36, 37}) + boxes(1, range(12, 40), "Pedestrian"))
    read = read_sdd(path, scale=written(tmp_path / "s.yaml", SCALES))
    assert read.source["scale"] == 0.04
    assert (read.n_frames, read.spacing) == (4, pytest.approx(0.4))
    np.testing.assert_allclose(read.x[0, :3], 0.04 * np.array([[10, -50], [22, -50], [34, -50]]))
    assert read.mask.tolist() == [[True, True, True, False], [False, True, True, True]]
    assert [KINDS[k] for k in read.kind] == ["Biker", "Pedestrian"]
    assert read.source["dropped"]["lost (outside the picture)"] == 1
    assert read.source["dropped"]["rows"] == 76
    np.testing.assert_allclose(read_sdd(path, scale=0.08).x, 2 * read.x)
    assert read_sdd(path, scale=0.04, every=1).n_frames == 48


def test_pixels_are_not_taken_for_metres(tmp_path):
    path = written(tmp_path / "x.txt", boxes(0, range(13)))
    with pytest.raises(ValueError, match="pixels, and no scale"):
        read_sdd(path)
    for scale, said in ((0.0, "between 0 and 1"), (40.0, "between 0 and 1"), (written(tmp_path / "s.yaml", SCALES), "tell scene and video")):
        with pytest.raises(ValueError, match=said):
            read_sdd(path, scale=scale)
    with pytest.raises(ValueError, match="gates_video"):
        sdd_scale(tmp_path / "s.yaml", "gates_video7")
    with pytest.raises(ValueError, match="every=0"):
        read_sdd(path, scale=0.04, every=0)


def test_damaged_boxes_are_refused(tmp_path):
    for text, said in ((boxes(0, [0]) + "0 1 2 3\n", "line 2 of"), (boxes(0, [0, 12], "Tram"), "label"), ("", "no boxes"),
                       (boxes(0, [1, 2]), "no box is left of 2")):
        with pytest.raises(ValueError, match=said):
            read_sdd(written(tmp_path / "x.txt", text), scale=0.04)


def test_the_reference_files(reference):
    folder = reference / "traffic" / "sdd"
    read = read_sdd(folder / "deathCircle_video4_annotations.txt", scale=folder / "estimated_scales.yaml")
    assert (read.n_nodes, read.source["dropped"]["rows"], round(read.source["scale"], 4)) == (56, 29380, 0.039)
    step = (read.x[:, 1:] - read.x[:, :-1]).norm(dim=-1)[read.mask[:, 1:] & read.mask[:, :-1]] / 0.4
    assert 1 < float(step.median()) < 6  # bikers and carts
    test = read_sdd_trajnet(folder / "trajnet_test" / "coupa_0.txt")
    assert test.source["withheld"] == 3876
    assert int(test.mask.sum()) == 2584 == 323 * 8

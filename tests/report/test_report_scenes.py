"""Structures are packed small and exactly enough."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
import pytest

from trajlab.evaluate.results import Scene3D
from trajlab.report.scenes import bonds, pack


def unpack(packed):
    steps = np.frombuffer(base64.b64decode(packed["data"]), "<i2").reshape(packed["n_frames"], -1, 3)
    return steps * packed["scale"]


def test_round_trip_to_a_thousandth(evaluation):
    scene = evaluation.scenes[0]
    back = unpack(pack(scene))
    assert np.abs(back - (scene.frames - scene.frames.mean(1, keepdims=True))).max() < 1e-3


def test_bonds_of_ethanol_and_none_between_metals(evaluation):
    scene = evaluation.scenes[0]
    found = {tuple(b) for b in bonds(scene.numbers, scene.frames[0])}
    assert found == {(0, 1), (1, 2), (2, 3), (1, 4), (1, 5), (0, 6), (0, 7), (0, 8)}
    assert bonds(np.array([29, 29]), np.array([[0.0, 0, 0], [2.5, 0, 0]])) == []


def test_crystal_starts_in_its_cell_and_moves_without_jumps():
    cell = np.diag([4.0, 4.0, 4.0])
    path = np.array([[[3.9, 1, 1]], [[4.1, 1, 1]], [[4.3, 1, 1]]]) + 8.0
    packed = pack(Scene3D("crystal", np.array([29]), path, 30.0, cell))
    back = unpack(packed) + 2.0
    assert back[:, 0, 0] == pytest.approx([3.9, 4.1, 4.3], abs=1e-3)
    assert len(packed["box"]) == 12
    assert packed["bonds"] == []


def test_wanderers_are_wrapped():
    path = np.linspace(0, 20, 50)[:, None, None] * np.ones((1, 1, 3))
    back = unpack(pack(Scene3D("liquid", np.array([18]), path, 1.0, np.diag([4.0, 4.0, 4.0])))) + 2.0
    assert back.min() > -1e-3
    assert back.max() < 4.001


def test_long_scenes_are_thinned_and_say_so(evaluation):
    packed = pack(evaluation.scenes[0], budget=9 * 3 * 2 * 10)
    assert packed["n_frames"] == 10
    assert packed["spacing"] == 28.0
    assert "Every 4. frame" in packed["note"]


def test_what_is_not_finite_ends_the_scene(evaluation):
    frames = evaluation.scenes[0].frames.copy()
    frames[7:] = np.nan
    assert pack(replace(evaluation.scenes[0], frames=frames))["n_frames"] == 7
    frames[0] = np.nan
    with pytest.raises(ValueError, match="not finite in its first frame"):
        pack(replace(evaluation.scenes[0], frames=frames))


@pytest.mark.parametrize(("change", "message"), [({"frames": np.zeros((3, 2, 3))}, "9 atoms"), ({"spacing": 0.0}, "positive")])
def test_malformed_scenes_are_refused(evaluation, change, message):
    with pytest.raises(ValueError, match=message):
        pack(replace(evaluation.scenes[0], **change))


def test_what_flies_apart_is_shown_until_then(evaluation):
    frames = evaluation.scenes[0].frames.copy()
    frames[12:] *= np.exp(np.arange(len(frames) - 12))[:, None, None] * 100
    packed = pack(replace(evaluation.scenes[0], frames=frames))
    assert packed["n_frames"] == 12
    assert packed["scale"] < 1e-3
    assert "fly apart after frame 12" in packed["note"]


def test_one_frame_needs_no_spacing(evaluation):
    assert pack(replace(evaluation.scenes[0], frames=evaluation.scenes[0].frames[:1], spacing=0.0))["n_frames"] == 1

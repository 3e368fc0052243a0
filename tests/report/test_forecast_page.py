"""Windows are packed exactly enough, and play in a browser: truth and draws side by side."""

from __future__ import annotations

import base64
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from trajlab.evaluate.results import DrawnScene, Evaluation, Scene3D
from trajlab.report import report
from trajlab.report.drawn import HIDDEN, pack, player
from trajlab.types import Forecast, Trajectories
from trajlab.units import Units

GIVEN, AHEAD, DRAWS = 4, 8, 3


def window(dim: int, **changes) -> DrawnScene:
    """Two nodes that walk away from each other; draws that bend off."""
    frame = np.arange(GIVEN + AHEAD)[:, None, None]
    path = 10 + np.array([[-1.0] * dim, [1.0] * dim]) * (1 + 0.3 * frame)
    bend = np.zeros((DRAWS, AHEAD, 1, dim))
    bend[..., 0, 0] = 0.1 * np.arange(1, DRAWS + 1)[:, None] * np.arange(1, AHEAD + 1)
    draws = {"model": path[GIVEN:] + bend, "still": path[None, GIVEN - 1 : GIVEN].repeat(AHEAD, 1)}
    settings = {"title": f"{dim}-d", "given": path[:GIVEN], "draws": draws, "time": 0.4 * np.arange(1 - GIVEN, AHEAD + 1),
                "truth": path[GIVEN:], "bonds": np.array([[0, 1]]), "length": "m", "clock": "s"}
    return DrawnScene(**{**settings, **changes})


def molecule() -> DrawnScene:
    return replace(window(3), title="molecule", numbers=np.array([6, 8]), length="angstrom", clock="fs", bonds=np.array([[0, 1]]))


def unpack(packed: dict, text: str, dim: int) -> np.ndarray:
    steps = np.frombuffer(base64.b64decode(text), "<i2").astype(float).reshape(-1, packed["nodes"], dim)
    return np.where(steps == HIDDEN, np.nan, steps * packed["scale"]) + packed["centre"]


@pytest.mark.parametrize("dim", [2, 3])
def test_round_trip_and_what_was_not_seen_stays_unseen(dim):
    scene = window(dim)
    scene.truth[2, 1] = np.nan
    packed = pack(scene)
    assert np.allclose(unpack(packed, packed["truth"], dim), scene.truth, atol=1e-3, equal_nan=True)
    assert np.allclose(unpack(packed, packed["drawn"][0]["data"], dim), scene.draws["model"].reshape(-1, 2, dim), atol=1e-3)
    assert [(d["name"], d["draws"]) for d in packed["drawn"]] == [("model", DRAWS), ("still", 1)]


def test_a_draw_that_flies_away_does_not_coarsen_the_rest():
    scene = window(2)
    scene.draws["still"][0, -1, 0] = 1e9
    packed = pack(scene)
    assert packed["scale"] < 1e-2
    assert np.isnan(unpack(packed, packed["drawn"][1]["data"], 2)[-1, 0]).all()


def test_fewer_draws_where_they_do_not_fit():
    packed = pack(window(3), budget=2 * AHEAD * 2 * 3 * 2 * 2)
    assert packed["drawn"][0]["draws"] == 2
    assert "2 draws are shown" in packed["note"]


def test_atoms_have_colours_and_radii():
    packed = pack(molecule())
    assert packed["colours"] == ["#909090", "#ff0d0d"]
    assert packed["length"] == "Å"
    assert 0.3 < packed["radii"][0] < 0.8


@pytest.mark.parametrize(("change", "message"), [
    ({"given": np.zeros((4, 2, 1))}, "dim 2 or 3"), ({"draws": {}}, "0 methods"), ({"truth": np.zeros((3, 2, 2))}, "must end in"),
    ({"draws": {"a": np.zeros((8, 2, 2))}}, "draws/a"), ({"time": np.zeros(12)}, "increase"), ({"time": np.arange(4.0)}, "must end in"),
])
def test_malformed_scenes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        pack(window(2, **change))


def test_titles_cannot_end_the_script():
    assert "</script><b>" not in player([window(2, title="</script><b>")])


def test_a_forecast_of_windows_is_judged_as_one_and_needs_no_3dmol():
    x = torch.arange(12.0)[None, :, None] * torch.ones(6, 1, 2)
    walk = Trajectories(x=x, time=torch.arange(12.0).expand(6, -1), scene=torch.arange(6), units=Units.si())
    forecast = Forecast(x[None, :, 8:] + torch.tensor([0.1, -0.2])[:, None, None, None], walk.frames(slice(0, 8)), walk.time[:, 8:],
                        provenance={"method": "geotdm"})
    made = report(forecast, reference=walk)
    assert "Errors of the forecast" in made.html
    assert 'id="drawn"' in made.html
    assert "3Dmol" not in made.html
    assert len(made.html) < 200_000


# ---- in a browser

INK = """(canvas) => { const d = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let dark = 0, grey = 0, coloured = 0;
    for (let k = 0; k < d.length; k += 4) {
        if (d[k + 3] < 100) continue;
        const high = Math.max(d[k], d[k + 1], d[k + 2]), low = Math.min(d[k], d[k + 1], d[k + 2]);
        if (high - low > 60) coloured++; else if (high < 60) dark++; else if (high < 160) grey++;
    }
    return { dark, grey, coloured }; }"""


@pytest.fixture(scope="module")
def page(chromium, tmp_path_factory):
    structures = [Scene3D("Reference", np.array([8]), np.random.default_rng(0).normal(size=(5, 1, 3)), 1.0)]
    windows = [window(2, bonds=None), window(3, marks=["+", "−"]), molecule(), window(2, title="blind", truth=None)]
    evaluation = Evaluation("Played", scenes=structures, drawn=windows)
    path = report(evaluation).save(tmp_path_factory.mktemp("drawn") / "report.html")
    page = chromium.new_page(viewport={"width": 1000, "height": 800}, color_scheme="light")
    page.complaints, page.requests = [], []
    page.on("console", lambda message: page.complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("#drawn[data-frame]")
    yield page
    page.close()


def canvas(page, side: str):
    return page.locator(f"#drawn .view[data-side={side}] canvas")


def ink(page, side: str) -> dict:
    return canvas(page, side).evaluate(INK)


def seek(page, frame: int) -> None:
    page.eval_on_selector("#drawn [data-use=slider]", f"e => {{ e.value = {frame}; e.dispatchEvent(new Event('input')); }}")


def shots(page) -> tuple[str, str]:
    return tuple(canvas(page, side).evaluate("c => c.toDataURL()") for side in ("truth", "drawn"))


def choose(page, scene: int, draw: str) -> None:
    page.select_option("#drawn [data-use=scene]", str(scene))
    page.select_option("#drawn [data-use=draw]", draw)


def frame(page) -> int:
    return int(page.get_attribute("#drawn", "data-frame"))


def test_loads_quietly_beside_the_player_of_structures(page):
    page.wait_for_selector(".pane[data-frame]")
    assert page.complaints == []
    assert len(page.requests) == 1
    assert page.locator(".pane").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 1000


def test_from_above_the_given_is_grey_the_truth_black_and_the_draws_in_colour(page):
    choose(page, 0, "0/all")
    seek(page, GIVEN - 1)
    early = ink(page, "truth")
    seek(page, GIVEN + AHEAD - 1)
    truth, drawn = ink(page, "truth"), ink(page, "drawn")
    assert early["grey"] > 20
    assert early["coloured"] == 0
    assert truth["dark"] > early["dark"] + 50
    assert truth["coloured"] == 0
    assert drawn["coloured"] > 100
    page.uncheck("#drawn [data-use=ghost]")
    assert ink(page, "drawn")["coloured"] != drawn["coloured"]
    page.check("#drawn [data-use=ghost]")


@pytest.mark.parametrize(("scene", "draw"), [(0, "0/all"), (1, "0/1"), (2, "0/0")])
def test_both_sides_move_together_and_show_other_things(page, scene, draw):
    choose(page, scene, draw)
    seek(page, 0)
    start = shots(page)
    page.select_option("#drawn [data-use=speed]", "4")
    page.click("#drawn [data-use=play]")
    deadline = time.monotonic() + 20
    while frame(page) <= GIVEN and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    page.click("#drawn [data-use=play]")
    stopped = frame(page)
    assert stopped > GIVEN
    now = shots(page)
    assert now[0] != start[0]
    assert now[1] != start[1]
    assert now[0] != now[1]
    assert [int(canvas(page, side).get_attribute("data-frame")) for side in ("truth", "drawn")] == [stopped, stopped]
    page.wait_for_timeout(150)
    assert frame(page) == stopped


def test_dragging_turns_both_stages(page):
    choose(page, 1, "0/0")
    before = shots(page)
    box = canvas(page, "truth").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 180, box["y"] + 110)
    page.mouse.up()
    after = shots(page)
    assert after[0] != before[0]
    assert after[1] != before[1]
    page.locator("#drawn .view[data-side=drawn] button", has_text="Reset").click()
    assert shots(page) == before


def test_the_distance_from_the_truth_is_told(page):
    choose(page, 0, "0/1")
    seek(page, GIVEN + AHEAD - 1)
    assert page.inner_text("#drawn .view[data-side=drawn] .note").startswith("1.60 m from the truth")  # 0.1 x 2 x 8
    assert page.inner_text("#drawn [data-use=clock]") == "+3.2 s"
    choose(page, 0, "0/mean")
    assert page.inner_text("#drawn .view[data-side=drawn] .note").startswith("1.60 m")
    seek(page, 1)
    assert page.inner_text("#drawn .view[data-side=drawn] .badge") == "given"


def test_without_a_truth_it_says_so(page):
    choose(page, 3, "0/all")
    assert "No truth" in page.inner_text("#drawn .view[data-side=truth] .note")
    assert page.is_disabled("#drawn [data-use=ghost]")
    assert ink(page, "truth")["coloured"] > 20


def test_phone_has_no_sideways_scroll(chromium, tmp_path):
    path = report(Evaluation("Small", drawn=[window(2, title="a long title of a window " * 4)])).save(tmp_path / "r.html")
    page = chromium.new_page(viewport={"width": 375, "height": 700})
    page.goto(path.as_uri())
    page.wait_for_selector("#drawn[data-frame]")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.close()


def test_what_is_flat_is_seen_from_its_broad_side():
    flat = np.random.default_rng(0).normal(size=(GIVEN, 2, 3)) * [0.01, 5, 2]
    axes = np.array(pack(window(3, given=flat))["axes"])
    assert np.abs(axes) == pytest.approx(np.eye(3)[[1, 2, 0]], abs=0.2)
    assert np.linalg.det(axes) == pytest.approx(1, abs=1e-3)

"""CommonRoad scenarios: states, sizes and lanes of both versions of the format."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trajlab.data.adapters.commonroad import KINDS, commonroad_lanes, read_commonroad
from trajlab.data.read import read


def state(tag, step, x, y, angle, speed, more=""):
    return (f"<{tag}><position><point><x>{x}</x><y>{y}</y></point></position><orientation><exact>{angle}</exact></orientation>"
            f"<time><exact>{step}</exact></time><velocity><exact>{speed}</exact></velocity>{more}</{tag}>")


def obstacle(number, states, tag="dynamicObstacle", role="", kind="car", shape="<rectangle><length>4.5</length><width>1.9</width></rectangle>"):
    first, *others = states
    return (f'<{tag} id="{number}">{role}<type>{kind}</type><shape>{shape}</shape>{state("initialState", *first)}<trajectory>'
            f'{"".join(state("state", *s) for s in others)}</trajectory></{tag}>')


LANES = """<lanelet id="7"><leftBound><point><x>0</x><y>3</y></point><point><x>50</x><y>3</y></point></leftBound>
<rightBound><point><x>0</x><y>0</y></point><point><x>50</x><y>0</y></point></rightBound><successor ref="8"/><adjacentLeft ref="9" drivingDir="same"/>
<laneletType>urban</laneletType></lanelet>
<lanelet id="9"><leftBound><point><x>0</x><y>6</y></point><point><x>50</x><y>6</y></point></leftBound>
<rightBound><point><x>0</x><y>3</y></point><point><x>50</x><y>3</y></point></rightBound><adjacentRight ref="7" drivingDir="opposite"/></lanelet>"""


def scenario(folder, body, step="0.2", lanes=LANES):
    path = folder / "scene.xml"
    path.write_text(f'<?xml version="1.0"?><commonRoad timeStepSize="{step}" benchmarkID="TST_A-1" commonRoadVersion="2020a" source="made">'
                    f"{lanes}{body}</commonRoad>")
    return path


def test_states_become_trajectories(tmp_path):
    body = obstacle(31, [(0, 1.0, 1.5, 0.0, 10.0), (1, 3.0, 1.5, 0.0, 10.0), (2, 5.0, 1.5, 0.0, 10.0)])
    body += obstacle(4, [(1, 20.0, 4.5, 3.5, 8.0), (2, 18.4, 4.5, math.pi, 8.0)], kind="bicycle", shape="<circle><radius>0.5</radius></circle>")
    got = read(scenario(tmp_path, body))
    assert got.static["id"].tolist() == [4, 31]
    assert got.time.tolist() == [pytest.approx([0.0, 0.2, 0.4])]
    assert got.mask.tolist() == [[False, True, True], [True, True, True]]
    assert [KINDS[k] for k in got.kind] == ["bicycle", "car"]
    assert got.static["length"].tolist() == [1.0, 4.5]
    assert got.extra["heading"][0, 1] == pytest.approx(3.5 - 2 * math.pi)  # angles are wrapped
    assert got.velocity[0, 2].tolist() == pytest.approx([-8.0, 0.0], abs=1e-12)
    assert got.source["scenario"] == "TST_A-1"
    assert got.source["dropped"]["rows"] == 5


def test_version_2018b_intervals_areas_and_what_is_left_out(tmp_path):
    body = obstacle(1, [(0, 0.0, 0.0, 0.0, 1.0), (1, 0.1, 0.0, 0.0, 1.0)], tag="obstacle", role="<role>dynamic</role>")
    body = body.replace("<exact>1.0</exact></velocity></state>", "<intervalStart>1</intervalStart><intervalEnd>3</intervalEnd></velocity></state>")
    body = body.replace("<point><x>0.1</x><y>0.0</y></point>", "<rectangle><length>2</length><center><x>0.4</x><y>0.2</y></center></rectangle>")
    body += "<obstacle id='2'><role>static</role><type>car</type></obstacle>"
    body += "<dynamicObstacle id='3'><type>car</type><occupancySet/></dynamicObstacle>"
    body += obstacle(5, [(0, "nan", 0.0, 0.0, 1.0), (1, 1.0, 0.0, 0.0, 1.0)])
    with pytest.warns(UserWarning, match="1 not finite, 1 occupancy set"):
        got = read_commonroad(scenario(tmp_path, body))
    assert got.x[0, 1].tolist() == pytest.approx([0.4, 0.2])
    assert got.velocity[0, 1].tolist() == pytest.approx([2.0, 0.0])
    assert got.source["middles"] == 1
    assert got.source["dropped"] == {"rows": 4, "not finite": 1, "repeated": 0, "static obstacle": 1, "occupancy set": 1}


def test_sideways_speed(tmp_path):
    body = obstacle(1, [(0, 0.0, 0.0, math.pi / 2, 2.0, "<velocityY><exact>1</exact></velocityY>"), (1, 0.0, 0.4, math.pi / 2, 2.0)])
    assert read_commonroad(scenario(tmp_path, body)).velocity[0, 0].tolist() == pytest.approx([-1.0, 2.0])


def test_lanes(tmp_path):
    lanes = commonroad_lanes(scenario(tmp_path, ""))
    assert lanes.inside(np.array([[10.0, 1.5], [10.0, 4.0], [10.0, 7.0]])).tolist() == [True, True, False]
    assert lanes.distance_to_centre(np.array([[10.0, 1.0]])).tolist() == pytest.approx([0.5])
    assert lanes.successors["7"] == ("8",)
    assert lanes.neighbours["7"] == ("9", "")
    assert lanes.neighbours["9"] == ("", "")  # the lane beside it goes the other way
    assert lanes.types["7"] == "urban"


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        read_commonroad(tmp_path / "none.xml")
    with pytest.raises(ValueError, match="holds no moving obstacle"):
        read_commonroad(scenario(tmp_path, ""))
    with pytest.raises(ValueError, match="timeStepSize='fast'"):
        read_commonroad(scenario(tmp_path, "", step="fast"))
    with pytest.raises(ValueError, match="has no lanelets"):
        commonroad_lanes(scenario(tmp_path, "", lanes=""))
    with pytest.raises(ValueError, match=r"lanelet 7 of .* bounds of 0 and 0 points"):
        commonroad_lanes(scenario(tmp_path, "", lanes="<lanelet id='7'/>"))
    bomb = tmp_path / "bomb.xml"
    bomb.write_text('<!DOCTYPE c [<!ENTITY a "aaaa">]><commonRoad timeStepSize="0.1">&a;</commonRoad>')
    with pytest.raises(ValueError, match="document type definition"):
        read_commonroad(bomb)
    cut = tmp_path / "cut.xml"
    cut.write_text(scenario(tmp_path, obstacle(1, [(0, 0, 0, 0, 1)])).read_text()[:-30])
    with pytest.raises(ValueError, match=r"cut short or damaged .*line 5"):
        read_commonroad(cut)


@pytest.mark.reference
def test_reference_scenarios(reference):
    folder = reference / "traffic" / "commonroad"
    counts = {"USA_US101-3_3_T-1": (12, 384), "USA_Peach-4_8_T-1": (9, 368), "DEU_A9-3_1_T-1": (9, 238)}
    for name, (nodes, sightings) in counts.items():
        got = read_commonroad(folder / f"{name}.xml")
        assert (got.n_nodes, int(got.mask.sum())) == (nodes, sightings)
        assert got.spacing == pytest.approx(0.2 if name.startswith("DEU_A9") else 0.1)
        both = got.mask[:, 1:] & got.mask[:, :-1]
        off = (got.x.diff(dim=1) / got.spacing - got.velocity[:, 1:])[both]
        assert float(off.norm(dim=-1).median()) < 0.5  # recorded speeds agree with positions
        assert bool(torch.from_numpy(commonroad_lanes(folder / f"{name}.xml").inside(got.x[got.mask].numpy())).all())
    with pytest.raises(ValueError, match="no moving obstacle"):
        read_commonroad(folder / "DEU_Starnberg-1_1_T-1.xml")

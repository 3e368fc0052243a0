"""Graphs of stations: known distances and bearings, opposite directions, links, and coordinates that are none."""

from __future__ import annotations

import pytest
import torch

from trajlab.data.station_graphs import bearing, gaussian_weights, haversine, station_graph

LON = torch.tensor([116.0, 117.0, 116.0, 120.0], dtype=torch.float64)
LAT = torch.tensor([40.0, 40.0, 41.0, 30.0], dtype=torch.float64)


def test_known_distances_and_bearings():
    d = haversine(LON, LAT)
    assert float(d[0, 2]) == pytest.approx(111_195, rel=1e-5)  # a degree of latitude
    assert float(d[0, 1]) == pytest.approx(111_195 * 0.76604, rel=1e-4)  # of longitude at 40 degrees
    assert torch.allclose(d, d.T)
    b = bearing(LON, LAT)
    assert float(b[0, 2]) == pytest.approx(0, abs=1e-6)
    assert float(b[2, 0]) == pytest.approx(180)
    assert float(b[0, 1]) == pytest.approx(89.68, abs=0.01)  # great circles begin north of east
    poles = haversine(torch.tensor([0.0, 180.0]), torch.tensor([0.0, 0.0]))
    assert float(poles[0, 1]) == pytest.approx(3.14159265 * 6_371_008.8, rel=1e-6)


def test_directions_are_opposite_and_cross_the_date_line():
    g = station_graph(LON, LAT, nearest=3)
    assert torch.allclose(g.direction, -g.direction.transpose(0, 1))
    assert torch.allclose(g.direction[0, 1], torch.tensor([1.0, 0.0], dtype=torch.float64), atol=1e-9)
    assert torch.allclose(g.direction[0, 2], torch.tensor([0.0, 1.0], dtype=torch.float64), atol=1e-9)
    across = station_graph(torch.tensor([179.5, -179.5]), torch.tensor([0.0, 0.0]), nearest=1)
    assert torch.allclose(across.direction[0, 1], torch.tensor([1.0, 0.0], dtype=torch.float64))


def test_links():
    g = station_graph(LON, LAT, radius=120e3)
    assert g.linked.tolist() == [[False, True, True, False], [True, False, False, False], [True, False, False, False], [False] * 4]
    assert torch.equal(station_graph(LON, LAT, nearest=1).linked, station_graph(LON, LAT, nearest=1).linked.T)
    assert bool(station_graph(LON, LAT, nearest=1).linked[3].any())
    assert not bool(station_graph(LON, LAT, nearest=1, radius=120e3).linked[3].any())
    assert len(g) == 4
    made = g.graph()
    assert made.n_edges == 4
    assert float(made.weight.max()) == pytest.approx(1e3 / float(g.distance[0, 1]))
    c = g.conductance(1e5)
    assert torch.equal(c, c.T)
    assert float(c[0, 3]) == 0


def test_close_stations_get_the_floor():
    g = station_graph(torch.tensor([116.0, 116.001]), torch.tensor([40.0, 40.0]), nearest=1)
    assert float(g.distance[0, 1]) == 5000.0
    assert float(g.distance[0, 0]) == 0.0


def test_gaussian_weights():
    w = gaussian_weights(torch.tensor([[0.0, 1.0], [1.0, 2.0]]), 1.0, threshold=0.1)
    assert w[0, 0] == 1
    assert float(w[0, 1]) == pytest.approx(0.3679, abs=1e-4)
    assert w[1, 1] == 0


@pytest.mark.parametrize(("call", "says"), [
    (lambda: haversine(LAT, LON), "exchanged"),
    (lambda: haversine(LON, LAT[:2]), "node"),
    (lambda: station_graph(LON, LAT), "every other"),
    (lambda: station_graph(LON, LAT, radius=-1.0), "positive radius"),
    (lambda: station_graph(LON, LAT, nearest=0), "at least 1"),
    (lambda: gaussian_weights(torch.ones(2, 2), 0.0), "sigma"),
])
def test_bad_input(call, says):
    with pytest.raises((ValueError, TypeError), match=says):
        call()

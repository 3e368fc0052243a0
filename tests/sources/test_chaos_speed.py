"""The speed benchmark on a few systems."""

from __future__ import annotations

from benchmark_files import load

from trajlab.sources.chaos import chaos


def test_systems_are_timed_and_failures_told(monkeypatch):
    speed = load("chaos_speed")
    told = speed.every_system(0, ["Lorenz"])
    row = told["systems"]["Lorenz"]
    assert row["early"] == []
    assert row["again"] < row["first"] < told["cpu"]
    left = chaos("Henon", a=2.0).trajectories(2, 60, transient=0, failed="mask")
    monkeypatch.setattr(speed, "made", lambda *_: left)
    assert speed.twice("Lorenz", 0)["early"] == [0, 1]
    monkeypatch.setattr(speed, "made", lambda *_: (_ for _ in ()).throw(ValueError("blown up")))
    assert speed.twice("Lorenz", 0) == {"error": "ValueError: blown up"}


def test_trajectories_are_scipys_and_faster(capsys):
    speed, found = load("chaos_speed"), {}
    speed.part_scipy(0, found, ("Rossler",))
    assert found["difference from scipy"].value < 1e-9
    assert found["scipy / trajlab"].value > 10
    assert "Rossler" in capsys.readouterr().out

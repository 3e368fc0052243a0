"""The command line from end to end on tiny data."""

from __future__ import annotations

import json

import pytest
import torch

import trajlab as tl
from trajlab.cli.main import main

FIT = ["fit", "trajcast", "pairs.zarr", "--steps", "10", "--channels", "8", "--blocks", "1", "--out", "run", "--quiet"]
GO = ["forecast", "run", "--start", "reference.zarr", "--quiet"]


@pytest.fixture
def fitted(workplace, capsys):
    assert main([*FIT, "--debug"]) == 0
    assert "trajlab forecast run" in capsys.readouterr().out
    return workplace


def test_fit_forecast_report(fitted, capsys):
    record = json.loads((fitted / "run" / "model.json").read_text())
    assert record["config"]["channels"] == 8
    assert record["about"]["command"].startswith("trajlab fit trajcast pairs.zarr")
    assert main([*GO, "--steps", "6", "--replicas", "5", "--seed", "3", "--debug"]) == 0
    assert "5 replicas, 6 frames, 0.03 ps" in capsys.readouterr().out
    future = tl.read("forecast.zarr")
    assert isinstance(future, tl.Forecast)
    assert future.provenance["command"].endswith("--seed 3")
    assert torch.equal(future.past.x[:9], tl.read("reference.zarr").last().x[:9])
    assert main(["report", "forecast.zarr", "--reference", "reference.zarr", "--debug"]) == 0
    assert "Temperature" in (fitted / "report.html").read_text()


@pytest.mark.usefixtures("fitted")
def test_files_of_a_replica_each(capsys):
    assert main([*GO, "--steps", "3", "--replicas", "2", "--out", "f.extxyz", "--debug"]) == 0
    assert "f-000.extxyz and so on" in capsys.readouterr().out
    assert tl.read("f-001.extxyz").n_nodes == 9


@pytest.mark.usefixtures("fitted")
def test_resume_is_the_run_that_was_never_stopped():
    common = ["--quiet", "--seed", "1", "--debug"]
    assert main([*GO[:4], "--steps", "4", "--restart", "half", "--out", "half.zarr", *common]) == 0
    assert main(["forecast", "run", "--resume", "half", "--steps", "8", "--out", "half.zarr", *common]) == 0
    assert main([*GO[:4], "--steps", "8", "--out", "whole.zarr", *common]) == 0
    whole = tl.read("whole.zarr")
    assert torch.equal(tl.read("half.zarr").x[:, -1].double(), whole.draws[0, :, -1].double())


@pytest.mark.usefixtures("fitted")
def test_a_ramp_and_drawn_velocities():
    bare = tl.read("reference.zarr").replace(extra={})
    tl.save(bare, "bare.zarr")
    heat = ["--temperature", "300", "--to-temperature", "350", "--velocities", "maxwell_boltzmann", "--out", "hot.zarr", "--no-watch", "--debug"]
    assert main(["forecast", "run", "--start", "bare.zarr", "--steps", "3", *heat]) == 0
    assert float(tl.read("hot.zarr").extra["velocity"].abs().max()) > 0


def test_what_is_there_is_not_overwritten(fitted, capsys):
    (fitted / "forecast.zarr").mkdir()
    assert main([*GO, "--steps", "3"]) == 2
    assert "pass --overwrite" in capsys.readouterr().err


@pytest.mark.usefixtures("workplace")
def test_simulate_writes_what_fit_reads(capsys):
    small = ["--pairs", "2", "--replicas", "2", "--equilibrate", "4", "--decorrelate", "2", "--quiet", "--debug"]
    assert main(["simulate", "md", "copper", "--out", "cu.zarr", *small]) == 0
    assert "2 scenes" in capsys.readouterr().out
    assert tl.read("cu.zarr").spacing == 30.0

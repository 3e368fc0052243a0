"""``trajlab fit`` and ``trajlab forecast`` for whatever method forecasts windows, found by its name in model.json."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

import trajlab as tl
from trajlab import models
from trajlab.cli.main import main
from trajlab.types import Forecast, Trajectories

GIVEN, PREDICTED = 4, 5


@dataclass(frozen=True)
class WalkerConfig:
    """A method for the tests.

    Attributes:
        given: frames that are known.
        predicted: frames that are made.
    """

    given: int = GIVEN
    predicted: int = PREDICTED


class Walker:
    """Goes on at constant velocity; each draw is a little further off."""

    asked: dict = {}

    def __init__(self, config=None):
        self.config, self.about = config or WalkerConfig(), {}

    def fit(self, data, validation=None, **options):
        Walker.asked = options
        return self

    def save(self, folder):
        folder.mkdir(exist_ok=True)
        (folder / "model.json").write_text(json.dumps({"method": "walker", "config": vars(self.config)}))
        return folder

    @classmethod
    def load(cls, folder):
        return cls(WalkerConfig(**json.loads((folder / "model.json").read_text())["config"]))

    def forecast(self, past, steps=None, *, draws=20, evaluations=15, seed=0, progress=True):
        Walker.asked = {"steps": steps, "draws": draws, "evaluations": evaluations, "seed": seed, "progress": progress, "frames": past.n_frames}
        ahead = torch.arange(1, (steps or self.config.predicted) + 1)
        step = past.x[:, -1] - past.x[:, -2]
        x = past.x[:, -1:] + step[:, None] * ahead[:, None]
        off = 0.1 * torch.arange(draws)[:, None, None, None]
        time = past.time[:, -1:] + past.spacing * ahead
        return Forecast(x[None] + off, past, time, provenance={"method": "walker"})


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """The method in the table, a run of it, and windows that walk straight."""
    for name, content in (("trajlab_walker", {"Walker": Walker}), ("trajlab_walker_config", {"WalkerConfig": WalkerConfig})):
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(models.TABLE, "walker", "trajlab_walker:Walker")
    monkeypatch.chdir(tmp_path)
    Walker().save(tmp_path / "run")
    speed = torch.randn(12, 1, 2, generator=torch.Generator().manual_seed(0)).double()
    time = torch.arange(GIVEN + PREDICTED, dtype=torch.float64)
    windows = Trajectories(x=speed * time[:, None], time=time.expand(12, -1), scene=torch.arange(12))
    tl.save(windows, "data.zarr")
    return SimpleNamespace(folder=tmp_path, windows=windows)


def says(capsys, *arguments: str) -> str:
    assert main([*arguments, "--debug"]) == 0
    return capsys.readouterr().out


def fails(capsys, *arguments: str) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err


def test_the_first_frames_are_given_and_the_later_ones_judge(workplace, capsys):
    settings = ["--draws", "3", "--evaluations", "7", "--seed", "5", "--quiet"]
    out = says(capsys, "forecast", "run", "--start", "data.zarr", *settings, "--report", "out.html")
    assert Walker.asked == {"steps": None, "draws": 3, "evaluations": 7, "seed": 5, "progress": False, "frames": GIVEN}
    assert "ADE of the median forecast 0.1414" in out  # 0.1 off along both axes
    assert "report: out.html" in out
    page = (workplace.folder / "out.html").read_text()
    assert "Errors of the forecast" in page
    assert 'id="drawn"' in page
    saved = tl.read("forecast.zarr")
    assert isinstance(saved, Forecast)
    assert torch.equal(saved.past.x, workplace.windows.x[:, :GIVEN])
    assert saved.provenance["command"].startswith("trajlab forecast run --start data.zarr")


@pytest.mark.usefixtures("workplace")
def test_the_run_may_stand_anywhere_and_the_report_can_be_made_later(capsys):
    out = says(capsys, "forecast", "--start", "data.zarr", "--windows", "4", "--draws", "2", "run")
    command = next(line for line in out.splitlines() if line.startswith("next: trajlab report"))
    assert command == "next: trajlab report forecast.zarr --reference data.zarr --out report.html"
    assert tl.read("forecast.zarr").provenance["windows"] == [0, 3, 6, 9]
    assert "ADE of the median forecast 0.07071" in says(capsys, *command.split()[2:])


@pytest.mark.usefixtures("workplace")
def test_from_the_last_frames_there_is_nothing_to_judge_by(capsys):
    out = says(capsys, "forecast", "run", "--start", "data.zarr", "--past", "last", "--steps", "2")
    assert "12 windows, 20 draws of 2 frames each" in out
    assert "--reference" not in out
    assert float(tl.read("forecast.zarr").time[0, 0]) == GIVEN + PREDICTED


def test_windows_of_only_the_given_frames_are_forecast(workplace, capsys):
    tl.save(workplace.windows.frames(slice(0, GIVEN)), "short.zarr")
    out = says(capsys, "forecast", "run", "--start", "short.zarr", "--report", "blind.html")
    assert "20 draws of 5 frames each" in out
    assert "No truth was given" in (workplace.folder / "blind.html").read_text()


@pytest.mark.parametrize(("options", "words"), [
    (["--drws", "3"], "did you mean '--draws'"), (["--draws", "0"], "--draws 0: at least 1"), (["--out", "f.extxyz"], "ends in .zarr"),
    (["--report", "f.pdf"], "an .html file"), (["--windows", "13"], "holds 12"), (["--past", "frist"], "did you mean 'first'"),
    (["--start", "no.zarr"], "no.zarr does not exist"), (["--thermostat", "nve"], "no option '--thermostat'"),
    (["--start", "two.zarr"], "4 given frames"),
])
def test_misuse_is_told(workplace, capsys, options, words):
    tl.save(workplace.windows.frames(slice(0, 2)), "two.zarr")
    start = [] if "--start" in options else ["--start", "data.zarr"]
    assert words in fails(capsys, "forecast", "run", *start, *options)


def test_what_is_there_is_not_overwritten(workplace, capsys):
    (workplace.folder / "forecast.zarr").mkdir()
    assert "pass --overwrite" in fails(capsys, "forecast", "run", "--start", "data.zarr")
    says(capsys, "forecast", "run", "--start", "data.zarr", "--overwrite")


def test_an_unknown_method_is_told_with_the_nearest(workplace, capsys):
    (workplace.folder / "run" / "model.json").write_text('{"method": "wakler"}')
    assert "no method 'wakler'; did you mean 'walker'" in fails(capsys, "forecast", "run", "--start", "data.zarr")


def test_a_model_without_a_past_has_nothing_to_forecast_from(workplace, capsys):
    Walker(WalkerConfig(given=0)).save(workplace.folder / "free")
    assert "given=0" in fails(capsys, "forecast", "free", "--start", "data.zarr")


@pytest.mark.usefixtures("workplace")
def test_help_shows_the_options_of_the_method(capsys):
    with pytest.raises(SystemExit):
        main(["forecast", "run", "--help"])
    out = capsys.readouterr().out
    assert "--evaluations" in out
    assert "--thermostat" not in out


@pytest.mark.usefixtures("workplace")
def test_fit_says_what_comes_next(capsys):
    out = says(capsys, "fit", "walker", "data.zarr", "--given", "3", "--predicted", "6", "--steps", "1", "--out", "w")
    assert "next: trajlab forecast w --start data.zarr --report forecast.html" in out
    assert json.loads(Path("w/model.json").read_text())["config"] == {"given": 3, "predicted": 6}
    assert Walker.asked["train"].steps == 1
    says(capsys, *next(line for line in out.splitlines() if line.startswith("next:")).split()[2:])
    assert "has nothing to forecast from" in says(capsys, "fit", "walker", "data.zarr", "--given", "0", "--steps", "1", "--out", "u")


def test_geotdm_from_simulation_to_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    says(capsys, "simulate", "nbody", "charged", "--n", "24", "--out", "data.zarr", "--quiet")
    small = ["--channels", "4", "--width", "8", "--layers", "1", "--steps", "3", "--quiet"]
    out = says(capsys, "fit", "geotdm", "data.zarr", "--preset", "nbody", *small)
    assert "next: trajlab forecast run --start data.zarr" in out
    out = says(capsys, "forecast", "run", "--start", "data.zarr", "--draws", "3", "--evaluations", "5", "--report", "out.html", "--quiet")
    assert "constant velocity: ADE" in out
    assert "Calibration of the draws" in (tmp_path / "out.html").read_text()

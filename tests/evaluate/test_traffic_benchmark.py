"""The benchmark of motion: windows, cells that are kept, scores with known answers, sentences and bars that follow from numbers, the program."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark_files import load

from trajlab.evaluate.traffic_cells import BASELINES, SAME_NOISE, SCORES, Cell, Settings, scores_of
from trajlab.evaluate.traffic_checks import agreement, agreement_table, pedestrian_rows, recursion_error
from trajlab.evaluate.traffic_data import OPENED, MotionSet, alone, share_of_windows, thinned
from trajlab.evaluate.traffic_same_noise import marginal_nll
from trajlab.evaluate.traffic_tables import Scored, Sheet, compared, sheet_table
from trajlab.evaluate.traffic_verdict import best_missed, checks_missed, helped, on_par, propagation, sheets_missed, smoothness
from trajlab.models.motion.kalman import KalmanVelocity
from trajlab.models.motion.mixture import PathMixture
from trajlab.models.motion.motion import Motion
from trajlab.models.motion.motion_config import MotionConfig
from trajlab.train.config import TrainConfig
from trajlab.types import Forecast, Trajectories
from trajlab.units import Units

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
JOINT, MARGINAL = "acceleration, joint", "acceleration, marginal"


@pytest.fixture(scope="module")
def plan():
    return tomllib.loads((BENCHMARKS / "traffic.toml").read_text())


def drives(count: int = 60, frames: int = 16, seed: int = 0, agents: int = 12) -> Trajectories:
    """Cars that turn and brake a little, one a window."""
    g = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    t = 0.1 * torch.arange(frames).double()
    speed = (8 + 2 * normal(count, 1)) + normal(count, 1) * t
    heading = normal(count, 1) + 0.2 * normal(count, 1) * t
    velocity = speed[..., None] * torch.stack([heading.cos(), heading.sin()], -1)
    x = torch.cat([torch.zeros(count, 1, 2).double(), 0.1 * velocity[:, :-1].cumsum(1)], 1)
    full = lambda value: torch.full((count,), value, dtype=torch.float64)  # noqa: E731
    return Trajectories(x=x, time=t.expand(count, frames), scene=torch.arange(count), units=Units.si(),
                        extra={"velocity": velocity, "heading": heading}, static={"length": full(4.5), "width": full(1.8)},
                        context={"agent": torch.arange(count) % agents, "run": torch.zeros(count, dtype=torch.long)})


def made(**changes) -> MotionSet:
    record = {"name": "toy", "title": "Toy", "kind": "vehicles", "given": 6, "cluster": "agent", "shares": (1.0, 0.2), "steps": (6, 6),
              "most": {"train": 50, "validation": 20, "test": 30}, "about": {"name": "toy", "folder": "nowhere"}}
    return MotionSet(**{**record, **changes})


# ---------------------------------------------------------------------------------------------------------------------- windows


def test_every_agent_becomes_a_window_of_its_own():
    both = drives(6)
    pairs = both.replace(scene=torch.tensor([0, 0, 1, 1, 2, 2]), time=both.time[:3] + torch.arange(3).double()[:, None],
                         context={"block": torch.tensor([5, 6, 7])}, mask=torch.arange(6)[:, None].expand(6, 16) != 3)
    single = alone(pairs)
    assert single.n_scenes == single.n_nodes == 5
    assert torch.equal(single.x, pairs.x[[0, 1, 2, 4, 5]])
    assert single.context["block"].tolist() == [5, 5, 6, 7, 7]
    assert torch.equal(single.time[2], pairs.time[1])
    assert set(single.extra) == {"velocity", "heading"}


def test_shares_are_nested_and_never_tiny():
    data = drives(200)
    small, large = share_of_windows(data, 0.1, 3), share_of_windows(data, 0.5, 3)
    assert (small.n_scenes, large.n_scenes, share_of_windows(data, 0.01, 3).n_scenes) == (20, 100, 8)
    names = {tuple(x.flatten().tolist()) for x in large.x}
    assert all(tuple(x.flatten().tolist()) in names for x in small.x)
    assert not torch.equal(small.x, share_of_windows(data, 0.1, 4).x)
    assert share_of_windows(data, 1.0, 0).n_scenes == 200
    assert thinned(data, 7).n_scenes == 7
    assert thinned(data, 300) is data
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        share_of_windows(data, 0.0, 0)


def test_settings_are_checked(plan):
    with pytest.raises(ValueError, match="pedestrians or vehicles"):
        made(kind="boats")
    with pytest.raises(ValueError, match="a number of steps for each share"):
        made(steps=(20,))
    with pytest.raises(ValueError, match="lacks title, kind"):
        MotionSet.of("x", {"given": 3}, plan)


def test_every_setting_can_be_read(plan):
    program = load("traffic")
    for name, record in plan["sets"].items():
        whole, quick = MotionSet.of(name, record, plan), MotionSet.of(name, record, plan, quick=True)
        assert set(quick.shares) <= set(whole.shares)
        assert quick.steps[0] == round(plan["quick"]["factor"] * whole.steps[0])
    for name, row in plan["rows"].items():
        config = MotionConfig(**row)
        assert name.endswith("marginal") == (config.propagation == "marginal")
    assert {plan["judged"], plan["plain"], *plan["bars"]["joint_over_marginal"]["pair"]} <= set(plan["rows"])
    assert {plan["bars"]["joint_over_marginal"]["data"], *plan["bars"]["par"]["data"]} <= set(plan["sets"])
    sets = [MotionSet.of(name, record, plan) for name, record in plan["sets"].items()]
    assert len(program.cells_of(plan, sets, plan["seeds"])) == sum(9 * 3 * len(s.shares) + 3 for s in sets)


# ----------------------------------------------------------------------------------------------------------------------- scores


def test_scores_of_a_known_forecast():
    """One car at 10 m/s; the forecast is 1 m to the left, twice as unsure along as across."""
    t = 0.1 * torch.arange(8).double()
    x = torch.stack([10 * t, 0 * t], -1)[None]
    truth = Trajectories(x=x, time=t[None], scene=torch.zeros(1, dtype=torch.long), units=Units.si())
    past, mean = truth.frames(slice(0, 3)), x[:, None, 3:] + torch.tensor([0.0, 1.0]).double()
    covariance = torch.diag(torch.tensor([4.0, 1.0]).double()).expand(1, 1, 5, 2, 2)
    mixture = PathMixture(torch.zeros(1, 1).double(), mean, covariance)
    draws = torch.stack([x[:, 3:] + torch.tensor([0.0, d]).double() for d in (1.0, 3.0)])
    found = scores_of(Forecast(draws, past, truth.time[:, 3:], mixture=mixture.parameters()), truth)
    assert list(found) == ["ADE", "FDE", "minADE", "minFDE", "NLL", "coverage", "infeasible", "rms acceleration", SAME_NOISE] == list(SCORES)
    value = {name: float(v[0]) for name, v in found.items()}
    assert value["ADE"] == value["FDE"] == value["minADE"] == value["minFDE"] == pytest.approx(1)
    assert value["NLL"] == pytest.approx(0.5 + math.log(2 * math.pi * 2), abs=1e-4)
    assert value["coverage"] == 1  # Mahalanobis distance 1, inside the 68 % ellipse, which reaches 1.51
    assert value["rms acceleration"] == pytest.approx(50)  # the sideways jump, 100 m/s^2, is one of four
    assert value["infeasible"] > 0
    plain = scores_of(Forecast(draws[:1], past, truth.time[:, 3:]), truth)
    assert all(math.isnan(float(plain[name][0])) for name in ("NLL", "coverage", "minADE"))
    far = mixture.parameters() | {"mean": mean + torch.tensor([0.0, 1.0]).double()}
    assert float(scores_of(Forecast(draws, past, truth.time[:, 3:], mixture=far), truth)["coverage"][0]) == 0


def test_cells_are_kept_and_repeat_themselves(tmp_path, monkeypatch):
    parts = drives(50), drives(20, seed=1), drives(30, seed=2)
    monkeypatch.setattr(MotionSet, "made", lambda self, data: parts)
    train = {"batch": 256, "lr": 1e-3, "ema": 0.9, "width": 16, "layers": 1}
    one, other = (Settings({"bicycle, joint": {"head": "bicycle"}}, train, str(tmp_path / name), None) for name in "ab")
    cell = Cell(made(), "bicycle, joint", 0.2, 1)
    first, second = cell.scores(one), cell.scores(other)
    assert all(np.array_equal(first[name], second[name]) for name in SCORES)
    assert first["ADE"].shape == (30,)
    assert np.isfinite(first["NLL"]).all()
    assert np.isfinite(first[SAME_NOISE]).all()
    assert not np.array_equal(first["NLL"], Cell(made(), "bicycle, joint", 0.2, 2).scores(one)["NLL"])
    monkeypatch.setattr(Cell, "_measured", lambda self, settings: pytest.fail("it was measured already"))
    assert np.array_equal(cell.scores(one)["ADE"], first["ADE"])
    changed = replace(one, rows={"bicycle, joint": {"head": "bicycle", "floor": 0.1}})
    longer = Cell(made(steps=(6, 7)), "bicycle, joint", 0.2, 1)
    assert len({cell.path(one), cell.path(changed), longer.path(one), Cell(made(), "bicycle, joint", 1.0, 1).path(one)}) == 4
    OPENED.clear()


def test_baselines_have_what_applies_to_them(tmp_path, monkeypatch):
    monkeypatch.setattr(MotionSet, "made", lambda self, data: (drives(50), drives(20, seed=1), drives(30, seed=2)))
    settings = Settings({}, {}, str(tmp_path), None)
    found = {row: Cell(made(), row, 1.0, 0).scores(settings) for row in BASELINES}
    assert np.isfinite(found["Kalman"]["NLL"]).all()
    assert np.isnan(found["turn rate"]["NLL"]).all()
    assert found["turn rate"]["ADE"].mean() < found["constant velocity"]["ADE"].mean()  # these cars turn
    direct = KalmanVelocity().fit(drives(50), 6).forecast(drives(30, seed=2).frames(slice(0, 6)), draws=20,
                                                          generator=torch.Generator().manual_seed(0))
    assert np.allclose(found["Kalman"]["NLL"], scores_of(direct, drives(30, seed=2))["NLL"].numpy())
    OPENED.clear()


# ------------------------------------------------------------------------------------------------- tables, sentences, bars


def scored(error: float, nats: float, rough: float = 1.0, seeds: int = 3, windows: int = 60, marginal: float = math.nan) -> Scored:
    """Rows that differ by constants, over windows of very different difficulty."""
    g = np.random.default_rng(0)
    hard = np.exp(g.standard_normal(windows)) + 0.01 * g.standard_normal((seeds, windows))
    nothing = np.full((seeds, windows), np.nan)
    return Scored({"ADE": error * hard, "FDE": 2 * error * hard, "minADE": nothing, "minFDE": nothing, "NLL": nats + hard, "coverage": 0.7 + 0 * hard,
                   "infeasible": 0.1 + 0 * hard, "rms acceleration": rough + 0 * hard, SAME_NOISE: marginal + hard}, 1.0)


def sheet(rows: dict[str, Scored], name: str = "sumo", share: float = 1.0) -> Sheet:
    return Sheet(made(name=name), share, rows, torch.arange(60) % 12, (50, 20, 60))


def test_comparisons_are_paired():
    one = sheet({"position": scored(1.0, 2.0), "bicycle, joint": scored(0.9, 1.5)})
    ratio, nats = (compared(one, "bicycle, joint", "position", score) for score in ("ADE", "NLL"))
    assert ratio.value == pytest.approx(0.9)
    assert ratio.high - ratio.low < 1e-6  # though windows differ by factors
    assert nats.value == pytest.approx(-0.5)
    table = sheet_table(one, "position")
    assert table.rows[1][table.columns.index("ADE over position")] == "0.900 [0.900, 0.900]"
    assert table.rows[0][table.columns.index("ADE over position")] is None
    assert table.rows[1][table.columns.index("min ADE")] is None
    assert "12 vehicles" in table.note
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_sentences_follow_from_the_numbers():
    one = sheet({"position": scored(1.0, 2.0, 30.0), JOINT: scored(0.9, 1.9, 1.0), MARGINAL: scored(1.2, 2.4), "bicycle, joint": scored(1.1, 1.8)})
    lines = helped([one], "position")
    assert "it helps by ADE: acceleration, joint is the best of 3" in lines[0]
    assert "0.900 [0.900, 0.900] times against position; 1 are ahead of it and 2 behind" in lines[0]
    assert "it helps by NLL: bicycle, joint" in lines[1]
    median = float(np.median(scored(1.0, 1.8).values["NLL"]))
    assert f"(median window {median:.3f} and {median + 0.2:.3f})" in lines[1]
    worse = sheet({"position": scored(1.0, 2.0), JOINT: scored(1.1, 2.0)})
    assert "no kinematic head helps by ADE" in helped([worse], "position")[0]
    assert "no difference that the windows can tell by NLL" in helped([worse], "position")[1]
    hardly = sheet({"position": scored(1.0, 2.0), JOINT: scored(0.996, 1.991)})  # certain, and of no use
    assert all("no difference" in line and "0 are ahead" in line for line in helped([hardly], "position"))
    (line,) = propagation([one])
    assert "sumo, 100%, acceleration: joint beats marginal, NLL -0.500" in line
    lines = propagation([sheet({JOINT: scored(1.0, 2.0, marginal=2.7), MARGINAL: scored(1.0, 2.0)})])
    assert "joint and marginal cannot be told apart" in lines[0]
    assert "with the same noise of controls joint is -0.700" in lines[1]
    (line,) = on_par([one], "bicycle, joint", "position")
    assert "behind position by ADE (1.100" in line
    assert "ahead of it by NLL (-0.200" in line
    assert "position 30 m/s^2 (10.0% infeasible), acceleration, joint 1 m/s^2" in smoothness([one], "position")[0]


def test_bars_on_heads(plan):
    ours, judged = plan["bars"], plan["judged"]
    bars = ours | {"joint_over_marginal": ours["joint_over_marginal"] | {"judge": ["trained", "same noise"]}}
    good = {"position": scored(1.0, 2.0), JOINT: scored(1.0, 2.0), MARGINAL: scored(1.0, 2.31), judged: scored(1.0, 2.0)}
    assert sheets_missed([sheet(good)], bars, judged, "position") == []
    near = sheets_missed([sheet(good | {MARGINAL: scored(1.0, 2.29)})], bars, judged, "position")
    assert len(near) == 1
    assert "0.290 nats a step better" in near[0]
    same = sheets_missed([sheet(good | {JOINT: scored(1.0, 2.0, marginal=2.2)})], bars, judged, "position")
    assert ["same noise" in line for line in same] == [True]
    assert ours["joint_over_marginal"]["judge"] == ["same noise"]
    assert sheets_missed([sheet(good | {MARGINAL: scored(1.0, 2.0)})], ours, judged, "position") == []
    for name in ("sumo", "ngsim"):
        lost = sheets_missed([sheet(good | {judged: scored(1.02, 2.05)}, name)], bars, judged, "position")
        assert [("by ADE" in line, "by NLL" in line) for line in lost] == [(True, False), (False, True)]
    assert sheets_missed([sheet(good | {judged: scored(9.0, 9.0)}, "hotel"), sheet(good | {judged: scored(9.0, 9.0)}, share=0.2)], bars, judged,
                         "position") == []


def test_bars_on_checks(plan):
    table = {"tolerance": 0.005, "random": 0.012}
    row = {"scene": "eth", "least": 2, "method": "turn_rate", "found": [70, 181, 0.9951, 2.2340], "wanted": [70, 181, 0.995, 2.234]}
    records = {"pedestrians": [row], "agreement": [{"case": "a", "exact": False, "error": 0.02}, {"case": "b", "exact": True, "error": 0.009}],
               "recursion": {"nested sums": 1e-12}, "cost": {"bicycle": {"joint/marginal": 1.5}}}
    assert checks_missed(records, plan["checks"], table) == []
    bad = {"pedestrians": [row | {"found": [71, *row["found"][1:]]}, row | {"found": [70, 181, 1.001, 2.234]}],
           "agreement": [{"case": "a", "exact": False, "error": math.nan}, {"case": "b", "exact": True, "error": 0.02}],
           "recursion": {"nested sums": 1e-8}, "cost": {"bicycle": {"joint/marginal": 2.5}}}
    assert len(checks_missed(bad, plan["checks"], table)) == 6
    best = [{"scene": "zara1", "ADE": 0.18, "FDE": f} for f in (0.36, 0.39)]
    assert best_missed(best, {"zara1": [0.2, 0.37], "hotel": [0.2, 0.33]}) == ["zara1: best-of-20 FDE 0.375 m, where at most 0.37 was wanted"]


# ----------------------------------------------------------------------------------------------------------------------- checks


def test_closed_forms_against_monte_carlo():
    found = agreement(6000, seed=1)
    assert all(one["error"] < (0.04 if one["exact"] else 0.05) for one in found), [(one["case"], one["error"]) for one in found]
    accelerated = found[0]
    assert accelerated["marginal"][-1] < 0.2 * accelerated["drawn"][-1]
    assert len(agreement_table(found, 6000).rows) == len(found)
    errors = recursion_error(3)
    assert 0 < errors["nested sums"] < 1e-9
    assert 0 < errors["prefix sums"] < 1e-9


def test_pedestrians(plan):
    folder = BENCHMARKS.parents[1] / "shared" / "data" / "traffic" / "eth_ucy"
    if not folder.is_dir():
        pytest.skip(f"needs the recordings in {folder}, which are not part of the project")
    wanted = plan["table"] | {rule: {"eth": plan["table"][rule]["eth"]} for rule in ("two", "one")}
    table, records = pedestrian_rows(folder, wanted)
    two, one = records[0], records[-1]
    assert len(records) == 8
    assert two["found"][:2] == [70, 181]
    assert one["found"][:2] == [253, 364]
    assert checks_missed({"pedestrians": records}, {}, plan["table"]) == []
    assert len(checks_missed({"pedestrians": records}, {}, plan["table"] | {"tolerance": -1.0, "random": -1.0})) == 8
    assert table.rows[0][4] == "0.995 / 2.234"


# ---------------------------------------------------------------------------------------------------------------------- program


def test_the_program(tmp_path, monkeypatch, capsys):
    program = load("traffic")
    monkeypatch.setattr(MotionSet, "made", lambda self, data: (drives(50), drives(20, seed=1), drives(30, seed=2)))
    text = (BENCHMARKS / "traffic.toml").read_text()
    head = text[: text.index("# ---", text.index("[bars]"))].replace("factor = 0.4", "factor = 1.0").replace("width = 128", "width = 16")
    rows = '[rows]\n"position" = { head = "position" }\n"acceleration, joint" = {}\n"acceleration, marginal" = { propagation = "marginal" }\n'
    rows += '"bicycle, joint" = { head = "bicycle" }\n'
    sets = '[sets.sumo]\ntitle = "Toy"\nkind = "vehicles"\nname = "toy"\nfolder = "x"\ngiven = 6\ncluster = "agent"\nmost = {}\n'
    sets += "steps = [20, 20, 20]\n"
    (tmp_path / "toy.toml").write_text(head + rows + sets)
    given = ["--quick", "--only", "heads", "--settings", str(tmp_path / "toy.toml"), "--cache", str(tmp_path / "cache"), "--processes", "1",
             "--out", str(tmp_path / "out.json")]
    status = program.main(given)
    said = capsys.readouterr().out
    assert said.count("% of the training windows\n") == 2
    assert "50 training, 20 validation and 30 test windows" in said
    assert "Does joint propagation beat the marginal one?\n- sumo, 100%, acceleration: " in said
    assert status == (1 if "missed:" in said else 0)
    monkeypatch.setattr(Cell, "_measured", lambda self, settings: pytest.fail("it was measured already"))
    assert program.main(given) == status  # goes on from the cache
    assert "0 to be measured" in capsys.readouterr().out
    OPENED.clear()


def test_a_data_set_that_is_not_here_is_named(tmp_path, monkeypatch, capsys):
    program = load("traffic")

    def absent(self, data):
        raise FileNotFoundError("there is no such folder")

    monkeypatch.setattr(MotionSet, "made", absent)
    given = ["--only", "heads", "--sets", "ngsim", "--cache", str(tmp_path), "--processes", "1"]
    assert program.main(given) == 1
    assert "NOT MEASURED: ngsim (FileNotFoundError: there is no such folder)" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------------------------- same noise


def test_the_same_noise_propagated_marginally():
    """An untrained head of accelerations without correlation: the marginal variance is known from the joint one at every step."""
    data = drives(40)
    train = TrainConfig(steps=1, lr=1e-12, warmup=0, batch=40)
    model = Motion(MotionConfig(head="acceleration", width=8, layers=1)).fit(data, 6, train=train)
    mixture, truth = PathMixture.of(model.forecast(data.frames(slice(0, 6)), draws=1)), data.x[:, 6:]
    n = torch.arange(1, 11).double()
    ratio = ((n - 1) * n / 2) / ((n - 1) * n * (2 * n - 1) / 6).clamp(min=1)  # sums of s and of s^2 below n
    floor = float(model.fitted.head.floor) ** 2 * torch.eye(2).double()
    narrow = PathMixture(mixture.logits, mixture.mean, (mixture.covariance - floor) * ratio[:, None, None] + floor)
    assert torch.allclose(marginal_nll(model, data), narrow.nll_joint(truth) / 10, rtol=1e-3)
    assert not torch.allclose(marginal_nll(model, data), mixture.nll_joint(truth) / 10, rtol=0.1)
    plain = Motion(MotionConfig(head="velocity", width=8, layers=1)).fit(data, 6, train=train)
    assert marginal_nll(plain, data) is None

"""Windows of vehicles: exact counts, disjoint vehicles, neighbours, and the sets by name."""

from __future__ import annotations

import pytest
import torch

from trajlab.data.adapters.sumo import read_sumo
from trajlab.sources.sumo import SumoConfig, simulate_sumo
from trajlab.sources.vehicle_cards import SCENARIOS, card
from trajlab.sources.vehicle_windows import VehicleRule, part_by_vehicle, share_of, vehicle_windows
from trajlab.sources.vehicles import ngsim, ngsim_lanes, vehicles
from trajlab.types import Trajectories
from trajlab.units import Units


def recording(nodes=12, frames=60, garbage=float("nan")):
    """Vehicles side by side, 4 m apart, the k-th seen from frame 2 k on; vehicle 0 is unseen in frame 30."""
    x = torch.zeros(nodes, frames, 2, dtype=torch.float64)
    x[..., 0] = torch.arange(frames) * 1.0
    x[..., 1] = 4.0 * torch.arange(nodes)[:, None]
    mask = torch.arange(frames) >= 2 * torch.arange(nodes)[:, None]
    mask[0, 30] = False
    x[~mask] = garbage
    return Trajectories(x=x, time=torch.arange(frames)[None] * 0.1, scene=torch.zeros(nodes, dtype=torch.long), mask=mask,
                        static={"id": torch.arange(nodes) + 100}, units=Units.si(), source={"id": list(range(nodes))})


def test_windows_begin_with_their_agent():
    got = vehicle_windows(recording(), VehicleRule(given=5, predicted=15, hop=10))
    lengths = [30, 29, *(60 - 2 * k for k in range(1, 12))]
    assert got.n_scenes == sum((n - 20) // 10 + 1 for n in lengths)
    assert bool(got.mask.all())
    assert bool(torch.isfinite(got.x).all())
    assert bool(got.static["focal"].all())
    assert got.time[0].tolist() == pytest.approx([0.1 * k for k in range(20)])
    own = got.scenes((got.context["agent"] == 3).nonzero().flatten())
    assert own.static["id"].unique().tolist() == [103]
    assert own.time[:, 0].tolist() == pytest.approx([0.6, 1.6, 2.6, 3.6])
    assert "id" not in got.source


def test_neighbours_are_the_nearest_at_the_last_given_frame():
    rule = VehicleRule(given=5, predicted=15, hop=10, neighbours=3, radius=9.0)
    got = vehicle_windows(recording(garbage=1e6), rule)  # what is masked out is never looked at
    for scene in range(got.n_scenes):
        nodes = (got.scene == scene).nonzero().flatten()
        assert got.static["focal"][nodes].tolist() == [True] + [False] * (len(nodes) - 1)
        lateral = got.x[nodes, 4, 1]
        far = (lateral - lateral[0]).abs()
        assert bool((far <= 9.0).all())
        assert far.tolist() == sorted(far.tolist())
        assert bool(got.mask[nodes, 4].all())
    assert int(got.sizes.max()) == 4
    middle = (got.context["agent"] == 5) & (got.time[:, 0] > 1.9)
    assert got.sizes[middle].tolist() == [4] * int(middle.sum())  # 4 and 6 (4 m), and one of 3 and 7 (8 m)
    late = got.x[~got.mask]
    assert bool((late == 1e6).any())  # kept as it came, under the mask


def test_parts_share_no_vehicle_and_no_future():
    windows = vehicle_windows(recording(), VehicleRule(given=5, predicted=15, hop=10, neighbours=3, radius=9.0))
    parts = part_by_vehicle(windows, (0.5, 0.25, 0.25), given=5, generator=torch.Generator().manual_seed(0))
    agents = [set(part.context["agent"].tolist()) for part in parts]
    assert [len(a) for a in agents] == [6, 3, 3]
    assert not agents[0] & agents[1] | agents[0] & agents[2] | agents[1] & agents[2]
    assert sum(part.n_scenes for part in parts) == windows.n_scenes
    for part, own in zip(parts, agents):
        other = torch.tensor([a not in own for a in part.static["agent"].tolist()])
        assert bool(other.any())
        assert not bool(part.mask[other, 5:].any())
        assert bool(part.mask[other, 4].all())
        assert bool(part.mask[part.static["focal"]].all())
    dealt = part_by_vehicle(windows, given=5)
    assert [p.source["part"] for p in dealt] == ["train", "validation", "test"]
    with pytest.raises(ValueError, match="12 agents are too few"):
        part_by_vehicle(windows, (0.99, 0.01, 0.0))
    with pytest.raises(ValueError, match="add up to 1"):
        part_by_vehicle(windows, (0.5, 0.1, 0.1))
    with pytest.raises(ValueError, match="around='agent'"):
        part_by_vehicle(vehicle_windows(recording(), VehicleRule(given=5, predicted=5, around="scene")))


def test_smaller_shares_are_within_larger_ones():
    windows = vehicle_windows(recording(), VehicleRule(given=5, predicted=15, hop=2))
    draw = lambda share, by: share_of(windows, share, by=by, generator=torch.Generator().manual_seed(3))  # noqa: E731
    keys = lambda part: set(zip(part.context["agent"].tolist(), part.time[:, 0].tolist()))  # noqa: E731
    for by in ("window", "agent"):
        assert keys(draw(0.1, by)) < keys(draw(0.5, by)) < keys(draw(1.0, by)) == keys(windows)
    assert draw(0.1, "window").n_scenes == round(0.1 * windows.n_scenes)
    assert len(set(draw(0.25, "agent").context["agent"].tolist())) == 3
    with pytest.raises(ValueError, match="share=0"):
        share_of(windows, 0.0)
    with pytest.raises(ValueError, match="did you mean 'agent'"):
        share_of(windows, 0.5, by="agents")


def test_bad_rules():
    with pytest.raises(ValueError, match=r"no window of 91 frames fits: the longest of 12 tracks has 59 frames"):
        vehicle_windows(recording())
    with pytest.raises(ValueError, match="hop of at least 1"):
        VehicleRule(hop=0)
    with pytest.raises(ValueError, match="did you mean 'agent'"):
        VehicleRule(around="agents")
    with pytest.raises(ValueError, match="no set of vehicles 'sumo3'; did you mean"):
        vehicles("sumo3")
    with pytest.raises(TypeError, match=r"vehicles\('ngsim'\) has no option 'rules'; did you mean 'rule'"):
        vehicles("ngsim", rules=None)
    with pytest.raises(ValueError, match="positive block, period"):
        SumoConfig(period=0.0)


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no fcd of"):
        vehicles("sumo", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"USA_US101-3_1_T-1.xml is not in"):
        vehicles("ngsim", tmp_path)
    with pytest.raises(ValueError, match="no scenario 'USA_US101-3'; did you mean"):
        card("USA_US101-3")


@pytest.mark.reference
def test_reference_counts(reference):
    whole = read_sumo(reference / "traffic" / "sumo" / "fcd_lc3.parquet")
    assert vehicle_windows(whole).n_scenes == 9873
    parts = part_by_vehicle(vehicle_windows(whole))
    assert sum(p.n_scenes for p in parts) == 9873
    assert all(set(a.context["agent"].tolist()).isdisjoint(b.context["agent"].tolist()) for a, b in (parts[:2], parts[1:], parts[::2]))


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore:.*jump sideways")
def test_windows_over_lane_jumps_are_as_counted_before(reference):
    whole = read_sumo(reference / "traffic" / "sumo" / "fcd.parquet", jumps="keep")
    assert vehicle_windows(whole).n_scenes == 7110 + 2706


@pytest.mark.reference
def test_ngsim(reference):
    folder = reference / "traffic" / "commonroad"
    for name in SCENARIOS:
        card(name).check(folder / f"{name}.xml")
    for split, share in (("vehicle", 0.1), ("scene", 1.0)):
        parts = ngsim(folder, split=split, share=share)
        assert sum(p.n_scenes for p in parts) == (488 if share == 1 else 32 + 50 + 113)
        agents = [set(p.context["agent"].tolist()) for p in parts]
        assert not agents[0] & agents[1] | agents[0] & agents[2] | agents[1] & agents[2]
    assert set(parts[2].context["run"].tolist()) == {3, 4}
    assert ngsim_lanes("USA_Peach-4_8_T-1", folder).inside(parts[2].x[parts[2].context["run"] == 4].numpy()).all()


def test_simulated_traffic_is_reproducible_and_cached(tmp_path):
    pytest.importorskip("sumo", reason="needs eclipse-sumo: pip install 'trajlab[traffic]'")
    small = SumoConfig(grid=2, block=80.0, depart=6.0, end=10.0, period=2.0, walkers=2.0)
    first = simulate_sumo(small, cache=tmp_path / "a")
    assert sorted(first.kind.unique().tolist()) == [0, 1]
    assert first.spacing == pytest.approx(0.1)
    assert first.source["config"]["grid"] == 2
    assert torch.equal(first.x, simulate_sumo(small, cache=tmp_path / "b").x)
    stored = next((tmp_path / "a").iterdir())
    before = stored.stat().st_mtime_ns
    simulate_sumo(small, cache=tmp_path / "a")
    assert stored.stat().st_mtime_ns == before
    with pytest.raises(RuntimeError, match=r"netgenerate .* failed with code"):
        simulate_sumo(SumoConfig(grid=2, block=1e-9, end=1.0), cache=tmp_path / "a")

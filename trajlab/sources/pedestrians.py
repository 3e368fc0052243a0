"""ETH/UCY pedestrians: windows of 8 given and 12 predicted frames, leave one scene out, as published.

A window is ``given + predicted`` consecutive frames, 0.4 s apart, with all pedestrians who are there throughout. Every beginning is used,
so neighbouring windows overlap: the number of windows is no sample size. Training and validation are the first and the last part of
the seven or six recordings that are not of the scene left out, cut where the published files are. Two rules are in use for windows with one
pedestrian only: most papers since Yuan, Weng, Ou and Kitani (AgentFormer, 2021) keep them (``least=1``), Gupta, Johnson, Fei-Fei, Savarese
and Alahi (Social GAN, 2018) do not (``least=2``). Figures under different rules cannot be compared.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from trajlab.catalog import unknown
from trajlab.data.adapters.eth_ucy import read_eth_ucy
from trajlab.data.batches import concat
from trajlab.data.splits import Split
from trajlab.sources.pedestrian_cards import card
from trajlab.types import Trajectories

__all__ = ["RECORDINGS", "SCENES", "WindowRule", "eth_ucy", "focal", "pedestrian_windows", "read_eth_ucy"]

#: file -> number of the run, and the frame at which the published validation part begins
RECORDINGS = {"biwi_eth": (0, 10240), "biwi_hotel": (1, 14400), "crowds_zara01": (2, 7110), "crowds_zara02": (3, 8420), "crowds_zara03": (4, 6030),
              "students001": (5, 3550), "students003": (6, 4320), "uni_examples": (7, 5940)}
#: scene -> the files it is tested on; ``eth_native`` is ETH with its true clock, from the original annotation
SCENES = {"eth": ("biwi_eth",), "hotel": ("biwi_hotel",), "univ": ("students001", "students003"), "zara1": ("crowds_zara01",),
          "zara2": ("crowds_zara02",), "eth_native": ("eth_obsmat",)}
NATIVE = "eth_obsmat"
AGENTS = ("complete", "present")


@dataclass(frozen=True)
class WindowRule:
    """Which windows are cut.

    Attributes:
        given, predicted: frames.
        least: pedestrians in a window: 1, or 2 as in Social GAN.
        agents: ``"complete"``: those seen in all frames (published). ``"present"``: those seen in the last given frame, of whom a forecast can
            be asked; frames before they enter and after they leave are masked out.
        hop: frames between beginnings.
        block: s; ``context["block"]`` numbers the stretches of this length, for error bars that know that windows overlap.
    """

    given: int = 8
    predicted: int = 12
    least: int = 1
    agents: str = "complete"
    hop: int = 1
    block: float = 20.0

    def __post_init__(self) -> None:
        if min(self.given, self.predicted, self.least, self.hop) < 1 or not self.block > 0:
            raise ValueError(f"{self}: numbers of at least 1 and a positive block were wanted")
        if self.agents not in AGENTS:
            raise ValueError(unknown("agents", self.agents, AGENTS))


def eth_ucy(folder: str | Path | None, scene: str, given: int = 8, predicted: int = 12, *, least: int = 1, agents: str = "complete", hop: int = 1,
            stretched: str = "warn") -> tuple[Trajectories, Trajectories, Trajectories]:
    """Training, validation and test windows of the ETH/UCY protocol that leaves one scene out.

    Args:
        folder: where the eight text files lie; None downloads them. ``"eth_native"`` also needs ``obsmat/eth_obsmat.txt`` there.
        scene: tested on: ``"eth"``, ``"hotel"``, ``"univ"``, ``"zara1"``, ``"zara2"``, or ``"eth_native"``.
        given, predicted, least, agents, hop: see `WindowRule`.
        stretched: ``"warn"``, ``"keep"`` or ``"correct"`` the clock of the ETH file, see `read_eth_ucy`.

    Returns:
        Train, validation, test. Each window is a scene in metres and seconds that keeps the clock of its recording: ``static["id"]``,
        ``context["run"]`` (the recording, see `RECORDINGS`), ``context["block"]``. ``source["left_out"]`` counts, over all windows, who was left out
        and why.

    Raises:
        FileNotFoundError, ConnectionError: a file is missing.
        ValueError: no such scene, a rule is out of range, or a file is damaged.

    Warns:
        UserWarning: the ETH file is stretched (once), or a file is not the one that the published counts hold for.
    """
    if scene not in SCENES:
        raise ValueError(unknown("scene", scene, SCENES))
    rule = WindowRule(given, predicted, least, agents, hop)
    tested = [*SCENES[scene], *(["biwi_eth"] if scene == "eth_native" else [])]
    train, validation = [], []
    for name, (_, begin) in RECORDINGS.items():
        if name not in tested:
            whole = _open(folder, name, stretched)
            bound = begin * 0.4 / 10 * (10 / 6 if whole.source["corrected"] else 1)
            first = whole.time[0] < bound - 1e-6
            train.append(pedestrian_windows(whole.frames(first.nonzero().flatten()), rule))
            validation.append(pedestrian_windows(whole.frames((~first).nonzero().flatten()), rule))
    test = [pedestrian_windows(_open(folder, name, stretched), rule) for name in SCENES[scene]]
    parts = _joined(train, scene, "train"), _joined(validation, scene, "validation"), _joined(test, scene, "test")
    Split(*parts)  # refuses parts that overlap
    return parts


def _open(folder: str | Path | None, name: str, stretched: str) -> Trajectories:
    path = card(name).path(folder)
    read = read_eth_ucy(path, stretched=stretched)
    if read.source["sha256"] != card(name).sha256:
        warnings.warn(f"{path} is not the customary file: its checksum differs, and published window counts need not hold", UserWarning, stacklevel=3)
    run = 0 if name == NATIVE else RECORDINGS[name][0]
    return read.replace(context={"run": torch.tensor([run])})


def _joined(parts: list[Trajectories], scene: str, name: str) -> Trajectories:
    whole = concat(parts)
    left_out: dict[str, int] = {}
    for part in parts:
        for reason, count in part.source["left_out"].items():
            left_out[reason] = left_out.get(reason, 0) + count
    _, block = torch.unique(whole.context["block"], return_inverse=True)
    files = [{k: p.source[k] for k in ("file", "sha256", "stretched", "corrected")} for p in parts]
    return whole.replace(context={**whole.context, "block": block},
                         source={"what": "ETH/UCY pedestrians", "scene": scene, "part": name, "files": files, "rule": parts[0].source["rule"],
                                 "left_out": left_out})


def pedestrian_windows(recording: Trajectories, rule: WindowRule | None = None) -> Trajectories:
    """Windows of one recording.

    Args:
        recording: one scene, such as `read_eth_ucy` returns.
        rule: which windows.

    Returns:
        One scene a window, in order of time; ``context["run"]`` and ``["block"]``; in ``source`` the rule, and under ``left_out`` how many
        pedestrians (counted in every window that was kept) were seen but left out, and why; masked ones are under ``masked``.

    Raises:
        ValueError: more than one scene, or no window fits.
    """
    rule = rule or WindowRule()
    if recording.n_scenes != 1:
        raise ValueError(f"windows of pedestrians are cut from one recording, got {recording.n_scenes} scenes")
    length = rule.given + rule.predicted
    starts = torch.arange(0, max(0, recording.n_frames - length + 1), rule.hop)
    seen = recording.mask[:, starts[:, None] + torch.arange(length)]
    there = seen.all(-1) if rule.agents == "complete" else seen[..., rule.given - 1]
    there &= there.sum(0) >= rule.least
    if not bool(there.any()):
        raise ValueError(f"no window of {length} frames with {rule.least} pedestrians fits: the recording has {recording.n_frames} frames, "
                         f"its longest track {int(recording.mask.sum(1).max())}; choose fewer frames")
    kept = there.any(0)
    left_out, masked = _reasons(seen[:, kept], ~there[:, kept]), _reasons(seen[:, kept], there[:, kept])
    source = {**recording.source, "rule": repr(rule), "left_out": left_out, "masked": masked}
    return _cut(recording, there, starts, length, rule.block).replace(source=source)


def _reasons(seen: Bool[Tensor, "node start frame"], of: Bool[Tensor, "node start"]) -> dict[str, int]:
    """Why pedestrians who were seen at all were not seen throughout."""
    some = of & seen.any(-1) & ~seen.all(-1)
    late, early = ~seen[..., 0], ~seen[..., -1]
    cases = {"entered late": late & ~early, "left early": early & ~late, "entered late and left early": late & early, "interrupted": ~late & ~early}
    return {name: int((some & case).sum()) for name, case in cases.items()}


def _cut(recording: Trajectories, there: Bool[Tensor, "node start"], starts: Int[Tensor, "start"], length: int, block: float) -> Trajectories:
    start, node = there.T.nonzero(as_tuple=True)
    kept, scene = torch.unique_consecutive(start, return_inverse=True)
    frame = starts[start][:, None] + torch.arange(length)
    time = recording.time[0][starts[kept][:, None] + torch.arange(length)]
    run = recording.context["run"].repeat(len(kept))
    return recording.replace(
        x=recording.x[node[:, None], frame], time=time, scene=scene, mask=recording.mask[node[:, None], frame], kind=recording.kind[node],
        extra={k: v[node[:, None], frame] for k, v in recording.extra.items()}, static={k: v[node] for k, v in recording.static.items()},
        context={"run": run, "block": run * 1_000_000 + (time[:, 0] / block).long()})


def focal(windows: Trajectories, given: int = 8, *, most: int = 5, radius: float = 5.0) -> Trajectories:
    """One scene for every pedestrian of every window: the pedestrian first, then the nearest neighbours at the last given frame.

    The protocol of Xu, Tan, Tan, Chen, Wang, Wang and Wang (EqMotion, 2023), which scores the first node only; there ``most`` is 1 for ETH, Hotel and
    Zara2 (no interaction at all), 3 for Zara1 and 2 for Univ.

    Args:
        windows: as `eth_ucy` returns them.
        given: frames.
        most: pedestrians in a scene, the first included.
        radius: of the neighbours, m.

    Returns:
        ``static["focal"]`` is True for the first node of a scene. The context of the windows is kept.

    Raises:
        ValueError: a number is out of range.
    """
    if not 1 <= given <= windows.n_frames or most < 1 or not radius >= 0:
        raise ValueError(f"given={given}, most={most}, radius={radius:g}: 1 to {windows.n_frames}, at least 1 and at least 0 were wanted")
    at, there = windows.x[:, given - 1], windows.mask[:, given - 1]
    nodes, origin = [], []
    for scene, (low, high) in enumerate(zip(windows.ptr.tolist(), windows.ptr.tolist()[1:])):
        far = torch.cdist(at[low:high], at[low:high]).masked_fill(~there[low:high], float("inf")).fill_diagonal_(-1.0)
        value, order = far.sort(dim=1, stable=True)
        nodes += [low + row[near <= radius][:most] for row, near in zip(order, value)]
        origin += [scene] * (high - low)
    size, node, pick = torch.tensor([len(n) for n in nodes]), torch.cat(nodes), torch.tensor(origin)
    first = torch.zeros(len(node), dtype=torch.bool)
    first[size.cumsum(0) - size] = True
    return windows.replace(
        x=windows.x[node], time=windows.time[pick], scene=torch.arange(len(size)).repeat_interleave(size), mask=windows.mask[node],
        kind=windows.kind[node], extra={k: v[node] for k, v in windows.extra.items()},
        static={**{k: v[node] for k, v in windows.static.items()}, "focal": first}, context={k: v[pick] for k, v in windows.context.items()},
        source={**windows.source, "focal": f"at most {most} within {radius:g} m"})

"""Data sets of the benchmark of motion: one agent a window, training, validation and test, kept in a cache."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch

from trajlab.evaluate.cache import Cache, key_of
from trajlab.types import Trajectories

__all__ = ["MotionSet", "alone", "share_of_windows", "thinned"]

PARTS = ("train", "validation", "test")
WANTED = ("title", "kind", "given", "cluster", "most", "steps")
FEWEST = 8  #: windows that a share leaves
Parts = tuple[Trajectories, Trajectories, Trajectories]
OPENED: dict[tuple[str, str], Parts] = {}  #: windows that this process has read, by cache and key


@dataclass(frozen=True)
class MotionSet:
    """A data set and the budget of training on it.

    Attributes:
        name, title: for tables.
        kind: ``pedestrians`` (ETH/UCY) or ``vehicles``.
        about: what the source is asked for: ``scene`` of pedestrians; ``name``, ``folder`` (below that of the data) and ``options`` of vehicles.
        given: frames.
        cluster: what is independent of each other: ``agent``, or a ``block`` of time, in the context of the windows.
        most: windows of each part, evenly taken.
        shares: of the training windows.
        steps: of the optimiser, for each share.
    """

    name: str
    title: str
    kind: str
    given: int
    cluster: str
    shares: tuple[float, ...]
    steps: tuple[int, ...]
    most: Mapping[str, int] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in ("pedestrians", "vehicles") or self.cluster not in ("agent", "block") or self.given < 2:
            raise ValueError(f"data set {self.name!r}: kind={self.kind!r}, cluster={self.cluster!r}, given={self.given}; pedestrians or vehicles, "
                             "agent or block, and at least 2 frames were wanted")
        if len(self.steps) != len(self.shares) or not all(0 < s <= 1 for s in self.shares):
            raise ValueError(f"data set {self.name!r}: shares={list(self.shares)} and steps={list(self.steps)}; a number of steps for each share "
                             "above 0 and up to 1 was wanted")

    @classmethod
    def of(cls, name: str, record: Mapping[str, Any], plan: Mapping[str, Any], quick: bool = False) -> Self:
        """From a table ``sets.NAME`` of a settings file; ``plan`` is the whole.

        Raises:
            ValueError: a setting is missing or out of range.
        """
        missing = [key for key in WANTED if key not in record]
        if missing:
            raise ValueError(f"data set {name!r} lacks {', '.join(missing)}; it has {', '.join(record)}")
        shares = tuple(record.get("shares", plan["shares"]))
        steps = dict(zip(shares, record["steps"], strict=True))
        if quick:
            shares = tuple(s for s in shares if s in plan["quick"]["shares"])
        factor = plan["quick"]["factor"] if quick else 1.0
        about = {key: value for key, value in record.items() if key in ("scene", "name", "folder", "options")}
        return cls(name, record["title"], record["kind"], record["given"], record["cluster"], shares,
                   tuple(max(20, round(factor * steps[s])) for s in shares), dict(record["most"]), about)

    def windows(self, cache: str | Path, data: str | Path | None) -> Parts:
        """Training, validation and test windows, from the cache or made.

        Args:
            cache: folder.
            data: folder of reference files, with ``eth_ucy``, ``commonroad``, ...; files that are not there are downloaded or simulated.

        Raises:
            FileNotFoundError, ConnectionError, ImportError: a file is missing, or SUMO is.
        """
        key = key_of(about=dict(self.about), most=dict(self.most), given=self.given, data=str(data))
        if (str(cache), key) not in OPENED:
            OPENED[str(cache), key] = self._stored(Cache(Path(cache)), key, None if data is None else Path(data))
        return OPENED[str(cache), key]

    def _stored(self, store: Cache, key: str, data: Path | None) -> Parts:
        label = "".join(c if c.isalnum() else "-" for c in self.name)
        made: list[Trajectories] = []

        def part(k: int) -> Trajectories:
            if not made:
                made.extend(self.made(data))
            return made[k]

        train, validation, test = (store.noun(f"{label}-{name}", key, lambda k=k: part(k)) for k, name in enumerate(PARTS))
        return train, validation, test

    def made(self, data: Path | None) -> tuple[Trajectories, ...]:
        """Without a cache."""
        with warnings.catch_warnings():  # that ETH is stretched is said where its table is
            warnings.filterwarnings("ignore", category=UserWarning)
            return tuple(thinned(part, self.most.get(name, part.n_scenes)) for name, part in zip(PARTS, self._read(data), strict=True))

    def _read(self, data: Path | None) -> tuple[Trajectories, ...]:
        if self.kind == "pedestrians":
            from trajlab.sources.pedestrians import eth_ucy

            return tuple(alone(part) for part in eth_ucy(None if data is None else data / "eth_ucy", self.about["scene"], self.given))
        from trajlab.sources.vehicles import vehicles

        folder = None if data is None else data / self.about["folder"]
        return vehicles(self.about["name"], folder if folder is not None and folder.is_dir() else None, **self.about.get("options", {}))


def alone(windows: Trajectories) -> Trajectories:
    """Every agent that was seen throughout as a window of its own."""
    kept = windows.mask.all(-1).nonzero()[:, 0]
    origin = windows.scene[kept]
    return windows.replace(
        x=windows.x[kept], time=windows.time[origin], scene=torch.arange(len(kept)), mask=windows.mask[kept], kind=windows.kind[kept],
        extra={k: v[kept] for k, v in windows.extra.items()}, static={k: v[kept] for k, v in windows.static.items()},
        context={k: v[origin] for k, v in windows.context.items()})


def thinned(windows: Trajectories, most: int) -> Trajectories:
    """At most so many windows, evenly taken."""
    count = windows.n_scenes
    return windows if count <= most else windows.scenes(torch.linspace(0, count - 1, most).round().long())


def share_of_windows(windows: Trajectories, share: float, seed: int) -> Trajectories:
    """A share of the windows at random, at least `FEWEST`; smaller shares lie within larger ones of the same seed.

    Raises:
        ValueError: a share that is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share:g}; above 0 and at most 1 was wanted")
    count = windows.n_scenes
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    kept = order[: min(count, max(FEWEST, round(share * count)))]
    return windows.scenes(kept.sort().values)

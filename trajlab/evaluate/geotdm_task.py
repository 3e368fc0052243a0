"""A data set of windows on which forecasters compete: its settings as data, and its training, validation and test windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import trajlab
from trajlab.catalog import unknown
from trajlab.evaluate.cache import Cache, key_of
from trajlab.types import Trajectories

__all__ = ["KINDS", "Published", "Task"]

KINDS = ("last", "velocity", "ridge", "equivariant_ridge", "gaussian", "egnn", "geotdm")
COLUMNS = ("draws", "best")
PARTS = ("train", "validation", "test")
SEED = 0
VALIDATION_SHARE = 16  #: one of so many replicas of a molecule is for validation


@dataclass(frozen=True)
class Published:
    """Numbers of the literature, as remembered and after a far larger budget: for orientation, never judged.

    Attributes:
        data: on what data.
        column: ``draws`` (mean over the draws) or ``best`` (best of K).
        rows: method to its ADE and FDE.

    Raises:
        ValueError: another column.
    """

    data: str = ""
    column: str = "draws"
    rows: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.column not in COLUMNS:
            raise ValueError(unknown("column of published numbers", self.column, COLUMNS))


@dataclass(frozen=True)
class Task:
    """What is done on one data set.

    Attributes:
        name, title: short and long.
        source: where the windows come from: ``kind`` is ``nbody``, ``molecule`` or ``pedestrians``, the rest are settings of it.
        given: number of given frames.
        contenders: settings of the methods by name; ``kind`` is one of `KINDS`. The last one is judged.
        published: numbers of the literature.
        cluster: name of the context value that numbers independent systems.
        minutes: of training, the same for every method that is trained.
        epochs: instead of minutes, for the published protocol.
        train: changes of the training of all methods that are trained.
        config: changes of the judged configuration.
        draws: of methods that draw.
        best_of: K of the best of K.
        evaluations: calls of the net a draw.
        many: the sampler that the default is held against: ``evaluations`` of ancestral sampling, on so many ``windows`` and ``draws``. Empty to
            leave it out.
        collision: distance below which two agents collide; None for things that do not.
        seed: of the training and the draws.

    Raises:
        ValueError: no contenders, or one of an unknown kind.
    """

    name: str
    title: str
    source: Mapping[str, Any]
    given: int
    contenders: Mapping[str, Mapping[str, Any]]
    published: Published = field(default_factory=Published)
    cluster: str = "run"
    minutes: float = 3.0
    epochs: int | None = None
    train: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    draws: int = 20
    best_of: int = 5
    evaluations: int = 15
    many: Mapping[str, int] = field(default_factory=dict)
    collision: float | None = None
    seed: int = SEED

    def __post_init__(self) -> None:
        if not self.contenders:
            raise ValueError(f"{self.name}: there are no contenders")
        for name, settings in self.contenders.items():
            if settings.get("kind") not in KINDS:
                raise ValueError(f"{self.name}, {name}: {unknown('kind of contender', str(settings.get('kind')), KINDS)}")

    @classmethod
    def of(cls, name: str, record: Mapping[str, Any], full: bool = False, minutes: float | None = None) -> Self:
        """From a table of a TOML file, with the changes of its ``full`` table where asked for.

        Raises:
            ValueError: an entry is not known.
        """
        values = {k: v for k, v in record.items() if k != "full"} | (dict(record.get("full", {})) if full else {})
        names = [f.name for f in fields(cls) if f.name != "name"]
        for entry in values:
            if entry not in names:
                raise ValueError(f"{name}: {unknown('entry of a task', entry, names)}")
        values["published"] = Published(**values.get("published", {}))
        if minutes is not None:
            values |= {"minutes": minutes, "epochs": None}
        return cls(name=name, **values)

    @property
    def judged(self) -> str:
        """The last contender."""
        return list(self.contenders)[-1]

    @property
    def trained(self) -> list[str]:
        """Names of the contenders that are trained within the budget."""
        return [name for name, settings in self.contenders.items() if settings["kind"] in ("egnn", "geotdm")]

    def scored(self, test: Trajectories) -> Trajectories:
        """The test windows with what is not scored hidden: others than the focal agent, where there is one."""
        focal = test.static.get("focal")
        return test if focal is None else test.replace(mask=test.mask & focal.bool()[:, None])

    def key(self, **inputs: Any) -> str:
        """Content key of something made from the data."""
        return key_of(version=trajlab.__version__, source=dict(self.source), given=self.given, **inputs)

    def provenance(self) -> dict[str, Any]:
        return asdict(self)

    def windows(self, cache: Cache, data: Path | None) -> tuple[Trajectories, Trajectories, Trajectories]:
        """Training, validation and test windows, kept in the cache.

        Args:
            cache: where they are kept.
            data: folder of reference files, or None to download them.

        Raises:
            FileNotFoundError, ConnectionError: a reference file is missing.
            ValueError: an unknown source, or settings that it refuses.
        """
        key = self.key()
        paths = {part: cache.path(part, key, ".zarr") for part in PARTS}
        if not all(path.exists() for path in paths.values()):
            made = _make(dict(self.source), self.given, data)
            for part, windows in zip(PARTS, made, strict=True):
                cache.noun(part, key, lambda: windows.replace(x=windows.x.float(), extra={}))  # noqa: B023 - called at once
        train, validation, test = (cache.noun(part, key, lambda: None) for part in PARTS)
        return train, validation, test


def _make(source: dict[str, Any], given: int, data: Path | None) -> tuple[Trajectories, Trajectories, Trajectories]:
    makers: dict[str, Any] = {"nbody": _nbody, "molecule": _molecule, "pedestrians": _pedestrians}
    kind = source.pop("kind", "")
    if kind not in makers:
        raise ValueError(unknown("source", str(kind), list(makers)))
    return makers[kind](data=data, given=given, **source)


def _nbody(system: str, train: int, validation: int, test: int, recipe: str, data: Path | None, given: int, frames: int = 30,
           ) -> tuple[Trajectories, Trajectories, Trajectories]:
    from trajlab.sources.nbody import nbody

    del data, given
    one, two, three = (nbody(system, n, recipe, seed=SEED + k, frames=frames) for k, n in enumerate((train, validation, test)))
    return one, two, three


def _molecule(name: str, segments: int, per: int, hop: int, test: int, data: Path | None, given: int, frames: int = 30, replicas: int = 64,
              decorrelate: float = 100.0, **changes: Any) -> tuple[Trajectories, Trajectories, Trajectories]:
    """Overlapping windows of some replicas for training and of others for validation; test windows of a simulation of their own, apart."""
    from trajlab.sources.windows_md import molecule_windows

    del given
    common = {"folder": None if data is None else data / "md" / "sgdml_models", "quiet": True, "frames": frames, **changes}
    whole = molecule_windows(name, segments * per, per=per, hop=hop, seed=SEED, replicas=min(replicas, segments), decorrelate=decorrelate, **common)
    judged = molecule_windows(name, test, seed=SEED + 1, replicas=min(replicas, test), decorrelate=2 * decorrelate, **common)
    late = whole.context["replica"] >= (count := int(whole.context["replica"].max()) + 1) - max(1, count // VALIDATION_SHARE)
    return whole.scenes((~late).nonzero().flatten()), whole.scenes(late.nonzero().flatten()), judged


def _pedestrians(scene: str, data: Path | None, given: int, most: int = 3, every: int = 1, **changes: Any,
                 ) -> tuple[Trajectories, Trajectories, Trajectories]:
    """One window for every pedestrian with the nearest others at the last given frame, ``most`` in all; of the test windows, which overlap by all
    frames but one, one of ``every``."""
    from trajlab.sources.pedestrians import eth_ucy, focal

    parts = eth_ucy(None if data is None else data / "traffic" / "eth_ucy", scene, given, stretched="keep", **changes)
    train, validation, test = (focal(part, given, most=most) for part in (*parts[:2], parts[2].scenes(slice(0, None, every))))
    return train, validation, test

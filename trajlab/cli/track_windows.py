"""From a file of tracks to windows to be forecast, for `trajlab.cli.forecast_tracks`."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from trajlab.cli.forecast_tracks import AHEAD, GIVEN, TrackOptions, given_columns
from trajlab.data.batches import concat
from trajlab.data.windows import windows
from trajlab.types import Trajectories

if TYPE_CHECKING:
    from trajlab.data.lanes import LaneMap

__all__ = ["Task", "cut", "lanes_of", "recorded"]

MOST = 400  #: windows, where nobody says
BLOCK = 20.0  #: s, of the stretches of time that are taken for independent
UNITS = {"position_unit": "position", "time_unit": "time", "speed_unit": "speed", "heading_unit": "heading"}


@dataclass(frozen=True)
class Task:
    """What is to be forecast.

    Attributes:
        past: given frames, a scene a window.
        truth: the whole windows; None where nobody knows what comes.
        all_windows: for methods that fit something; their future is masked out where none is known.
        given, steps: frames.
        fits: whether any window of given and predicted frames fits into the recording.
        notes: what was left out, in words.
    """

    past: Trajectories
    truth: Trajectories | None
    all_windows: Trajectories
    given: int
    steps: int
    fits: bool
    notes: list[str] = field(default_factory=list)


def recorded(options: TrackOptions) -> Trajectories:
    """The recording in metres and seconds, on a plane.

    Raises:
        ValueError: as the reader of the file says, options of tables for a file that is none, or other units or dimensions.
        TypeError: the file holds no trajectories.
    """
    from trajlab.data.adapters.tracks import read_tracks
    from trajlab.data.read import kind_of_file, read

    compressed = options.data.name.endswith((".csv.gz", ".tsv.gz"))
    kind = kind_of_file(options.data)
    asked = {k: v for k, v in dataclasses.asdict(options.reading).items() if v != getattr(type(options.reading)(), k)}
    columns = given_columns(options)
    if kind == "table of tracks" or (compressed and kind == "ASE file") or (columns and options.data.suffix in (".csv", ".tsv", ".txt", ".parquet")):
        return read_tracks(options.data, columns or None, **{UNITS.get(k, k): v for k, v in asked.items()})
    if columns or asked:
        name = next(iter({**columns, **asked})).replace("_", "-")
        raise ValueError(f"--{name} says how a table of tracks is read, but {options.data} is read as {kind}, which says so itself")
    found = read(options.data)
    if not isinstance(found, Trajectories):
        raise TypeError(f"{options.data} holds a {type(found).__name__}; agents that are followed were wanted")
    if found.dim != 2 or (found.units.length, found.units.time) != ("m", "s"):
        raise ValueError(f"{options.data} holds positions in {found.dim} dimensions, {found.units.length} and {found.units.time}; motion in the "
                         "plane, in m and s, was wanted. Roll-outs and other windows: trajlab forecast RUN --start")
    return found


def lanes_of(options: TrackOptions) -> LaneMap | None:
    """The map: that of --lanes, or that which the data hold themselves.

    Raises:
        ValueError: no reader knows such a map.
    """
    from trajlab.data.read import kind_of_file

    path = options.lanes
    if path is None:
        if kind_of_file(options.data) != "CommonRoad scenario":
            return None
        path = options.data
    if path.suffix == ".xml":
        from trajlab.data.adapters.commonroad import commonroad_lanes as lanes
    elif path.suffix == ".json" or path.is_dir():
        from trajlab.data.adapters.argoverse import argoverse_lanes as lanes
    elif path.suffix in (".osm", ".osm_xy"):
        from trajlab.data.adapters.interaction import interaction_lanes as lanes  # type: ignore[assignment]
    else:
        raise ValueError(f"--lanes {path}: a CommonRoad .xml, an Argoverse .json or a lanelet2 .osm was wanted")
    return lanes(path)


def frames_of(text: str, spacing: float) -> int:
    """``"8"``: frames; ``"3.2s"``: seconds.

    Raises:
        ValueError: neither, or less than one frame.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*(s?)", text.strip())
    if not match or (not match[2] and "." in match[1]):
        raise ValueError(f"--given {text}: a number of frames (8) or seconds (3.2s) was wanted")
    frames = round(float(match[1]) / spacing) if match[2] else int(match[1])
    if frames < 1:
        raise ValueError(f"--given {text} is less than one frame of {spacing:g} s")
    return frames


def lengths(options: TrackOptions, spacing: float, model: Any) -> tuple[int, int]:
    """Given and predicted frames.

    Raises:
        ValueError: less than a frame, or not what the model was fitted with.
    """
    fitted = (getattr(model, "given", 0) or model.config.given) if model is not None else 0
    given = frames_of(options.given, spacing) if options.given is not None else fitted or max(2, round(GIVEN / spacing))
    if fitted and given != fitted:
        raise ValueError(f"--given {options.given} is {given} frames of {spacing:g} s, and the model was fitted on {fitted}; leave --given out")
    if options.steps is not None:
        return given, options.steps
    if options.seconds is not None:
        steps = round(options.seconds / spacing)
        if steps < 1:
            raise ValueError(f"--seconds {options.seconds:g} is less than one frame of {spacing:g} s")
        return given, steps
    ahead = (getattr(model, "ahead", 0) or model.config.predicted) if model is not None else 0
    return given, ahead or max(1, round(AHEAD / spacing))


def cut(recording: Trajectories, options: TrackOptions, model: Any) -> Task:
    """Windows to be judged, or the last frames of each recording.

    Raises:
        ValueError: no window fits.
    """
    spacing = recording.spacing
    given, steps = lengths(options, spacing, model)
    try:
        every = _windows(recording, given, steps, options)
    except ValueError as error:
        if options.past == "first":
            longest = int(recording.mask.sum(1).max())
            raise ValueError(f"no window of {given} given and {steps} predicted frames of {spacing:g} s fits: the longest track has {longest} "
                             "frames. Choose fewer (--given, --steps), or continue the last frames (--past last)") from error
        every = None
    if every is not None and options.past != "last":
        windows_, notes = _some(every, options.windows or MOST)
        return Task(windows_.frames(slice(0, given)), windows_, every, given, steps, True, [*notes, *_left_out(recording, every)])
    past, notes = _last(recording, given)
    return Task(past, None, _padded(past, steps, spacing) if every is None else every, given, steps, every is not None, notes)


def _windows(recording: Trajectories, given: int, steps: int, options: TrackOptions) -> Trajectories:
    found = windows(_everyone(recording), given + steps, hop=options.hop or max(1, given // 4), whole="node")
    run = found.context["run"]
    block = run * 1_000_000 + ((found.time[:, 0] - found.time[:, 0].min()) / BLOCK).long()
    return found.replace(context={**found.context, "block": block}, source=_plain(recording))


def _everyone(recording: Trajectories) -> Trajectories:
    """Without the marks of agents that a benchmark is about: all are forecast and judged."""
    return recording.replace(static={k: v for k, v in recording.static.items() if k != "focal"})


def _plain(recording: Trajectories) -> dict[str, Any]:
    """Provenance without the names of nodes, which are others in windows."""
    return {k: v for k, v in recording.source.items() if k != "id"}


def _some(every: Trajectories, most: int) -> tuple[Trajectories, list[str]]:
    count = every.n_scenes
    if count <= most:
        return every, []
    return every.scenes([k * count // most for k in range(most)]), [f"Of {count} windows {most} were taken, evenly chosen (--windows)."]


def _left_out(recording: Trajectories, every: Trajectories) -> list[str]:
    """How many agents are in no window."""
    if "id" not in every.static:
        return []
    pair = lambda noun: {(int(r), int(i)) for r, i in zip(noun.context["run"][noun.scene], noun.static["id"])}  # noqa: E731
    known = recording.replace(context={"run": torch.arange(recording.n_scenes), **recording.context})
    all_of, missing = pair(known), len(pair(known) - pair(every))
    return [f"{missing} of {len(all_of)} agents are in no window: they were seen for too short, or with gaps."] if missing else []


def _last(recording: Trajectories, given: int) -> tuple[Trajectories, list[str]]:
    """The last given frames of each recording, with the agents that were seen throughout."""
    parts, missing = [], 0
    for k in range(recording.n_scenes):
        one = _everyone(recording.scenes([k]))
        end = int(one.mask.any(0).nonzero().max()) + 1
        if end < given:
            raise ValueError(f"{given} given frames were wanted, and a recording has {end}; choose fewer (--given)")
        short = one.frames(slice(end - given, end))
        try:
            part = windows(short, given, whole="node")
        except ValueError as error:
            raise ValueError(f"nobody was seen throughout the last {given} frames of a recording; choose fewer (--given), or --past first") from error
        parts.append(part.replace(source=_plain(recording)))
        missing += int(short.mask[:, -1].sum()) - part.n_nodes
    notes = [f"{missing} agents that were there at the end were not seen throughout the last {given} frames, and are left out."] if missing else []
    return parts[0] if len(parts) == 1 else concat(parts), notes


def _padded(past: Trajectories, steps: int, spacing: float) -> Trajectories:
    """Windows whose future is masked out."""
    grow = lambda value: torch.cat([value, value[:, -1:].expand(-1, steps, *value.shape[2:])], 1)  # noqa: E731
    time = torch.cat([past.time, past.time[:, -1:] + spacing * torch.arange(1, steps + 1, dtype=torch.float64)], 1)
    mask = torch.cat([past.mask, torch.zeros(past.n_nodes, steps, dtype=torch.bool)], 1)
    return past.replace(x=grow(past.x), time=time, mask=mask, extra={k: grow(v) for k, v in past.extra.items()})

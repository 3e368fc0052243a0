"""Tables of tracks (one row a sighting of one agent), to and from `Trajectories`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trajlab.catalog import unknown
from trajlab.types import Trajectories
from trajlab.units import Units

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["from_table", "read_table", "to_table"]


def from_table(
    table: pd.DataFrame, *, time: str = "time", node: str = "id", position: Sequence[str] = ("x", "y"), scene: str | None = None,
    kind: str | None = None, extra: Mapping[str, Sequence[str]] | None = None, units: Units | None = None,
) -> Trajectories:
    """Trajectories from rows of (time, id, position); every agent has its own span, and is masked out where it was not seen.

    The frames of a scene are the times that occur in it. Rows without time, id or position are dropped, and so are repeated sightings of
    one agent at one time but the first; what was dropped is counted in a warning and in the provenance.

    Args:
        table: one row a sighting, in any order.
        time, node: the columns of the clock and of the agent.
        position: columns of the position.
        scene: column of the recording; without it all rows are one scene.
        kind: column of the class of agent; text is numbered, see ``source["kinds"]``.
        extra: further values a sighting, ``{"velocity": ("vx", "vy")}``; the sighting counts as unobserved where they are missing.
        units: metres and seconds by default.

    Raises:
        ValueError: a column is missing, or no row is left.
    """
    extra = dict(extra or {})
    wanted = [time, node, *position, *([scene] if scene else []), *([kind] if kind else []), *(c for cs in extra.values() for c in cs)]
    for column in wanted:
        if column not in table.columns:
            raise ValueError(f"the table has no such column: {unknown('column', str(column), map(str, table.columns))}")
    table, dropped = _clean(table, time, node, scene, [time, *position, *(c for cs in extra.values() for c in cs)])
    scenes, which = np.unique(table[scene].to_numpy() if scene else np.zeros(len(table), dtype=int), return_inverse=True)
    ids, agent = np.unique(table[node].to_numpy(), return_inverse=True)
    tracks, row = np.unique(which * len(ids) + agent, return_inverse=True)
    clock, frame, lengths = _clocks(table[time].to_numpy(np.float64), which, len(scenes))
    shape = (len(tracks), clock.shape[1])
    mask = np.zeros(shape, dtype=bool)
    mask[row, frame] = True

    def grid(columns: Sequence[str]) -> torch.Tensor:
        values = np.zeros((*shape, len(columns)))
        values[row, frame] = table[list(columns)].to_numpy(np.float64)
        return torch.from_numpy(values)

    source = {"reader": "table", "dropped": dropped, "frames": lengths.tolist(), "id": [_python(i) for i in ids[tracks % len(ids)]]}
    kinds = torch.zeros(len(tracks), dtype=torch.long)
    if kind:
        names, code = np.unique(table[kind].to_numpy(), return_inverse=True)
        whole = np.issubdtype(names.dtype, np.integer)
        kinds[torch.from_numpy(row)] = torch.from_numpy((names.astype(np.int64) if whole else np.arange(len(names)))[code])
        source |= {} if whole else {"kinds": [str(n) for n in names]}
    if scene:
        source["scenes"] = [_python(s) for s in scenes]
    return Trajectories(
        x=grid(position), time=torch.from_numpy(clock), scene=torch.from_numpy(tracks // len(ids)), mask=torch.from_numpy(mask),
        kind=kinds, extra={name: grid(columns) for name, columns in extra.items()}, context={"run": torch.arange(len(scenes))},
        units=units or Units.si(), source=source,
    )


def to_table(trajectories: Trajectories) -> pd.DataFrame:
    """One row a sighting: ``scene, id, time, x, y, ...``, ``kind`` and the columns of each extra. Ids are those of the table, or node numbers."""
    import pandas as pd

    node, frame = (i.cpu() for i in trajectories.mask.nonzero(as_tuple=True))
    scene = trajectories.scene.cpu()[node]
    names = np.array(trajectories.source.get("id", np.arange(trajectories.n_nodes)))
    columns: dict[str, Any] = {"scene": scene.numpy(), "id": names[node.numpy()], "time": trajectories.time.cpu()[scene, frame].numpy()}
    axis = ["x", "y", "z"] if trajectories.dim <= 3 else [f"x{k}" for k in range(trajectories.dim)]
    columns |= {axis[k]: trajectories.x[..., k].cpu()[node, frame].numpy() for k in range(trajectories.dim)}
    columns["kind"] = trajectories.kind.cpu()[node].numpy()
    for name, value in trajectories.extra.items():
        flat = value.cpu()[node, frame].flatten(1) if value.ndim > 2 else value.cpu()[node, frame][:, None]
        columns |= {f"{name}_{k}" if flat.shape[1] > 1 else name: flat[:, k].numpy() for k in range(flat.shape[1])}
    return pd.DataFrame(columns)


def read_table(path: str | Path, **options: Any) -> Trajectories:
    """Trajectories from a ``.csv``, ``.tsv``, ``.parquet`` or ``.feather`` table of tracks; options are those of `from_table`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is cut short or no table, or as `from_table`.
    """
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".feather": pd.read_feather}
    try:
        table = pd.read_csv(path, sep="\t") if path.suffix in (".tsv", ".txt") else readers[path.suffix](path)
    except KeyError as error:
        raise ValueError(f"{path} ends in {error}; a table ends in {', '.join(readers)}, .tsv or .txt") from error
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as a table ({error}); it may be cut short") from error
    result = from_table(table, **options)
    return result.replace(source={"file": path.name, **result.source})


def _clean(table: pd.DataFrame, time: str, node: str, scene: str | None, numbers: list[str]) -> tuple[pd.DataFrame, dict[str, int]]:
    """Rows that can be used, and how many could not."""
    import pandas as pd

    values = table[numbers].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    finite = np.isfinite(values).all(1) & table[node].notna().to_numpy() & (table[scene].notna().to_numpy() if scene else True)
    kept = table[finite]
    twice = kept.duplicated([time, node, *([scene] if scene else [])]).to_numpy()
    dropped = {"rows": len(table), "not finite": int((~finite).sum()), "repeated": int(twice.sum())}
    if not len(kept):
        raise ValueError(f"no row is left of {len(table)}: {dropped['not finite']} lack a finite {', '.join(numbers)} or an id")
    if dropped["not finite"] or dropped["repeated"]:
        warnings.warn(
            f"dropped {dropped['not finite']} of {len(table)} rows that lack a finite {', '.join(numbers)} or an id, "
            f"and {dropped['repeated']} repeated sightings of one id at one time", stacklevel=3,
        )
    return kept[~twice], dropped


def _clocks(time: np.ndarray, which: np.ndarray, n_scenes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The clock of each scene, filled up to equal length, the frame of each row, and each scene's number of frames."""
    times, code = np.unique(time, return_inverse=True)
    used, frame_of = np.unique(which * len(times) + code, return_inverse=True)
    owner = used // len(times)
    lengths = np.bincount(owner, minlength=n_scenes)
    first = np.concatenate([[0], lengths.cumsum()[:-1]])
    clock = np.zeros((n_scenes, lengths.max()))
    for s in range(n_scenes):
        own = times[used[first[s] : first[s] + lengths[s]] % len(times)]
        step = own[-1] - own[-2] if len(own) > 1 else 1.0
        clock[s] = np.concatenate([own, own[-1] + step * np.arange(1, clock.shape[1] - len(own) + 1)])
    return clock, frame_of - first[owner[frame_of]], lengths


def _python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value

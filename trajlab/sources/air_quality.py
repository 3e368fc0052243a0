"""Sensor graphs: hourly air quality of Beijing (PRSA, 12 stations), graphs of Chinese stations, and a week of METR-LA's traffic speeds.

A set is one scene whose nodes are the sensors: ``x [node time 1]`` is the quantity that is forecast, with a mask where it is missing; what else was
measured is in ``extra``, each with its own flags of what was seen, since it is missing at other times. The clock counts from 1970-01-01 00:00 of the
local clock, so that hour, weekday and season follow from it: the unit is hours (air) or minutes (traffic).
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trajlab.dynamics.graph_transport import wind_vector
from trajlab.sources.air_quality_cards import COORDINATES, STATIONS, sensor_card, station_card
from trajlab.types import Trajectories, Units

__all__ = ["POLLUTANTS", "WEATHER", "compass", "metr_la_week", "prsa", "read_prsa", "station_list", "time_parts"]

POLLUTANTS = ("PM10", "SO2", "NO2", "CO", "O3")
WEATHER = ("TEMP", "PRES", "DEWP", "RAIN")
POINTS = ("N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE", "S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW")
DATE = ("year", "month", "day", "hour")


def compass(words: Sequence[str]) -> Float[np.ndarray, "word"]:
    """Degrees clockwise from north of compass words (16 points); NaN for an empty word or NA.

    Raises:
        ValueError: another word.
    """
    table = {word: 22.5 * k for k, word in enumerate(POINTS)} | dict.fromkeys(("", "NA", "nan"), np.nan)
    strange = sorted({str(w) for w in words if w not in table})
    if strange:
        raise ValueError(f"{strange[0]!r} is no point of the compass; {', '.join(POINTS)} or NA was wanted")
    return np.array([table[w] for w in words])


def read_prsa(path: str | Path, *, stuck: int | None = None) -> Trajectories:
    """One station's file of UCI's Beijing Multi-Site Air Quality: hourly, with columns year, month, day, hour, PM2.5, ..., wd, WSPM, station.

    Args:
        path: csv, also gzipped.
        stuck: hours; a value that is repeated for so long is a failed sensor, and masked. All values are kept by default.

    Returns:
        ``x``: PM2.5, ug/m3. ``extra``: ``pollutants`` (`POLLUTANTS`), ``weather`` (`WEATHER`) and ``wind`` (towards east and north, m/s), and
        ``pollutants_seen``, ``weather_seen``, ``wind_seen``. ``static["lon"]``, ``["lat"]`` where the station is known. ``source["dropped"]``
        counts hours without a value of PM2.5 by reason.

    Raises:
        ValueError: a column is missing, a field is no number, a date comes twice, or the hours do not follow each other.
    """
    columns, words, name, blank = _columns(Path(path))
    time = _hours(columns, Path(path))
    pm, seen = _known(columns["PM2.5"])
    dropped = {"missing": int((~seen).sum()), "blank fields, all columns": blank}
    if stuck is not None:
        held = seen & _stuck(pm, stuck)
        seen, dropped["constant"] = seen & ~held, int(held.sum())
    pollutants, weather = (np.stack([columns[c] for c in group], -1) for group in (POLLUTANTS, WEATHER))
    degrees = compass(words)
    wind = wind_vector(torch.as_tensor(columns["WSPM"]), torch.as_tensor(degrees)).numpy()
    extra: dict[str, Tensor] = {}
    for key, value in (("pollutants", pollutants), ("weather", weather), ("wind", wind)):
        filled, there = _known(value)
        extra[key] = torch.as_tensor(filled, dtype=torch.float32)[None]
        extra[f"{key}_seen"] = torch.as_tensor(there.all(-1) if key == "wind" else there)[None]
    place = COORDINATES.get(name)
    static = {} if place is None else {"lon": torch.tensor([place[0]], dtype=torch.float64), "lat": torch.tensor([place[1]], dtype=torch.float64)}
    return Trajectories(torch.as_tensor(pm, dtype=torch.float32)[None, :, None], torch.as_tensor(time)[None], torch.zeros(1, dtype=torch.long),
                        torch.as_tensor(seen)[None], extra=extra, static=static, context={"run": torch.zeros(1, dtype=torch.long)},
                        units=Units(time="h"), source={"what": "PM2.5, ug/m3", "stations": (name,), "dropped": dropped})


def prsa(folder: str | Path, stations: Sequence[str] | None = None, *, stuck: int | None = None) -> Trajectories:
    """All twelve stations (or some) of PRSA Beijing as one scene, as `read_prsa` reads them.

    Args:
        folder: with the files ``PRSA_Data_<station>_20130301-20170228.csv.gz``, or with a folder ``prsa`` that has them.
        stations: names; see `trajlab.sources.air_quality_cards.STATIONS`.
        stuck: as in `read_prsa`.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: an unknown station, a changed file, or as `read_prsa`.
    """
    names = list(STATIONS) if stations is None else list(stations)
    if not names:
        raise ValueError(f"no station was named; choose among {', '.join(STATIONS)}")
    place = Path(folder) / "prsa" if (Path(folder) / "prsa").is_dir() else Path(folder)
    parts = [read_prsa(station_card(n).fetch(place), stuck=stuck) for n in names]
    join = lambda key, field: torch.cat([getattr(p, field)[key] for p in parts])  # noqa: E731
    dropped = {k: sum(p.source["dropped"].get(k, 0) for p in parts) for k in parts[0].source["dropped"]}
    return parts[0].replace(
        x=torch.cat([p.x for p in parts]), mask=torch.cat([p.mask for p in parts]), scene=torch.zeros(len(parts), dtype=torch.long),
        kind=torch.zeros(len(parts), dtype=torch.long), extra={k: join(k, "extra") for k in parts[0].extra},
        static={k: join(k, "static") for k in parts[0].static}, source={**parts[0].source, "stations": tuple(names), "dropped": dropped})


def metr_la_week(folder: str | Path) -> tuple[Trajectories, Float[Tensor, "node node"]]:
    """The first week of METR-LA (207 loop detectors, every 5 min, mph) and its adjacency, which is symmetric here.

    Args:
        folder: with ``los_speed.csv.gz`` and ``los_adj.csv.gz``, or with a folder ``sensors`` that has them.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a changed file.
    """
    place = Path(folder) / "sensors" if (Path(folder) / "sensors").is_dir() else Path(folder)
    text = gzip.decompress(sensor_card("los_speed.csv.gz").fetch(place).read_bytes())
    names = text.split(b"\n", 1)[0].decode().strip().split(",")
    speed = torch.as_tensor(np.loadtxt(io.BytesIO(text), delimiter=",", skiprows=1, dtype=np.float32))
    adjacency = np.loadtxt(io.BytesIO(gzip.decompress(sensor_card("los_adj.csv.gz").fetch(place).read_bytes())), delimiter=",", dtype=np.float32)
    first = float((np.datetime64("2012-03-01T00:00") - np.datetime64("1970-01-01T00:00")) / np.timedelta64(1, "m"))
    time = first + 5.0 * torch.arange(len(speed), dtype=torch.float64)
    series = Trajectories(speed.T[..., None].contiguous(), time[None], torch.zeros(speed.shape[1], dtype=torch.long),
                          context={"run": torch.zeros(1, dtype=torch.long)}, units=Units(time="min"),
                          source={"what": "speed, mph", "stations": tuple(names), "dropped": {},
                                  "note": "gaps were interpolated before they came to us"})
    return series, torch.as_tensor(adjacency)


def station_list(path: str | Path) -> tuple[tuple[str, ...], Float[Tensor, "node"], Float[Tensor, "node"]]:
    """Names, longitudes and latitudes (degrees) of a ``station.csv`` with columns station, longitude, latitude.

    Raises:
        ValueError: a column is missing.
    """
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    missing = [c for c in ("station", "longitude", "latitude") if not rows or c not in rows[0]]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; columns station, longitude, latitude were wanted")
    number = lambda c: torch.tensor([float(r[c]) for r in rows], dtype=torch.float64)  # noqa: E731
    return tuple(r["station"] for r in rows), number("longitude"), number("latitude")


def time_parts(series: Trajectories, shares: Sequence[float] = (0.7, 0.1, 0.2)) -> tuple[Trajectories, Trajectories, Trajectories]:
    """Train, validation and test: consecutive stretches of time with these shares of the frames.

    Raises:
        ValueError: the shares are not three positive numbers that add up to 1, or there are too few frames.
    """
    if len(shares) != 3 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"shares {tuple(shares)}: three positive numbers that add up to 1 were wanted")
    first, second = int(shares[0] * series.n_frames + 1e-9), int((shares[0] + shares[1]) * series.n_frames + 1e-9)
    if not 0 < first < second < series.n_frames:
        raise ValueError(f"{series.n_frames} frames cannot be cut into {shares}; give longer series")
    return series.frames(slice(0, first)), series.frames(slice(first, second)), series.frames(slice(second, None))


def _columns(path: Path) -> tuple[dict[str, np.ndarray], list[str], str, int]:
    raw = path.read_bytes()
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    head = next(csv.reader([text.split(b"\n", 1)[0].decode()]))
    numbers = [*DATE, "PM2.5", *POLLUTANTS, *WEATHER, "WSPM"]
    missing = [c for c in [*numbers, "wd"] if c not in head]
    if missing:
        raise ValueError(f"{path.name} lacks the columns {', '.join(missing)}; it has {', '.join(head)}")
    blank = text.count(b", ,") + text.count(b",,")
    for empty in (b"NA", b" ", b""):
        for _ in range(2):  # neighbouring fields share a comma
            text = text.replace(b"," + empty + b",", b",nan,")
    body = io.BytesIO(text)
    try:
        table = np.loadtxt(body, delimiter=",", skiprows=1, usecols=[head.index(c) for c in numbers], quotechar='"', ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}; numbers or NA were wanted") from error
    words = np.loadtxt(io.BytesIO(text), delimiter=",", skiprows=1, usecols=[head.index("wd")], dtype=str, quotechar='"', ndmin=1)
    last = next(csv.reader([text.rstrip().rsplit(b"\n", 1)[1].decode()]))
    name = last[head.index("station")] if "station" in head else path.stem
    return dict(zip(numbers, table.T)), list(words), name, blank


def _hours(columns: Mapping[str, np.ndarray], path: Path) -> Float[np.ndarray, "time"]:
    year, month, day, hour = (columns[c].astype(int) for c in DATE)
    date = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)
    time = (date.astype("datetime64[D]") - np.datetime64("1970-01-01")).astype(int) * 24.0 + (day - 1) * 24.0 + hour
    wrong = np.flatnonzero(np.diff(time) != 1)
    if len(wrong):
        k = int(wrong[0]) + 1
        raise ValueError(f"{path.name}, row {k + 1}: {year[k]}-{month[k]:02d}-{day[k]:02d} {hour[k]}:00 does not come one hour after the row before; "
                         "sort the rows, drop repeats, and add rows of NA for missing hours")
    return time


def _known(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Missing values as 0, and where there are values."""
    there = ~np.isnan(value)
    return np.where(there, value, 0.0), there


def _stuck(value: np.ndarray, hours: int) -> np.ndarray:
    """Where a value is part of a run of at least so many equal ones."""
    if hours < 2:
        raise ValueError(f"stuck={hours}; at least 2 hours were wanted")
    start = np.concatenate([[True], np.diff(value) != 0])
    run = np.cumsum(start) - 1
    return np.bincount(run)[run] >= hours

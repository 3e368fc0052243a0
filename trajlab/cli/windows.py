"""``trajlab forecast RUN --start WINDOWS --draws 20``: draws of what comes after the given frames, for methods that forecast windows."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from trajlab.catalog import load, unknown
from trajlab.cli.options import parse
from trajlab.cli.tables import config_of, method

PAST = ("first", "last")


@dataclass(frozen=True)
class WindowOptions:
    """Draw what comes after the given frames of every window (scene) of a file. Later frames of the file are what came, and judge the draws.

    Attributes:
        run: a folder that trajlab fit wrote.
        start: windows of at least the given frames.
        out: a .zarr folder.
        steps: frames to predict; those the model was fitted for if not given.
        draws: for each window.
        evaluations: calls of the net for each draw.
        windows: so many of the windows, evenly chosen; all if not given.
        past: first, the first given frames of each window are the past, and later ones what came; last, the last given frames are the past,
            and nobody knows what comes.
        report: also write an HTML page that judges and plays the draws.
        seed: of the noise.
        overwrite: replace what is there.
        threads: of torch on the CPU.
        quiet: no progress bar.
    """

    run: tyro.conf.Positional[Path]
    start: Path
    out: Path = Path("forecast.zarr")
    steps: int | None = None
    draws: int = 20
    evaluations: int = 15
    windows: int | None = None
    past: str = "first"
    report: Path | None = None
    seed: int = 0
    overwrite: bool = False
    threads: int = 1
    quiet: bool = False


def forecasts_windows(name: str) -> bool:
    """Whether a method forecasts windows: its config says how many frames are given and how many predicted."""
    return {"given", "predicted"} <= {field.name for field in dataclasses.fields(config_of(name))}


def run(arguments: Sequence[str]) -> None:
    """Draw, write, judge where what came is known, and say how it went."""
    options = parse(WindowOptions, arguments, "forecast")
    record = json.loads((options.run / "model.json").read_text())
    check(options, record)

    import torch

    import trajlab
    from trajlab.data import store

    torch.set_num_threads(options.threads)
    model = load(method(record["method"])).load(options.run)
    past, truth, chosen = cut(trajlab.read(options.start), options, getattr(model, "given", 0) or model.config.given)
    settings = {name: getattr(options, name) for name in ("draws", "evaluations", "seed")}
    forecast = model.forecast(past, options.steps, **settings, progress=not options.quiet)
    told = {"start": str(options.start), "windows": chosen, "command": shlex.join(["trajlab", "forecast", *arguments])}
    forecast = forecast.replace(provenance={**forecast.provenance, **told})
    store.save(forecast, options.out, overwrite=options.overwrite)
    print(ending(forecast, truth, options))


def check(options: WindowOptions, record: dict[str, Any]) -> None:
    """Refuse early, before anything slow is imported.

    Raises:
        ValueError: a number is out of range, a name unknown, a file in the way, or the model has no given frames.
        FileNotFoundError: the start is not there.
    """
    if options.past not in PAST:
        raise ValueError(unknown("past", options.past, PAST))
    for name in ("steps", "draws", "evaluations", "windows"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} {value}: at least 1 was wanted")
    if options.out.suffix != ".zarr":
        raise ValueError(f"--out {options.out} ends in {options.out.suffix!r}; draws of windows are written to a folder that ends in .zarr")
    if options.out.exists() and not options.overwrite:
        raise ValueError(f"{options.out} exists; pass --overwrite to replace it, or another --out")
    if options.report is not None and options.report.suffix not in (".html", ".htm"):
        raise ValueError(f"--report {options.report} ends in {options.report.suffix!r}; an .html file was wanted")
    if not options.start.exists():
        raise FileNotFoundError(f"{options.start} does not exist")
    if not record.get("config", {}).get("given", 1):
        raise ValueError(f"the model in {options.run} was fitted with given=0: it has no past to go on from. Fit one with given frames to forecast")


def cut(data: Any, options: WindowOptions, given: int) -> tuple[Any, Any, list[int]]:
    """The past, what came (None where nothing later is there) and the numbers of the chosen windows.

    Raises:
        TypeError: the file holds no trajectories.
        ValueError: the windows are too short, or fewer than wanted.
    """
    from trajlab.types import Trajectories

    if not isinstance(data, Trajectories):
        raise TypeError(f"{options.start} holds a {type(data).__name__}; a forecast starts from trajectories")
    if data.n_frames < given:
        raise ValueError(f"{options.start} holds windows of {data.n_frames} frames, and this model continues {given} given frames; give it "
                         f"windows of at least {given}")
    n = data.n_scenes
    count = n if options.windows is None else options.windows
    if count > n:
        raise ValueError(f"--windows {count}, but {options.start} holds {n}; choose at most {n}")
    chosen = [k * n // count for k in range(count)]
    data = data if count == n else data.scenes(chosen)
    if options.past == "last":
        return data.last(given), None, chosen
    later = data.frames(slice(given, None))
    known = data.n_frames > given and bool(later.mask.any())
    return data.frames(slice(0, given)), data if known else None, chosen


def ending(forecast: Any, truth: Any, options: WindowOptions) -> str:
    """How it went, in a few lines; writes the report where it is wanted."""
    lines = [f"{forecast.past.n_scenes} windows, {forecast.n_draws} draws of {forecast.draws.shape[2]} frames each"]
    if truth is not None or options.report is not None:
        from trajlab.evaluate.motion_page import judge_windows

        evaluation = judge_windows(forecast, truth)
        lines = [evaluation.summary] if truth is not None else lines
        if options.report is not None:
            from trajlab.report.page import report

            lines.append(f"report: {report(evaluation).save(options.report)}")
    lines.append(f"saved in {options.out}")
    if options.report is None:
        reference = "" if truth is None else f" --reference {shlex.quote(str(options.start))}"
        lines.append(f"next: trajlab report {shlex.quote(str(options.out))}{reference} --out report.html")
    return "\n".join(lines)

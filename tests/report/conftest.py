"""A small evaluation that has one of everything, and a headless Chromium."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from trajlab.evaluate.results import Curve, Evaluation, Figure, Scene3D, Table

ETHANOL = np.array([6, 6, 8, 1, 1, 1, 1, 1, 1])
POSITIONS = np.array([
    [1.168, -0.382, 0.0], [0.0, 0.556, 0.0], [-1.190, -0.218, 0.0], [-1.946, 0.381, 0.0], [0.048, 1.199, 0.886],
    [0.048, 1.199, -0.886], [2.100, 0.189, 0.0], [1.158, -1.013, 0.888], [1.158, -1.013, -0.888]])


def turning(frames: int, angle: float) -> np.ndarray:
    """A rigid molecule that turns about an axis and drifts."""
    a = np.arange(frames) * angle
    turn = np.zeros((frames, 3, 3))
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(a)
    turn[:, 0, 1], turn[:, 1, 0], turn[:, 2, 2] = -np.sin(a), np.sin(a), 1
    return POSITIONS @ turn.transpose(0, 2, 1) + 0.05 * np.arange(frames)[:, None, None]


@pytest.fixture(scope="session")
def evaluation() -> Evaluation:
    x = np.linspace(0, 1, 50)
    rows = [["TrajCast", 1.8341, True], ["ballistic", 103.5, False], ["ridge", None, None]]
    tables = [Table("One-step error", ["model", "displacement / %", "met"], rows, note="Relative to the <RMS> of the truth.")]
    curves = [Curve("reference", x, x**2), Curve("TrajCast", x, x, band=0.1 * x)]
    figures = [Figure("Spectrum", "wavenumber / cm⁻¹", "density", curves, {"Nyquist": 0.9}),
               Figure("By element", "element", "share", [Curve("H", np.array(["a", "b"]), np.array([1.0, 2.0]), np.array([0.1, 0.1]), "bar")]),
               Figure("Parity", "truth / Å", "prediction / Å", [Curve("H", x, x, style="points")], logy=True)]
    scenes = [Scene3D("Reference", ETHANOL, turning(40, 0.1), 7.0, note="made by hand"), Scene3D("Forecast, draw 1", ETHANOL, turning(40, 0.2), 7.0)]
    provenance = {"method": "trajcast", "config": {"channels": 32}, "seed": 0, "command": "trajlab report <here>"}
    return Evaluation("Ethanol & friends", "First paragraph.\n\n- a\n- b", tables, figures, scenes, provenance)


@pytest.fixture(scope="session")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright: pip install 'trajlab[dev]'")
    where = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if where is None:
        pytest.skip("the browser test needs Chromium, which is not installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as p:
        flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = p.chromium.launch(executable_path=where, args=flags)
        yield browser
        browser.close()

"""What `ftle.py` runs with numbacs: its flow map and FTLE on the main grid, and the CPU seconds of each run.

    python ftle_peer.py NX NY T RUNS OUT.npy
"""

from __future__ import annotations

import json
import os
import sys
import time


def main(given: list[str]) -> None:
    os.environ["NUMBA_NUM_THREADS"] = "1"
    import numpy as np
    from numbacs.diagnostics import ftle_grid_2D
    from numbacs.flows import get_predefined_flow
    from numbacs.integration import flowmap_grid_2D

    nx, ny, duration, runs, out = int(given[0]), int(given[1]), float(given[2]), int(given[3]), given[4]
    x, y = np.linspace(0.0, 2.0, nx), np.linspace(0.0, 1.0, ny)
    pointer, parameters, _ = get_predefined_flow("double_gyre", int_direction=1.0)

    def once() -> np.ndarray:
        return ftle_grid_2D(flowmap_grid_2D(pointer, 0.0, duration, x, y, parameters), duration, x[1] - x[0], y[1] - y[0])

    field, spent = once(), []
    for _ in range(runs):
        began = time.process_time()
        field = once()
        spent.append(time.process_time() - began)
    np.save(out, field)
    print(json.dumps({"seconds": spent}))


if __name__ == "__main__":
    main(sys.argv[1:])

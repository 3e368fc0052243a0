"""Path + denoiser -> samples: grids, solvers as coefficient tables, and the loop that executes them."""

#: Solvers by name; each is called without arguments for its defaults.
TABLE = {
    "ddim": "trajlab.samplers.deis:ddim",
    "deis": "trajlab.samplers.deis:DEIS",
}

"""Path + denoiser -> samples: grids, solvers as coefficient tables, and the loop that executes them."""

#: Solvers by name; each is called without arguments for its defaults.
TABLE = {
    "ddim": "trajlab.samplers.deis:ddim",
    "deis": "trajlab.samplers.deis:DEIS",
    "time_shift": "trajlab.samplers.time_shift:TimeShift",
    "ancestral": "trajlab.samplers.ancestral:Ancestral",
    "annealed_langevin": "trajlab.samplers.langevin:AnnealedLangevin",
    "edm_churn": "trajlab.samplers.edm:edm_churn",
    "edm_heun": "trajlab.samplers.edm:EDMHeun",
    "ipndm": "trajlab.samplers.ipndm:IPNDM",
    "pndm_f": "trajlab.samplers.pndm:pndm_f",
    "pndm_s": "trajlab.samplers.pndm:pndm_s",
    "predictor_corrector": "trajlab.samplers.sde:predictor_corrector",
    "reverse_sde": "trajlab.samplers.sde:ReverseSDE",
    "rho_heun": "trajlab.samplers.rho_rk:rho_heun",
    "rho_kutta3": "trajlab.samplers.rho_rk:rho_kutta3",
    "rho_rk4": "trajlab.samplers.rho_rk:rho_rk4",
}

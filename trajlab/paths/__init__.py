"""How a point moves between two distributions, and what is regressed."""

#: Paths by name.
TABLE = {
    "vp_linear": "trajlab.paths.schedules:VPLinear",
    "vp_cosine": "trajlab.paths.schedules:VPCosine",
    "vp_table": "trajlab.paths.schedules:VPTable",
    "ve": "trajlab.paths.schedules:VE",
    "edm": "trajlab.paths.schedules:EDM",
    "sub_vp": "trajlab.paths.schedules:SubVP",
    "rectified": "trajlab.paths.schedules:Rectified",
    "interpolant": "trajlab.paths.interpolants:Interpolant",
    "pfgm": "trajlab.paths.pfgm:PFGM",
    "kinetic_optimal": "trajlab.paths.kinetic_optimal:KineticOptimal",
    "ncsn_table": "trajlab.paths.frameworks:SigmaTable",
}

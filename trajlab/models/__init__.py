"""Complete methods, each with a config, `fit` and one verb."""

TABLE: dict[str, str] = {
    "trajcast": "trajlab.models.trajcast:TrajCast",
    "geotdm": "trajlab.models.geotdm:GeoTDM",
    "sbirr": "trajlab.models.sbirr:SchrodingerBridge",
    "markov_jump": "trajlab.models.jumps.markov_jump:MarkovJump",
    "airphynet": "trajlab.models.air.airphynet:AirPhyNet",
    "motion": "trajlab.models.motion.motion:Motion",
}

#: Forecasters of single series; each can be called without arguments.
FORECASTERS: dict[str, str] = {
    "persistence": "trajlab.models.persistence:Persistence",
    "mean": "trajlab.models.persistence:Mean",
    "seasonal": "trajlab.models.persistence:Seasonal",
    "parrot": "trajlab.models.tuning:TunedParrot",
    "linear": "trajlab.models.linear_series:Linear",
    "nvar": "trajlab.models.tuning:TunedNvar",
    "nvar_wide": "trajlab.models.tuning:WideNvar",
    "esn": "trajlab.models.tuning:TunedEsn",
    "identified": "trajlab.models.identified:Identified",
    "portfolio": "trajlab.models.portfolio:Portfolio",
    "gru": "trajlab.models.sequence_forecaster:gru",
    "transformer": "trajlab.models.sequence_forecaster:transformer",
    "state_space": "trajlab.models.sequence_forecaster:state_space",
    "diffusion": "trajlab.models.series_diffusion:SeriesDiffusion",
}

#: Forecasters of sensors that stay where they are, on long series; each can be called without arguments.
STATION_FORECASTERS: dict[str, str] = {
    "station_persistence": "trajlab.models.air.baselines:StationPersistence",
    "damped_persistence": "trajlab.models.air.baselines:DampedPersistence",
    "climatology": "trajlab.models.air.baselines:Climatology",
    "airphynet": "trajlab.models.air.airphynet:AirPhyNet",
}

#: Forecasters of agents on a plane that learn nothing or next to nothing; each can be called without arguments.
MOTION_BASELINES: dict[str, str] = {
    "constant_velocity": "trajlab.models.linear_forecasts:ConstantVelocity",
    "heading_noise": "trajlab.models.motion.baselines:HeadingNoise",
    "turn_rate": "trajlab.models.motion.baselines:TurnRate",
    "constant_acceleration": "trajlab.models.motion.baselines:ConstantAcceleration",
    "mean_velocity": "trajlab.models.motion.baselines:MeanVelocity",
    "linear_fit": "trajlab.models.motion.baselines:LinearFit",
    "kalman": "trajlab.models.motion.kalman:KalmanVelocity",
    "stand_still": "trajlab.models.linear_forecasts:LastPosition",
}

#: What says how cells are distributed between two snapshots; each can be called without arguments.
SNAPSHOT_METHODS: dict[str, str] = {
    "copy_previous": "trajlab.models.snapshot_baselines:CopyPrevious",
    "copy_next": "trajlab.models.snapshot_baselines:CopyNext",
    "pooled": "trajlab.models.snapshot_baselines:Pooled",
    "random_pairs": "trajlab.models.snapshot_baselines:RandomPairs",
    "exact_ot": "trajlab.models.snapshot_baselines:ExactInterpolation",
    "entropic_bridge": "trajlab.models.snapshot_baselines_bridge:EntropicBridge",
    "icfm": "trajlab.models.snapshot_baselines_cfm:ICFM",
    "otcfm": "trajlab.models.snapshot_baselines_cfm:OTCFM",
    "sf2m": "trajlab.models.snapshot_baselines_cfm:SF2M",
    "sf2m_sde": "trajlab.models.snapshot_baselines_cfm:sf2m_sde",
    "rectified_flow": "trajlab.models.snapshot_baselines_flow:RectifiedFlow",
    "interpolant": "trajlab.models.snapshot_baselines_flow:SnapshotInterpolant",
    "interpolant_ot": "trajlab.models.snapshot_baselines_flow:interpolant_ot",
}

"""Backbones: they know shapes only, nothing of data, training or tasks."""

TABLE: dict[str, str] = {
    "trajcast": "trajlab.nets.trajcast:TrajCastNet",
    "polar": "trajlab.nets.polar:PolarNet",
    "egtn": "trajlab.nets.egtn:EGTN",
    "geometric_prior": "trajlab.nets.geometric_prior:GeometricPrior",
    "frame_channels": "trajlab.nets.frame_channels:FrameChannels",
    "diffusion_transformer": "trajlab.nets.diffusion_transformer:DiffusionTransformer",
    "gru": "trajlab.nets.gru:GRUSequence",
    "causal_transformer": "trajlab.nets.causal_transformer:CausalTransformer",
    "state_space": "trajlab.nets.state_space:StateSpace",
    "window_perceptron": "trajlab.nets.window_perceptron:WindowPerceptron",
    "motion_perceptron": "trajlab.nets.motion_perceptron:MotionPerceptron",
    "social_transformer": "trajlab.nets.social_transformer:SocialTransformer",
    "count_network": "trajlab.nets.count_network:CountNetwork",
    "fim_mjp": "trajlab.nets.fim_mjp:FIMMJPNet",
}

"""Denoiser in, denoiser out: conditioning, steering, inversion, editing."""

#: Guidance by name: guided denoisers, hooks, solvers, and functions that invert.
TABLE = {
    "classifier_free": "trajlab.guidance.classifier_free:ClassifierFree",
    "residual": "trajlab.guidance.classifier_free:residual",
    "flowchef": "trajlab.guidance.flowchef:FlowChef",
    "replacement": "trajlab.guidance.replacement:Replacement",
    "cyclic": "trajlab.guidance.cyclic:Cyclic",
    "zero_centre": "trajlab.guidance.constraints:ZeroCentre",
    "norm_clamp": "trajlab.guidance.constraints:NormClamp",
    "observed_frames": "trajlab.guidance.constraints:ObservedFrames",
    "dynamic_threshold": "trajlab.guidance.constraints:DynamicThreshold",
    "periodic_wrap": "trajlab.guidance.constraints:PeriodicWrap",
    "ddim_inversion": "trajlab.guidance.inversion:ddim_inversion",
    "bdia": "trajlab.guidance.inversion:BDIA",
    "bdia_inversion": "trajlab.guidance.inversion:bdia_inversion",
    "noise_space": "trajlab.guidance.noise_space:encode",
    "replay": "trajlab.guidance.noise_space:replay",
}

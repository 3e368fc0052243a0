"""Who is paired with whom."""

#: Couplings by name.
TABLE: dict[str, str] = {
    "couple": "trajlab.couplings.chosen:couple",
    "independent": "trajlab.couplings.independent:Independent",
    "minibatch_ot": "trajlab.couplings.minibatch_ot:MinibatchOT",
    "semidiscrete": "trajlab.couplings.semidiscrete:SemiDiscrete",
}

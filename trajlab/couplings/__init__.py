"""Who is paired with whom."""

#: Couplings by name.
TABLE: dict[str, str] = {}

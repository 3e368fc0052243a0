"""The command line: one file a command; torch is imported only when a command runs."""

#: name -> (where its ``run(arguments)`` is, what it does)
TABLE: dict[str, tuple[str, str]] = {
    "simulate": ("trajlab.cli.simulate:run", "make reference trajectories with a known law"),
    "prepare": ("trajlab.cli.prepare:run", "cut recorded data into training, validation and test windows"),
    "fit": ("trajlab.cli.fit:run", "fit a method on trajectories"),
    "forecast": ("trajlab.cli.forecast:run", "continue trajectories with a fitted model"),
    "bridge": ("trajlab.cli.bridge:run", "fit a bridge through snapshots of cells, and judge it on snapshots left out"),
    "infer": ("trajlab.cli.infer:run", "infer the rates of a jump process from a table of looks at its states"),
    "benchmark": ("trajlab.cli.benchmark:run", "run a benchmark of forecasters and say who is ahead"),
    "report": ("trajlab.cli.report:run", "write the HTML page of a forecast or an evaluation"),
    "list": ("trajlab.cli.listing:run", "list the methods, sources and commands that there are"),
    "card": ("trajlab.cli.card:run", "print the card of a method: equation, settings, limits, citation"),
}

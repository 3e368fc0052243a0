"""Cards of recorded vehicles: CommonRoad scenarios cut from NGSIM. None is shipped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trajlab.catalog import unknown
from trajlab.sources.cards import Card

COMMIT = "8275861a448dd16cf0786357f0c7cf8762926838"
ADDRESS = f"https://raw.githubusercontent.com/CommonRoad/commonroad-io/{COMMIT}/tests/test_scenarios"
CITATION = ("M. Althoff, M. Koschi, S. Manzinger, CommonRoad: Composable benchmarks for motion planning on roads, IEEE Intelligent Vehicles "
            "Symposium (2017); data: US Department of Transportation, Next Generation Simulation (NGSIM) vehicle trajectories")

#: scenario -> bytes, sha256, and whether it can be downloaded
SCENARIOS = {
    "USA_US101-3_1_T-1": (975624, "d4fa4507f782cb40137287307ae8cad2a7fa74b205d8f4f2b5c089c32833ecef", False),
    "USA_US101-3_3_T-1": (219901, "b8dacfb2d4d219daf9ac504ff27beaf454f012eb2af53e37151df01cdd33cc3f", True),
    "USA_US101-4_1_T-1": (607663, "6e14f050cff666176b1dd77081ca200369a4934bbf43fca4649c090334811682", True),
    "USA_Lanker-1_1_T-1": (609723, "8e8a912ce25de11eeac9ff6e8740517135504a4ebe45e99bf29a5300a1d7979c", True),
    "USA_Peach-4_8_T-1": (269660, "87458d4908b8de69d953869cad6d406d7680f2fb02e4f2cd62f2f4dbd9dbb63d", True),
}


@dataclass(frozen=True)
class ScenarioCard(Card):
    """A card whose file people also keep in other versions of the format, so that it is not refused for its checksum where a folder is given."""

    def path(self, folder: str | Path | None) -> Path:
        """The file in ``folder``, or the downloaded one where there is no folder.

        Raises:
            FileNotFoundError: it is not there, or cannot be downloaded.
            ConnectionError: the download failed.
        """
        if folder is None:
            return self.fetch()
        if (Path(folder) / self.name).is_file():
            return Path(folder) / self.name
        raise FileNotFoundError(f"{self.name} is not in {folder}" + ("; leave folder= away to download it" if self.url else ""))


def card(scenario: str) -> ScenarioCard:
    """The card of a scenario.

    Raises:
        ValueError: there is none of that name.
    """
    if scenario not in SCENARIOS:
        raise ValueError(unknown("scenario", scenario, SCENARIOS))
    size, checksum, loads = SCENARIOS[scenario]
    return ScenarioCard(
        name=f"{scenario}.xml", what="recorded vehicles and lanelets of a scenario of CommonRoad, from NGSIM",
        licence="BSD-3-Clause (repository of CommonRoad); NGSIM is public data of the US Department of Transportation", units="m, s, rad, m/s; 10 Hz",
        size=size, sha256=checksum, citation=CITATION, url=f"{ADDRESS}/{scenario}.xml" if loads else "")

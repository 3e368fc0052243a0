"""Cards of the ETH/UCY text files. None is shipped: ETH states no licence, UCY is free with credit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trajlab.catalog import unknown
from trajlab.sources.cards import Card

COMMIT = "1031c7bd1a444273af378c1ec1dcca907ba59830"
ADDRESS = f"https://raw.githubusercontent.com/StanfordASL/Trajectron-plus-plus/{COMMIT}/experiments/pedestrians/raw/raw/all_data"
ETH = "S. Pellegrini, A. Ess, K. Schindler, L. van Gool, You'll never walk alone, ICCV 2009"
UCY = "A. Lerner, Y. Chrysanthou, D. Lischinski, Crowds by example, Computer Graphics Forum 26, 655 (2007)"

#: bytes and sha256
FILES = {
    "biwi_eth": (116970, "cf8d3fd342a15f409ebc2a1fc76b91a0f06390bd21f1e11410f3859331ab082b"),
    "biwi_hotel": (143799, "9caa771bb9153d6b809dd0916b6f86761b641e6bbb15e766c1de3133fbbb7fcf"),
    "crowds_zara01": (205711, "1147a1962a09abfb86f28c6cddcac862e095a0cf129b3016385b69eacdd09d85"),
    "crowds_zara02": (392227, "8a649d0f8c9ae75c87c4d23a85f892786b0aa30266e996c7be03e69dafff22ff"),
    "crowds_zara03": (199834, "16b3e899932c4baacd07f45013d5b921f90bc5a29eb2b0fe42f4d7c904ac3108"),
    "students001": (879714, "a6d87f278d94136fe39b8be91555487a29ac77259ae403b9dba2d5c18caf7b5b"),
    "students003": (724279, "e25798b660634330aa89f8bb259425de720e84d0873902726c1d1f4ccff21d6c"),
    "uni_examples": (109307, "61f432c0ab3070ed0ef150fbeabcd7baf839cab5495a46e6105bd747f0a092a7"),
    "eth_obsmat": (1158040, "d452ae2185ecb1164c2fdf31e75f6236f4c2ffc02c751a6b2ae921740cbc60d1"),
}


@dataclass(frozen=True)
class PedestrianCard(Card):
    """A card whose file may also be another version of the same recording, since people keep their own: it is not refused for its checksum."""

    def path(self, folder: str | Path | None) -> Path:
        """The file in ``folder`` (or in its subfolder ``obsmat``), or the downloaded one where there is no folder.

        Raises:
            FileNotFoundError: it is not there.
            ConnectionError: the download failed.
        """
        if folder is None:
            return self.fetch()
        for place in (Path(folder), Path(folder) / "obsmat"):
            if (place / self.name).is_file():
                return place / self.name
        raise FileNotFoundError(f"{self.name} is not in {folder}" + ("; pass folder=None to download it" if self.url else ""))


def card(name: str) -> PedestrianCard:
    """The card of a recording.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in FILES:
        raise ValueError(unknown("recording", name, FILES))
    eth, (size, checksum) = name.startswith(("biwi", "eth")), FILES[name]
    native = name == "eth_obsmat"
    units = "m, m/s; every 6th frame of 15 a second" if native else "m; 10 frames are 0.4 s, nominally"
    return PedestrianCard(
        name=f"{name}.txt", what="original annotation with velocities" if native else "rows of frame, pedestrian, x, y",
        licence="none stated" if eth else "free with credit", units=units, size=size, sha256=checksum, citation=ETH if eth else UCY,
        url="" if native else f"{ADDRESS}/{name}.txt")

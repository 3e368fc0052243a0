"""Cards of data files: where a file comes from, what may be done with it, and how to know that it is the right one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Card:
    """What must be known of a data file.

    Attributes:
        name: file name.
        what: the content in a sentence.
        licence: under which it may be used.
        units: of its numbers.
        size: bytes.
        sha256: checksum.
        citation: whom to cite.
        url: where to download it; empty for files that are shipped.
        command: how it was made, where we made it.
    """

    name: str
    what: str
    licence: str
    units: str
    size: int
    sha256: str
    citation: str = ""
    url: str = ""
    command: str = ""

    def fetch(self, folder: str | Path | None = None) -> Path:
        """The path of the checked file: from ``folder`` where given, else from the cache of downloads, downloading it on first use.

        Raises:
            FileNotFoundError: the file is not in ``folder``, or there is no address to download it from.
            ValueError: the file is not the one the card describes (truncated, or changed).
            ConnectionError: the download failed.
        """
        if folder is not None:
            path = Path(folder) / self.name
            if not path.is_file():
                raise FileNotFoundError(f"{self.name} is not in {folder}; leave folder= away to download it ({self.size} bytes, {self.licence})")
            return self.check(path)
        if not self.url:
            raise FileNotFoundError(f"{self.name} is shipped with a checkout of the project and cannot be downloaded; pass folder= with its place")
        return self._download()

    def check(self, path: str | Path) -> Path:
        """The path, if its content has the checksum of the card.

        Raises:
            ValueError: it has not.
        """
        path = Path(path)
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != self.sha256:
            size = path.stat().st_size
            why = f"it has {size} bytes instead of {self.size}" if size != self.size else f"its sha256 is {found[:12]}..., not {self.sha256[:12]}..."
            raise ValueError(f"{path} is not the {self.name} of the card: {why}. Delete it and fetch it again")
        return path

    def _download(self) -> Path:
        import pooch

        try:
            return Path(pooch.retrieve(self.url, known_hash=f"sha256:{self.sha256}", fname=self.name, path=pooch.os_cache("trajlab")))
        except OSError as error:  # requests' errors are OSErrors
            raise ConnectionError(
                f"{self.name} could not be downloaded from {self.url}: {error}. Download it by hand and pass folder= with its place"
            ) from error

    def save(self, path: str | Path) -> None:
        """Write the card as JSON."""
        Path(path).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a card written by `save`."""
        return cls(**json.loads(Path(path).read_text()))


def sgdml_card(molecule: str) -> Card:
    """The card of the published sGDML model of a molecule.

    Raises:
        ValueError: there is no model of that name.
    """
    from trajlab.catalog import unknown

    if molecule not in SGDML_FILES:
        raise ValueError(unknown("sGDML molecule", molecule, SGDML_FILES))
    size, checksum = SGDML_FILES[molecule]
    return Card(
        name=f"{molecule}.npz", what=f"sGDML force field of {molecule.replace('_', ' ')}, trained on 1 000 points of PBE + vdW-TS dynamics (MD17)",
        licence="MIT (licence file at the head of stefanch/sGDML; none at the commit of the file)", units="kcal/mol, Angstrom", size=size,
        sha256=checksum, citation="S. Chmiela, H. E. Sauceda, K.-R. Mueller, A. Tkatchenko, Nature Communications 9, 3887 (2018)",
        url=f"https://raw.githubusercontent.com/stefanch/sGDML/101725880f67f64e3bfa6914a26fd34ba474245b/models/{molecule}.npz",
    )


#: bytes and sha256 of each published model
SGDML_FILES = {
    "aspirin": (3217677, "d44f228f200d33a5b2a51abd87006b4e7847fd2998111d4161bda1a959bb0ee8"),
    "ethanol": (549083, "5d8a84031627aaa4a0a3704741de5e8aba87304df1fc8b4e22c6d143e25d6a12"),
    "malonaldehyde": (549404, "93ce86478a580cc3e5673c0f432b843b4dbdec85222051f8327361b313c7e106"),
    "naphthalene": (2331061, "8068d44a84afdda86dda5abfb78a8cc07351c9f2098679b7a05a72f496b49493"),
    "paracetamol": (3826965, "88db12b932e251e63701ba2ace79ea04b77f994a886585b4601aa81ab9a61c92"),
    "salicylic_acid": (1830547, "702dffd2d1feea44f673d2a38c662c7719f9c0df1bbfe38a0e8ba8226250adbc"),
    "toluene": (1602561, "30ed7e1776448b3615d6e78df8871b3318ea221e4a9727fe04303dead1ba4e6e"),
    "uracil": (1008777, "147195fa6006c163336613ad06fb1afce9d8de615dcf1a28987e65ee1ae4aca1"),
}

"""Cards of files of snapshots: single cells, and simulated systems as their authors published them. None is shipped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trajlab.catalog import unknown
from trajlab.sources.cards import Card

RAW = "https://raw.githubusercontent.com"
NLSB = f"{RAW}/take-koshizuka/NLSB/dc44f1fda929768eb840bdf3f5c892bc86451cc6/data"
SBIRR = f"{RAW}/YunyiShen/SBIRR/77f2f661afae39553dad626960d8d185567ddfe5/Notebooks/data"
BENCH = f"{RAW}/YunyiShen/mmTrajectory-inference-benchmarks/bff2efdf4c49744f33b3397cbcf5bfe12c1439fc/asset"
MMD = f"{RAW}/YunyiShen/snapMMD/3d419ceb21869a93b32244702bf2097b831bc4c4/data/realdata"
TIGON = f"{RAW}/yutongo/TIGON/1ed92cfcc250415fc01b4d344a308b0680cc9635/Input"

MOON = "K. R. Moon et al., Nature Biotechnology 37, 1482 (2019); principal components and split of T. Koshizuka, I. Sato, ICLR 2023"
SHEN = "Y. Shen, R. Berlinghieri, T. Broderick, Multi-marginal Schroedinger bridges with iterative reference refinement, arXiv 2408.06277 (2024)"
CHU = f"L.-F. Chu et al., Genome Biology 17, 173 (2016); as prepared by {SHEN}"
FORECAST = "R. Berlinghieri, Y. Shen, J. Jiang, T. Broderick, arXiv 2505.16082 (2025)"
JIANG = f"J. Jiang et al., gene programs of peripheral blood cells; as prepared by {FORECAST}"
COOK = "D. P. Cook, B. C. Vanderhyden, Nature Communications 11, 2142 (2020)"
BARGAJE = "R. Bargaje et al., PNAS 114, 2271 (2017)"
SHA = "Y. Sha, Y. Qiu, P. Zhou, Q. Nie, Nature Machine Intelligence 6, 25 (2024)"
WEINREB = f"C. Weinreb et al., Science 367, eaaw3381 (2020); as prepared by {SHA}"
NONE, NONCOMMERCIAL = "none stated: to be read, not to be passed on", "CC BY-NC 4.0"

#: file: (folder, address, bytes, sha256, licence, citation)
FILES: dict[str, tuple[str, str, int, str, str, str]] = {
    "test_rna.npz": ("nlsb_eb", NLSB, 2828964, "7516d91f115ed9a4063358c17913e7b5336ecf4084752bfd822b2f4055c851cf", "MIT", MOON),
    "val_rna.npz": ("nlsb_eb", NLSB, 1616964, "7e1c894bf87cbb54d383e7a48d5fbcbd29cab97fd795fd8d488da8898e27cc6b", "MIT", MOON),
    "LV_data.npy": ("sbirr", SBIRR, 7328, "046bca800e73da683b4f37af89fe15792966e71d9dbc16ec3fce194bafea7e23", NONE, SHEN),
    "repres_data.npy": ("sbirr", SBIRR, 13328, "4d637f49e6b6b47a3f8b50a59a13ea6bd86f5054f23b4d37e81840878f3216e2", NONE, SHEN),
    "GoMvortex_data.npy": ("sbirr", SBIRR, 16112, "b2603b1767b83f8810bc94c4d252f485b44cdb82e14a9a1858883f6aa1025020", NONE, SHEN),
    "GoMvortexsmall_data.npy": ("sbirr", SBIRR, 16112, "d7798de80626b2272fcf8e86cb6c948cc183dbe80bf88cc6e4f3084a9e70ce90", NONE, SHEN),
    "eb_data.npy": ("sbirr", SBIRR, 60128, "d15fc2070bde4dd2ae41d846fe765426457826dbb85607edfba93324779ea242", NONE, SHEN),
    "hESC_data.npy": ("sbirr", SBIRR, 11934, "1c699db163318ca5d8aa612f03522702cf242cca26bec5e6afa7efbe69817b3a", NONE, CHU),
    "LV_data.npz": ("mm_bench", BENCH, 18394, "3b0d2cad0dc8c8593259a764c8d48df42a55f9249e6c33d65747ef10c31ec4e7", "MIT", FORECAST),
    "Repressilatormrna_data.npz": ("mm_bench", BENCH, 27194, "74a1433c1b4c071de1def0912c1f7d478aaf7c1c67a2983807276b8dccd9a929", "MIT", FORECAST),
    "GoM_data.npz": ("mm_bench", BENCH, 18394, "e6a5878daf65519cdf80d8f993dcd2ee26f90104a706f6fc3aa37708a62b061a",
                     "MIT; velocity field: public domain", FORECAST),
    "processed_pbmc_data_sub500_every_2_until20.npz": (
        "mm_bench", BENCH, 3563272, "dcad24192c61804e135f01a5b4b74aaaff48d4ab63301e0bb94a5ef0ebdce821", NONCOMMERCIAL, JIANG),
    "processed_pbmc_data_sub500_every_2_until20_interp_val.npz": (
        "snapmmd", MMD, 2401428, "66d2a62bda1345ab31062c905b118317ece66acfe8a5c38fc7e40f400ed38277", NONCOMMERCIAL, JIANG),
    "Lineage.npy": ("tigon", TIGON, 176425, "b963f114d2d215767f88aa4daf15d591941502d40961308ecd4cc66682c86607", "MIT", WEINREB),
    "Simulation.npy": ("tigon", TIGON, 71269, "70f7bcf47797e6114a43a42b4954692da52493811af17f75df9f9060cce60173", "MIT", SHA),
    "EMT.npy": ("tigon", TIGON, 75732, "0dbb720ccfbd6c9cb6f4d7fd214c7a86c8577332bd2b2b163dffdc87ec23364f", "MIT",
                f"{COOK}; as prepared by {SHA}"),
    "Bifurcation.npy": ("tigon", TIGON, 61334, "d663a9e7de455ffbe96ae3cce88dfac6c4d1096157269e3aae161eed36d00a75", "MIT",
                        f"{BARGAJE}; as prepared by {SHA}"),
}


@dataclass(frozen=True)
class SnapshotCard(Card):
    """A card whose file may lie in the folder given or in the subfolder that its origin has.

    Attributes:
        place: that subfolder.
    """

    place: str = ""

    def path(self, folder: str | Path | None = None) -> Path:
        """The file, checked, downloaded where there is no folder.

        Raises:
            FileNotFoundError: it is in neither place.
            ValueError: its checksum is another one; files that hold Python objects are therefore never opened unchecked.
            ConnectionError: the download failed.
        """
        if folder is None:
            return self.fetch()
        for place in (Path(folder), Path(folder) / self.place):
            if (place / self.name).is_file():
                return self.check(place / self.name)
        raise FileNotFoundError(f"{self.name} is in neither {folder} nor its folder {self.place}; pass folder=None to download it "
                                f"({self.size} bytes, licence: {self.licence})")


def card(name: str) -> SnapshotCard:
    """The card of a file.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in FILES:
        raise ValueError(unknown("file of snapshots", name, FILES))
    place, address, size, checksum, licence, citation = FILES[name]
    return SnapshotCard(name=name, what="populations at several times, cells not followed", licence=licence, units="as published", size=size,
                        sha256=checksum, citation=citation, url=f"{address}/{name}", place=place)

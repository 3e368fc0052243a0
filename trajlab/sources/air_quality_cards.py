"""Cards of the files of sensor graphs: PRSA Beijing air quality, stations' coordinates, METR-LA's first week. None is shipped."""

from __future__ import annotations

from trajlab.catalog import unknown
from trajlab.sources.cards import Card

DUAL = "none stated: to be read, not to be passed on"
CHEN = "S. Chen, Beijing Multi-Site Air Quality, UCI 501 (2017); S. Zhang et al., Proc. R. Soc. A 473, 20170457 (2017)"
DUALODE = "J. Tian et al., Air quality prediction with physics-guided dual neural ODEs in open systems, arXiv 2410.19892 (2024)"
LI = "Y. Li, R. Yu, C. Shahabi, Y. Liu, Diffusion convolutional recurrent neural network, ICLR 2018; week as cut by L. Zhao et al. (T-GCN, 2019)"

#: station -> (name in the coordinate list, bytes and sha256 of its series)
STATIONS: dict[str, tuple[str, int, str]] = {
    "Aotizhongxin": ("aotizhongxin_aq", 728056, "e0f487542b37c314f97b1937075c94924f591d7f51044d0f9f017722236306ae"),
    "Changping": ("pingchang_aq", 724310, "931124095a8df09259817fe0ed18b314e287104afde6ce78b8b6ef14a385c3c0"),  # spelled so in the list
    "Dingling": ("dingling_aq", 706271, "d3c85773f079b8b84a34013aae7d1c4b8ce102a3648034da31a8315b838d61f7"),
    "Dongsi": ("dongsi_aq", 728292, "8a7e38237da7756d5ed596414fa6177bb7757ced022197713b41f84e46ac46c5"),
    "Guanyuan": ("guanyuan_aq", 726864, "0744dddfed905290858ba55af6c04e6e5804c2d62e727700bc66c5b5518ef571"),
    "Gucheng": ("gucheng_aq", 724409, "7fa8b0ec0b9543b5784e3108dbefd383b911c4aa75a8a043dca3dddcbbb6989b"),
    "Huairou": ("huairou_aq", 710272, "12dfeafd6cff1a3d5909d748b96bf1630c37de45e37641855beb343e7eebfe61"),
    "Nongzhanguan": ("nongzhanguan_aq", 735363, "a109bf301ddce48bd0b04128f89625e4833f333ffe4223b7a97ba18b6877ea9f"),
    "Shunyi": ("shunyi_aq", 717733, "4e6740effd71b308bfd618467dc26f5a6540bc502f79d24ab8a2b54f75b7a4c7"),
    "Tiantan": ("tiantan_aq", 723679, "fb7d7f31d04d0482869c859e55c4f560c609feff6c8b816a66fa49a39e47de93"),
    "Wanliu": ("wanliu_aq", 733568, "0ba6d940d2e9c82c885a7848b3c7bd618dfcc99398b85cdca05c5a2fbc911248"),
    "Wanshouxigong": ("wanshouxigong_aq", 732138, "27eb9fa18b84162a4c3ac5568c986a2a625c32ed6d7fddb3b3589a4ec4df750c"),
}

#: longitude and latitude, degrees, as in the list of 35 stations of Beijing, 2017-18. The list of all Chinese stations of PM2.5-GNN (2020) differs by
#: up to some km (Dongsi: 3 km); one list was picked, and is stored here, since the series come without coordinates.
COORDINATES: dict[str, tuple[float, float]] = {
    "Aotizhongxin": (116.397, 39.982), "Changping": (116.230, 40.217), "Dingling": (116.220, 40.292), "Dongsi": (116.417, 39.929),
    "Guanyuan": (116.339, 39.929), "Gucheng": (116.184, 39.914), "Huairou": (116.628, 40.328), "Nongzhanguan": (116.461, 39.937),
    "Shunyi": (116.655, 40.127), "Tiantan": (116.407, 39.886), "Wanliu": (116.287, 39.987), "Wanshouxigong": (116.352, 39.878),
}

#: file: (what, licence, units, bytes, sha256, citation)
OTHERS: dict[str, tuple[str, str, str, int, str, str]] = {
    "Beijing1718/station.csv": ("35 stations of Beijing, no series", DUAL, "degrees", 1010,
                                "0eb4f2e64cd82a39a0b0201b369bbe243cea4123b737cb615a2a8e3337f810aa", DUALODE),
    "KnowAir/station.csv": ("184 Chinese cities, no series", DUAL, "degrees", 6170,
                            "ec084a67f7cb10152b56430feed2257b809776b01207b4d44332c4e2695bf2ee", DUALODE),
    "los_speed.csv.gz": ("METR-LA, first week of March 2012: 207 sensors, every 5 min, gaps interpolated", DUAL, "mph", 781549,
                         "20d66985e88d5129443246b86cc7adef469d3f9b59d55bab0f2abb6223357f3e", LI),
    "los_adj.csv.gz": ("its adjacency: Gaussian kernel of road distance, at least 0.1", DUAL, "1", 17795,
                       "168ac19845b7ed397d1227d5f52b9b8a9473857d8e604bb6314fb5d9720320ed", LI),
}


def station_card(station: str) -> Card:
    """The card of a station's series.

    Raises:
        ValueError: there is none of that name.
    """
    if station not in STATIONS:
        raise ValueError(unknown("station", station, STATIONS))
    _, size, checksum = STATIONS[station]
    name = f"PRSA_Data_{station}_20130301-20170228.csv.gz"
    return Card(name, f"hourly air quality and weather of {station}, Beijing, 2013-03-01 to 2017-02-28", "CC BY 4.0",
                "ug/m3, degrees Celsius, hPa, mm, m/s; local time, no daylight saving", size, checksum, CHEN)


def sensor_card(name: str) -> Card:
    """The card of another file.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in OTHERS:
        raise ValueError(unknown("file", name, OTHERS))
    what, licence, units, size, checksum, citation = OTHERS[name]
    return Card(name, what, licence, units, size, checksum, citation)

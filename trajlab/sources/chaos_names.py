"""The names of the chaotic systems by kind, so that they can be listed and a mistyped one be corrected at once."""

from __future__ import annotations

from trajlab.catalog import unknown

__all__ = ["CONSERVATIVE", "DELAY", "ESCAPING", "EXPLICIT_TIME", "KINDS", "MAPS", "ODE", "kind_of", "names"]

ODE = (
    "Aizawa", "AnishchenkoAstakhov", "Arneodo", "ArnoldBeltramiChildress", "ArnoldWeb", "AtmosphericRegime", "BeerRNN", "BelousovZhabotinsky",
    "BickleyJet", "Blasius", "BlinkingRotlet", "BlinkingVortex", "Bouali", "Bouali2", "BurkeShaw", "CaTwoPlus", "CaTwoPlusQuasiperiodic",
    "CellCycle", "CellularNeuralNetwork", "Chen", "ChenLee", "Chua", "CircadianRhythm", "CoevolvingPredatorPrey", "Colpitts", "Coullet",
    "Dadras", "DequanLi", "DoubleGyre", "DoublePendulum", "Duffing", "ExcitableCell", "Finance", "FluidTrampoline", "ForcedBrusselator",
    "ForcedFitzHughNagumo", "ForcedVanDerPol", "GenesioTesi", "GlycolyticOscillation", "GuckenheimerHolmes", "Hadley", "Halvorsen",
    "HastingsPowell", "HenonHeiles", "HindmarshRose", "Hopfield", "HyperBao", "HyperCai", "HyperJha", "HyperLorenz", "HyperLu", "HyperPang",
    "HyperQi", "HyperRossler", "HyperWang", "HyperXu", "HyperYan", "HyperYangChen", "InteriorSquirmer", "IsothermalChemical", "ItikBanksTumor",
    "JerkCircuit", "KawczynskiStrizhak", "Laser", "LidDrivenCavityFlow", "LiuChen", "Lorenz", "Lorenz84", "Lorenz96", "LorenzBounded",
    "LorenzCoupled", "LorenzStenflo", "LuChen", "LuChenCheng", "MacArthur", "MooreSpiegel", "MultiChua", "NewtonLiepnik", "NoseHoover",
    "NuclearQuadrupole", "OscillatingFlow", "PanXuZhou", "PehlivanWei", "Qi", "QiChen", "RabinovichFabrikant", "RayleighBenard",
    "RikitakeDynamo", "Rossler", "Rucklidge", "Sakarya", "SaltonSea", "SanUmSrisuchinwong", "ShimizuMorioka", "SprottA", "SprottB", "SprottC",
    "SprottD", "SprottE", "SprottF", "SprottG", "SprottH", "SprottI", "SprottJ", "SprottJerk", "SprottK", "SprottL", "SprottM", "SprottMore",
    "SprottN", "SprottO", "SprottP", "SprottQ", "SprottR", "SprottS", "SprottTorus", "StickSlipOscillator", "SwingingAtwood", "Thomas",
    "ThomasLabyrinth", "Torus", "Tsucs2", "TurchinHanski", "VallisElNino", "WangSun", "WindmiReduced", "YuWang", "YuWang2", "ZhouChen",
)
DELAY = (
    "IkedaDelay", "MackeyGlass", "PiecewiseCircuit", "ScrollDelay", "SprottDelay", "VossDelay",
)
MAPS = (
    "Baker", "Bedhead", "BlinkingVortexMap", "Bogdanov", "Chebyshev", "Chirikov", "Circle", "DeJong", "DuffingMap", "Gauss", "Gingerbreadman",
    "GumowskiMira", "Henon", "Hopalong", "Ikeda", "KaplanYorke", "Logistic", "MaynardSmith", "Pickover", "Ricker", "Svensson", "Tent",
    "Tinkerbell",
)

#: the kinds of systems and their names; the map that shares its name with Duffing's oscillator is called DuffingMap
KINDS: dict[str, tuple[str, ...]] = {"ode": ODE, "delay": DELAY, "map": MAPS}

#: systems whose rates depend on the time itself; the other driven systems carry the phase of their drive as a component
EXPLICIT_TIME = ("Torus",)

#: systems whose orbits now and then leave for infinity, at any tolerance: Sakarya's once in some thousand periods
ESCAPING = ("Sakarya",)

#: conserve energy or volume: they have no attractor, so another start is another orbit for good. The DoublePendulum of dysts is
#: not among them: an error in its equations makes it lose energy
CONSERVATIVE = (
    "ArnoldBeltramiChildress", "ArnoldWeb", "BickleyJet", "BlinkingRotlet", "BlinkingVortex", "DoubleGyre", "HenonHeiles",
    "InteriorSquirmer", "LidDrivenCavityFlow", "NoseHoover", "NuclearQuadrupole", "OscillatingFlow", "SprottA", "SwingingAtwood",
)


def names(kind: str | None = None) -> list[str]:
    """The names of all systems, or of those of one kind: ``"ode"``, ``"delay"`` or ``"map"``.

    Raises:
        ValueError: no such kind.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(unknown("kind of chaotic system", kind, KINDS))
    return sorted(name for k, some in KINDS.items() if kind in (None, k) for name in some)


def kind_of(name: str) -> str:
    """The kind of the system of this name.

    Raises:
        ValueError: there is no such system (with the nearest names).
    """
    for kind, some in KINDS.items():
        if name in some:
            return kind
    raise ValueError(unknown("chaotic system", name, names()))

"""Cards of the reference jump processes: what is known of them, from whom, and what is a choice made here."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CARDS", "ProcessCard"]

SEIFNER = "P. Seifner, R. J. Sanchez, Neural Markov jump processes, ICML 2023"
KOEHS = f"L. Koehs, B. Alt, H. Koeppl (2021, 2022); mean first-passage times as quoted by {SEIFNER}"
MARDT = "A. Mardt, L. Pasquali, H. Wu, F. Noe, VAMPnets for deep learning of molecular kinetics, Nature Communications 9, 5 (2018)"
BERGHAUS = "D. Berghaus, K. Cvejoski, P. Seifner, C. Ojeda, R. J. Sanchez, Foundation inference models for Markov jump processes, NeurIPS 2024"


@dataclass(frozen=True)
class ProcessCard:
    """What must be known of a process before numbers are compared with it.

    Attributes:
        what: the process in a sentence.
        time: its unit; "1" for none.
        citation: whom to cite.
        caution: what is rounded, chosen here, or not as it seems.
    """

    what: str
    time: str
    citation: str
    caution: str = ""


CARDS: dict[str, ProcessCard] = {
    "flashing_ratchet": ProcessCard(
        "A particle on three sites of a ring whose saw-tooth potential is switched on and off: it is driven although no force is applied.",
        "1", f"A. Ajdari, J. Prost (1992); discrete version and protocol of {SEIFNER}",
        "Six states: sites 0, 1, 2 with the potential on, then off. The horizon of 2.5 is customary, not published.",
    ),
    "ion_channel": ProcessCard(
        "Three conductance levels of an ion channel, patch-clamp recordings of one second.", "s", KOEHS,
        "Computed from printed times of two or three digits. The channel was recorded, the process is a fit to it.",
    ),
    "alanine_dipeptide": ProcessCard(
        "Six conformations of alanine dipeptide in water.", "ns", SEIFNER,
        "Printed rates of one to four digits, fitted without detailed balance: the entropy production of 1.03 a ns is of the fit, not of the "
        "molecule. reversible=True gives the process with the same stationary distribution and symmetrised fluxes.",
    ),
    "two_mode_switching": ProcessCard(
        "Two modes of a switching diffusion.", "1",
        f"L. Koehs, B. Alt, H. Koeppl, Variational inference for continuous-time switching dynamical systems (2021); used by {SEIFNER}",
        "The rates are rounded values of the simulation's; the diffusion itself is not part of it.",
    ),
    "protein_folding": ProcessCard(
        "Folded and unfolded state of a toy protein.", "1", f"{MARDT}; rates of {SEIFNER}",
        "State 0 is the more frequent one. The printed rates imply a stationary distribution of (0.752, 0.248), where (0.74, 0.26) is printed.",
    ),
    "ring": ProcessCard("States on a ring, with a bias around it.", "1", "T. L. Hill, Free energy transduction in biology (1977)",
                        "Stationary distribution uniform; entropy production (forward - backward) log(forward / backward)."),
    "birth_death": ProcessCard("Births and deaths up to a largest number.", "1", "S. Karlin, J. McGregor (1957)",
                               "Reversible; stationary distribution truncated geometric, or truncated Poisson where every individual may die."),
    "illness_death": ProcessCard(
        "A progressive illness with three grades, from which some recover, and death.", "year",
        "J. D. Kalbfleisch, J. F. Lawless (1985), for the kind of model",
        "Rates chosen here, of no real patients. Death is absorbing: paths start in the first grade.",
    ),
    "random": ProcessCard("A draw from a prior over processes.", "1", BERGHAUS, "The published prior is known in outline only; see PriorConfig."),
}

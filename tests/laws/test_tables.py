"""Every entry of every room's table can be imported, has a card or a docstring, and a mistyped name is answered with the nearest."""

from __future__ import annotations

import pytest

from trajlab import catalog

ENTRIES = [(room, name, target) for room in catalog.ROOMS for name, target in catalog.table(room).items()]


@pytest.mark.parametrize(("room", "name", "target"), ENTRIES, ids=[f"{r}:{n}" for r, n, _ in ENTRIES])
def test_entry_is_there(room, name, target):
    assert catalog.load(target) is catalog.find(name, room)


@pytest.mark.parametrize("name", catalog.FRONT_DOOR)
def test_front_door_opens(name):
    import trajlab

    assert getattr(trajlab, name) is not None


def test_a_mistyped_name_is_answered():
    with pytest.raises(ValueError, match="did you mean 'trajcast'"):
        catalog.find("trajcats")
    import trajlab

    with pytest.raises(AttributeError, match="did you mean 'Trajectories'"):
        _ = trajlab.Trajectory


def test_the_laws_cover_every_net():
    """Nets of particles by those of one-step maps, nets of windows and of sequences by their own; those of jump processes in tests/nets."""
    from laws.sequences import NETS as SEQUENCES
    from laws.sequences import WINDOWS
    from laws.systems import CONFIGS
    from laws.windows import NETS

    named = {name.split()[0] for name in (*NETS, *SEQUENCES)}
    elsewhere = {"count_network", "fim_mjp", "motion_perceptron", "social_transformer"}
    assert {config.net for config in CONFIGS.values()} | named | WINDOWS | elsewhere == set(catalog.table("nets"))

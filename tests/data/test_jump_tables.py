"""Tables of visits: what is guessed, sorted, dropped and told, kinds of observation, and the way back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from trajlab.data.adapters.jump_tables import jumps_from_signal_table, jumps_from_table, jumps_to_table, read_jumps, read_rows
from trajlab.types import JumpPaths


def visits(**columns):
    base = {"PTNUM": [7, 7, 7, 9, 9], "years": [0.0, 1.0, 2.5, 3.0, 4.0], "state": [1, 2, 3, 1, 1]}
    return pd.DataFrame(base | columns)


def test_the_layout_of_msm():
    paths = jumps_from_table(visits())
    assert paths.label.tolist() == [0, 1, 2, 0, 0]
    assert paths.path.tolist() == [0, 0, 0, 1, 1]
    assert paths.time.tolist() == [0, 1, 2.5, 3, 4]
    assert paths.names == ("1", "2", "3")
    assert paths.units.time == "year"
    assert paths.source["subjects"] == [7, 9]
    assert paths.source["columns"] == {"subject": "PTNUM", "time": "years", "state": "state"}
    assert "columns: subject from 'PTNUM', time from 'years', state from 'state'" in paths.source["notes"]


def test_rows_in_any_order_are_sorted_and_told():
    with pytest.warns(UserWarning, match="not sorted"):
        paths = jumps_from_table(visits().iloc[[3, 0, 2, 1, 4]])
    assert paths.source["subjects"] == [9, 7]
    assert paths.label.tolist() == [0, 0, 0, 1, 2]
    assert paths.time.tolist() == [3, 4, 0, 1, 2.5]


def test_rows_that_occur_twice_are_dropped_and_told():
    table = pd.concat([visits(), visits().iloc[[1]]]).sort_values(["PTNUM", "years"])
    with pytest.warns(UserWarning, match="1 rows repeat a look"):
        assert jumps_from_table(table).label.tolist() == [0, 1, 2, 0, 0]
    with pytest.warns(UserWarning, match="1 times a subject is in two states at one time, first subject 7 at 1: 1 and 2"):
        jumps_from_table(visits(years=[1.0, 1.0, 2.5, 3.0, 4.0]))


def test_kinds_of_observation():
    paths = jumps_from_table(visits(obstype=[1, 2, 3, 1, 1]), obstype="obstype")
    assert paths.observed.tolist() == [JumpPaths.PANEL, JumpPaths.EXACT, JumpPaths.ENTRY, JumpPaths.PANEL, JumpPaths.PANEL]
    assert jumps_from_table(visits(), death=3).observed.tolist() == [0, 0, JumpPaths.ENTRY, 0, 0]
    assert jumps_from_table(visits(state=[1, 2, None, 1, 1])).observed.tolist() == [0, 0, JumpPaths.MISSING, 0, 0]


def test_censored_states_and_sets():
    paths = jumps_from_table(visits(state=[1, 2, 99, 3, 1]), censor={99: (1, 3)})
    assert paths.observed.tolist() == [0, 0, JumpPaths.CENSORED, 0, 0]
    assert paths.label.tolist() == [0, 1, -1, 2, 0]
    assert paths.allowed[2].tolist() == [True, False, True]
    assert jumps_from_table(visits(state=[1, 2, 99, 3, 1]), censor={99: None}).allowed[2].all()
    assert jumps_from_table(visits(state=["1", "2", "1|2", "3", "1"])).allowed[2].tolist() == [True, True, False]


def test_after_death():
    table = visits(PTNUM=[7] * 5, years=[0.0, 1.0, 2.0, 3.0, 4.0], state=[1, 2, 3, 3, 3])
    with pytest.warns(UserWarning, match="2 rows after a death were dropped"):
        assert jumps_from_table(table, death=3).label.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="subject 7 is seen in state 1 at time 4, after entering a state that was declared as death"):
        jumps_from_table(visits(PTNUM=[7] * 5, years=[0.0, 1.0, 2.0, 3.0, 4.0], state=[1, 2, 3, None, 1]), death=3)


def test_names_of_states():
    words = ["well", "ill", "dead", "well", "ill"]
    assert jumps_from_table(visits(state=words)).names == ("dead", "ill", "well")
    paths = jumps_from_table(visits(state=words), states=("well", "ill", "dead"), death="dead")
    assert paths.label.tolist() == [0, 1, 2, 0, 1]
    assert paths.observed[2] == JumpPaths.ENTRY
    ordered = pd.Categorical(words, ["well", "ill", "dead"])
    assert jumps_from_table(visits(state=ordered)).names == ("well", "ill", "dead")
    assert jumps_from_table(visits(state=[0, 1, 2, 0, 0])).label.tolist() == [0, 1, 2, 0, 0]
    assert jumps_from_table(visits(state=[1.0, 2.0, 3.0, 1.0, 1.0])).names == ("1", "2", "3")
    with pytest.warns(UserWarning, match="never seen: 4, 5"):
        assert jumps_from_table(visits(), states=5).n_states == 5


def test_covariates_hold_until_the_next_visit():
    table = visits(age=[50.0, None, 52.0, 30.0, 31.0], sex=["f", "f", "f", "m", "m"])
    with pytest.warns(UserWarning, match="'age': 1 missing values were filled"):
        paths = jumps_from_table(table, time="years", covariates=("age", "sex"))
    assert paths.covariates["age"].tolist() == [50, 50, 52, 30, 31]
    assert paths.covariates["sex=m"].tolist() == [0, 0, 0, 1, 1]
    with pytest.raises(ValueError, match="'age' is missing at the first visit of subject 9"):
        jumps_from_table(visits(age=[50.0, 1.0, 52.0, None, 31.0]), time="years", covariates=("age",))


def test_clocks():
    dates = pd.to_datetime(["2020-01-01", "2020-01-03", "2020-01-04", "2020-02-01", "2020-02-02"])
    paths = jumps_from_table(visits(years=dates))
    assert paths.time.diff()[[0, 1, 3]].tolist() == [2, 1, 1]
    assert paths.units.time == "day"
    one = jumps_from_table(pd.DataFrame({"time": [0.0, 1.0, 2.0], "state": [1, 2, 1]}))
    assert one.n_paths == 1
    alone = jumps_from_table(visits(PTNUM=[7, 7, 7, 9, 10]))
    assert any("2 of 3 subjects are seen once" in note for note in alone.source["notes"])


@pytest.mark.parametrize(("columns", "options", "told"), [
    ({"years": [0.0, None, 2.0, 3.0, 4.0]}, {}, "row 1 has the time 'nan'"),
    ({"years": ["a", 1, 2, 3, 4]}, {}, "row 0 has the time 'a'"),
    ({"PTNUM": [7, 7, None, 9, 9]}, {}, "row 2 names no subject"),
    ({"PTNUM": [1, 2, 3, 4, 5]}, {}, "each of the 5 paths has one observation"),
    ({"state": [1, 2, 999, 1, 1]}, {}, "say censor="),
    ({"state": [1, 2, 5, 1, 1]}, {"states": 3}, "subject 7 has at time 2.5 the label '5': no state '5'"),
    ({"state": [1, 2, -1, 1, 1]}, {}, "the label -1 is no state"),
    ({"state": [None] * 5}, {}, "no row names a state"),
    ({}, {"death": 4}, "death: no state '4'"),
    ({}, {"censor": {3: (9,)}}, "censored label '3': no state '9'"),
    ({}, {"censor": {3: ()}}, "stands for no state"),
    ({}, {"states": ()}, "at least one was wanted"),
    ({}, {"state": "stat"}, "no column 'stat'; did you mean 'state'"),
    ({}, {"covariates": ("agee",)}, "no column 'agee'"),
    ({"obstype": [1, 2, 4, 1, 1]}, {"obstype": "obstype"}, "the obstype 4"),
])
def test_what_cannot_be_read_is_told(columns, options, told):
    with pytest.raises(ValueError, match=told):
        jumps_from_table(visits(**columns), **options)


def test_columns_that_cannot_be_guessed_are_asked_for():
    with pytest.raises(ValueError, match="looks like the state"):
        jumps_from_table(visits().rename(columns={"state": "s"}))
    with pytest.raises(ValueError, match="looks like the time"):
        jumps_from_table(visits().rename(columns={"years": "when"}))
    with pytest.raises(ValueError, match="looks like the subject, and as one path its time goes back from 2 to 0"):
        jumps_from_table(pd.DataFrame({"who": [1, 1, 2, 2], "time": [0.0, 2.0, 0.0, 2.0], "state": [1, 2, 1, 2]}))
    with pytest.raises(ValueError, match="no rows"):
        jumps_from_table(visits().iloc[:0])


def test_there_and_back():
    table = visits(state=["well", "ill", "ill|dead", "well", None], obstype=[1, 2, 1, 1, 1], dose=[1.0, 2.0, 3.0, 4.0, 5.0])
    paths = jumps_from_table(table, obstype="obstype", covariates=("dose",), states=("well", "ill", "dead"))
    back = jumps_to_table(paths)
    assert list(back.columns) == ["subject", "time", "state", "obstype", "dose"]
    assert back.state.tolist() == ["well", "ill", "ill|dead", "well", None]
    again = jumps_from_table(back, obstype="obstype", covariates=("dose",), states=("well", "ill", "dead"))
    for name in ("label", "time", "path", "observed", "allowed"):
        assert getattr(again, name).equal(getattr(paths, name)), name
    assert again.covariates["dose"].equal(paths.covariates["dose"])
    assert again.source["subjects"] == [7, 9]


def test_numbers_there_and_back(tmp_path):
    paths = jumps_from_table(visits(state=[1, 2, None, 1, 3]), death=3)
    jumps_to_table(paths).to_csv(tmp_path / "visits.csv", index=False)
    again = read_jumps(tmp_path / "visits.csv", obstype="obstype")
    assert again.label.equal(paths.label)
    assert again.observed.equal(paths.observed)
    assert again.source["file"] == "visits.csv"
    with pytest.raises(FileNotFoundError):
        read_rows(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match="may be empty"):
        read_rows(tmp_path / "empty.csv")
    with pytest.raises(ValueError, match="a table ends in"):
        read_rows(__file__)


def test_signals_with_dates_of_death():
    table = visits(fev=[98.0, None, 999.0, 77.0, 80.0]).drop(columns="state")
    paths = jumps_from_signal_table(table, signal="fev", n_states=3, death=999)
    assert paths.observed.tolist() == [JumpPaths.SIGNAL, JumpPaths.MISSING, JumpPaths.ENTRY, JumpPaths.SIGNAL, JumpPaths.SIGNAL]
    assert paths.label.tolist() == [-1, -1, 2, -1, -1]
    assert paths.signal[[0, 3, 4], 0].tolist() == [98, 77, 80]
    assert jumps_to_table(paths).signal.isna().tolist() == [False, True, True, False, False]
    for fev, told in (([98.0, "x", 3, 4, 5], "the signal 'x'"), ([None] * 5, "no row has a number in fev"), ([1.0, np.inf, 3, 4, 5], "inf"),
                      ([999.0, 5.0, 5.0, 5.0, 5.0], "after entering a state")):
        with pytest.raises(ValueError, match=told):
            jumps_from_signal_table(visits(fev=fev), signal="fev", n_states=3, death=999)


def test_reference_tables(reference):
    folder = reference / "jumps"
    cav = read_jumps(folder / "cav.csv", death=4, covariates=("dage", "sex"))
    assert (cav.n_paths, len(cav.label), cav.n_states, cav.units.time) == (622, 2846, 4, "year")
    assert int((cav.observed == JumpPaths.ENTRY).sum()) == 251
    psor = read_jumps(folder / "psor.csv", covariates=("hieffusn",))
    assert (psor.n_paths, len(psor.label), psor.n_states, psor.units.time) == (305, 806, 4, "month")
    bos = read_jumps(folder / "bos.csv")
    assert (bos.n_paths, len(bos.label), bos.n_states) == (204, 638, 5)
    aneur = read_jumps(folder / "aneur.csv")
    assert (aneur.n_paths, len(aneur.label), aneur.n_states) == (838, 4337, 4)
    fev = jumps_from_signal_table(read_rows(folder / "fev.csv"), signal="fev", n_states=3, death=999, covariates=("acute",))
    assert (fev.n_paths, len(fev.label), int((fev.observed == JumpPaths.ENTRY).sum())) == (203, 5896, 96)
    assert fev.signal.max() < 999
    with pytest.warns(UserWarning, match="7 times a subject is in two states"):
        assert read_jumps(folder / "bos4.csv").n_states == 4


def test_one_door(tmp_path):
    import trajlab as tl

    visits().to_csv(tmp_path / "visits.csv", index=False)
    paths = tl.read(tmp_path / "visits.csv", death=3)
    assert isinstance(paths, JumpPaths)
    assert paths.observed[2] == JumpPaths.ENTRY
    with pytest.raises(TypeError, match="read as table of visits, which has no option 'deth'; did you mean 'death'"):
        tl.read(tmp_path / "visits.csv", deth=3)
    visits(x=[0.0, 1.0, 2.0, 3.0, 4.0], y=[0.0] * 5).rename(columns={"PTNUM": "id", "years": "time"}).to_csv(tmp_path / "tracks.csv", index=False)
    assert isinstance(tl.read(tmp_path / "tracks.csv"), tl.Trajectories)

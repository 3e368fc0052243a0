"""Sweeps give the same in one process, in several, and say what is wrong with a cluster."""

from __future__ import annotations

import os

import pytest

from trajlab.evaluate.parallel import slurm_settings, sweep


def squared(k: int) -> tuple[int, int]:
    return k * k, os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_once(workers):
    found = dict(sweep(squared, list(range(9)), workers=workers))
    assert {k: value for k, (value, _) in found.items()} == {k: k * k for k in range(9)}
    assert (os.getpid() in {pid for _, pid in found.values()}) == (workers == 1)


def test_no_tasks_are_no_error():
    assert list(sweep(squared, [])) == []


def test_an_error_ends_the_sweep():
    with pytest.raises(TypeError):
        list(sweep(squared, [1, "a"], workers=2))


@pytest.mark.parametrize(("settings", "words"), [({"workers": 0}, "workers=0"), ({"cluster": "localhost:8786"}, "tcp://host:8786"),
                                                 ({"cluster": "slurm:jobs=x"}, "no number"), ({"cluster": "slurm:queue"}, "no value")])
def test_bad_settings_are_told(settings, words):
    if settings.get("cluster", "").startswith("slurm"):
        with pytest.raises(ValueError, match=words):
            slurm_settings(settings["cluster"])
        return
    with pytest.raises(ValueError, match=words):
        list(sweep(squared, [1, 2], **settings))


def test_slurm_settings_are_read():
    assert slurm_settings("slurm:jobs=8,cores=4,memory=8GB,queue=cpu,walltime=01:00:00") == {
        "jobs": 8, "cores": 4, "processes": 4, "memory": "8GB", "queue": "cpu", "walltime": "01:00:00"}


def test_a_cluster_that_is_not_installed_names_the_extra():
    try:
        import distributed  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match=r"trajlab\[cluster\]"):
            list(sweep(squared, [1, 2], cluster="tcp://127.0.0.1:1"))


def test_on_a_dask_cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        found = dict(sweep(squared, list(range(9)), cluster=cluster.scheduler_address))
    assert {k: value for k, (value, _) in found.items()} == {k: k * k for k in range(9)}
    assert os.getpid() not in {pid for _, pid in found.values()}

"""Many independent calls of one function: in this process, in local processes, or on a Dask cluster, by joblib."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from trajlab.catalog import need

__all__ = ["processors", "sweep"]

SCHEMES = ("tcp://", "tls://", "ucx://", "ws://", "wss://")  #: of the address of a Dask scheduler
TYPES = {"cores": int, "processes": int, "jobs": int}  #: numbers among the settings of a Slurm cluster; all others stay words


def sweep(function: Callable[[Any], Any], tasks: Sequence[Any], *, workers: int | None = None,
          cluster: str | None = None) -> Iterator[tuple[int, Any]]:
    """``(k, function(tasks[k]))`` for all tasks, each as soon as it is there, in any order. An error of the function ends the sweep.

    The results must not depend on the order: whatever is random takes its seed from the task.

    Args:
        function: found by its module and name, so that other processes can import it.
        tasks: plain values or arrays; they are sent to the workers, which need no common file system.
        workers: local processes, one thread each; by default as many as there are processors. With 1 everything runs in this process.
        cluster: address of a Dask scheduler such as ``tcp://host:8786``, or ``slurm:jobs=8,cores=4,memory=8GB,queue=cpu,walltime=01:00:00`` for a
            Slurm cluster that is started for the sweep (settings as of ``dask_jobqueue.SLURMCluster``; ``jobs`` is how many are started).

    Raises:
        ValueError: fewer than one worker, or a cluster that is no address.
        ImportError: the cluster's packages are not installed (``trajlab[cluster]``).
        OSError: the scheduler does not answer.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers}; at least 1 was wanted")
    count = min(workers or processors(), len(tasks))
    if cluster is None and count <= 1:
        return ((k, function(task)) for k, task in enumerate(tasks))
    return _spread(function, tasks, count, cluster)


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _spread(function: Callable[[Any], Any], tasks: Sequence[Any], count: int, cluster: str | None) -> Iterator[tuple[int, Any]]:
    import joblib

    settings = {"n_jobs": -1, "pre_dispatch": "all"} if cluster else {"n_jobs": count, "batch_size": 1, "pre_dispatch": "3*n_jobs"}
    with _backend(cluster), joblib.Parallel(return_as="generator_unordered", **settings) as pool:
        yield from pool(joblib.delayed(_numbered)(function, k, task) for k, task in enumerate(tasks))


def _numbered(function: Callable[[Any], Any], k: int, task: Any) -> tuple[int, Any]:
    return k, function(task)


@contextmanager
def _backend(cluster: str | None) -> Iterator[None]:
    """Local processes of one thread each, or a connection to a cluster that is closed afterwards."""
    import joblib

    if cluster is None:
        with joblib.parallel_config(backend="loky", inner_max_num_threads=1), warnings.catch_warnings():
            # A process that has grown by 300 MB (libraries and compiled code are enough) is replaced by another; its tasks are not lost.
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
            yield
        return
    distributed = _checked(cluster)
    with _address(cluster) as address:
        try:
            client = distributed.Client(address, timeout="20s")
        except (OSError, TimeoutError) as error:
            raise ConnectionError(f"no Dask scheduler answers at {cluster}: {error}; start one with `dask scheduler` and workers with "
                                  f"`dask worker {cluster} --nthreads 1`") from error
        with client, joblib.parallel_config(backend="dask", client=client, wait_for_workers_timeout=600):
            yield


def _checked(cluster: str) -> Any:
    """The package `distributed`, where the address can be one."""
    if not cluster.startswith(SCHEMES) and cluster.partition(":")[0] != "slurm":
        raise ValueError(f"--cluster {cluster!r}; the address of a Dask scheduler (tcp://host:8786) or slurm:key=value,... was wanted")
    return need("distributed", "cluster", f"running on {cluster}")


@contextmanager
def _address(cluster: str) -> Iterator[Any]:
    if cluster.startswith(SCHEMES):
        yield cluster
        return
    settings = slurm_settings(cluster)
    jobs = settings.pop("jobs", 1)
    with need("dask_jobqueue", "cluster", "a Slurm cluster").SLURMCluster(**settings) as slurm:
        slurm.scale(jobs=jobs)
        yield slurm


def slurm_settings(cluster: str) -> dict[str, Any]:
    """Settings of ``slurm:key=value,...``; one thread a process unless ``processes`` says otherwise.

    Raises:
        ValueError: a setting without value, or a number that is none.
    """
    settings: dict[str, Any] = {"cores": 1, "memory": "4GB"}
    for part in filter(None, cluster.partition(":")[2].split(",")):
        key, equals, value = part.partition("=")
        try:
            settings[key.strip()] = TYPES.get(key.strip(), str)(value.strip())
        except ValueError:
            raise ValueError(f"--cluster {cluster!r}: {part!r} is no number") from None
        if not equals:
            raise ValueError(f"--cluster {cluster!r}: {part!r} has no value; slurm:jobs=8,cores=4,memory=8GB,queue=cpu was wanted")
    settings.setdefault("processes", settings["cores"])
    return settings

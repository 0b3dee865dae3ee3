"""Training in several processes: how many there are, and that all of them come."""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta

from econmoral.files.records import InputError

# variables in which MPI's launchers hand down the number of processes
MPI = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
WAIT = 300  # seconds that processes wait for one another at the start


def first_process() -> bool:
    """Whether this is the first of the processes of a training, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def launched(gpu: bool) -> tuple[str, int]:
    """(variable of the environment, number of processes that it speaks of);
    on a CPU accelerate heeds those of MPI too.

    Raises InputError for one that is no number.
    """
    for name in ("WORLD_SIZE",) if gpu else (*MPI, "WORLD_SIZE"):
        if value := os.environ.get(name):
            if not value.isdecimal() or int(value) < 1:
                raise InputError(
                    f"the environment variable {name} is {value!r}, and no number of processes; "
                    "unset it"
                )
            return name, int(value)
    return "WORLD_SIZE", 1


def join_processes(gpu: bool) -> None:
    """Meet the other processes that the environment speaks of.

    Gives every process its own GPU before a 4-bit base is placed.

    Says for whom it waits, waits WAIT seconds at most, and can be stopped meanwhile: variables that
    an earlier job of a cluster left behind would otherwise have it wait in silence.  Raises
    InputError when they do not come.
    """
    from accelerate import PartialState

    name, world = launched(gpu)
    # the library sets them all
    left = " ".join(v for v in (name, "RANK", "LOCAL_RANK") if v in os.environ)
    if world > 1 and first_process():
        print(
            f"waiting for {world} processes ({name}={world}, "
            f"MASTER_ADDR={os.environ.get('MASTER_ADDR', 'not set')}), "
            f"{WAIT // 60} minutes at most; where this is the only "
            f"one, unset {name}",
            file=sys.stderr,
            flush=True,
        )
    # the library waits in a call that hears no Python: the system's own handlers end it
    before = {
        number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        PartialState(cpu=not gpu, timeout=timedelta(seconds=WAIT))
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0][:150]
        raise InputError(
            f"the {world} process(es) of {left} did not meet ({reason}); start all of them, or "
            f"unset {left}"
        ) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

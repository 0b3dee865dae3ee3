"""Faults: every long command, struck again and again at random moments,
ends with the files of an undisturbed run.

    python tests/faults.py                # all jobs, STRIKES each; writes tests/faults.json
    python tests/faults.py games 5        # one job

A strike is one of: ``kill`` (kill -9 of the command and its children, as when the power fails),
``interrupt`` (Ctrl-C), ``stop`` (the polite signal of a scheduler), ``full`` (files may not grow
beyond a random size, as on a full disk).  After a strike the same command is given again.
Interrupted, stopped and out of space, a command must end in one line, without traceback, with exit
code 130 or 2.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from econmoral.files.shown import markdown

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from econmoral.files.records import fill_section, origin, write_json, write_text  # noqa: E402 - run from anywhere

STRIKES = 16
KINDS = ("kill", "interrupt", "stop", "full")
CHOOSER = "alpha=0.1,beta=0.2,kappa=0.4,lambda=0.1"
PLAN = """model: nano
items: 1
n: 60
seed: 0
designs:
  transfer: {games: [tg], n: 60, preference: homo_moralis, kappa: 0.5}
"""


@dataclass(frozen=True)
class Job:
    """A command whose {out} is filled in, the files that must come out the same,
    and the one it writes last (its clock differs).
    """

    words: tuple[str, ...]
    products: tuple[str, ...]
    last: str = "run.json"


JOBS = {
    "data": Job(
        (
            "-m",
            "data_synth",
            "--preference",
            "homo_moralis",
            "--n",
            "8000",
            "--out",
            "{out}/a.jsonl",
        ),
        ("a.jsonl",),
        "a.jsonl",
    ),
    "sft": Job(
        (
            "recipes/sft.py",
            "--model",
            "nano",
            "--data",
            "{shared}/train.jsonl",
            "--epochs",
            "3",
            "--out",
            "{out}",
        ),
        ("adapter_model.safetensors",),
    ),
    "games": Job(
        ("-m", "eval.games", "--simulate", CHOOSER, "--items", "1500", "--out", "{out}"),
        ("choices.jsonl", "summary.json", "table.csv", "figure.png"),
    ),
    "dilemmas": Job(
        (
            "-m",
            "eval.dilemmas",
            "--simulate",
            "kappa=0.7,lambda=4,age=0.3,number=0.4",
            "--scenarios",
            "3000",
            "--out",
            "{out}",
        ),
        ("ratings.jsonl", "conjoint.jsonl", "scenarios.jsonl", "summary.json", "table.csv"),
    ),
    "pricing": Job(
        (
            "-m",
            "eval.pricing",
            "--agents",
            "grim",
            "tit-for-tat",
            "myopic",
            "--runs",
            "4",
            "--periods",
            "300",
            "--out",
            "{out}",
        ),
        ("periods.jsonl", "forced.jsonl", "summary.json", "table.csv"),
    ),
    "study": Job(
        ("recipes/study.py", "--plan", "{shared}/plan.yaml", "--out", "{out}"),
        (
            "adapters/moralis-k0.5-n60-tg/adapter_model.safetensors",
            "games/transfer/choices.jsonl",
            "games/transfer/summary.json",
        ),
        "study.json",
    ),
}


def start(job: Job, shared: Path, out: Path, largest: int | None = None) -> subprocess.Popen[str]:
    """The command in a process group of its own; no file grows beyond ``largest`` bytes."""

    def limit() -> None:
        signal.signal(
            signal.SIGINT, signal.SIG_DFL
        )  # a shell's background jobs ignore it, and hand that on
        if largest is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    words = [w.format(out=out, shared=shared) for w in job.words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env=environment,
        text=True,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=limit,
    )


def digest(job: Job, out: Path) -> dict[str, str]:
    """Hash of every product."""
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in job.products}


def last_words(process: subprocess.Popen[str]) -> str:
    """What a command said on stderr, after it has ended."""
    return process.communicate()[1]


def at_work(out: Path) -> bool:
    """Whether a command writes to a folder: it holds its lock, or that of a file in it."""
    for path in (out, *out.glob(".*.part")):
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
    return False


def strike(
    kind: str,
    job: Job,
    shared: Path,
    out: Path,
    first: float,
    duration: float,
    largest: int,
    rng: random.Random,
) -> str:
    """One strike: ``missed`` (the command was done before), ``struck``, or what went wrong."""
    if kind == "full":
        process = start(job, shared, out, rng.randrange(1, largest))
        said = last_words(process)
        if process.returncode == 0:
            return "missed"
        return (
            "struck"
            if process.returncode == 2 and "Traceback" not in said
            else f"full disk: exit code {process.returncode}: {said[-1500:]}"
        )
    process = start(job, shared, out)
    if kind != "kill":  # Python itself answers a signal that comes while it still loads
        while process.poll() is None and not at_work(out):
            time.sleep(0.01)
    time.sleep(rng.uniform(0.1, duration) if kind == "kill" else rng.uniform(0, duration - first))
    if process.poll() is not None:
        last_words(process)
        return "missed"
    number = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT, "stop": signal.SIGTERM}[kind]
    os.killpg(process.pid, number)
    said = last_words(process)
    if (
        process.returncode == -number
        and "Traceback" not in said
        and all((out / name).exists() for name in (*job.products, job.last))
    ):
        return "missed"  # all was written, Python was winding up
    if kind == "kill" or process.returncode == 0:
        return "struck" if process.returncode else "missed"
    good = process.returncode in (130, 2) and "Traceback" not in said and "error: " in said
    return "struck" if good else f"{kind}: exit code {process.returncode}: {said[-1500:]}"


def torment(name: str, strikes: int, shared: Path, rng: random.Random) -> dict[str, Any]:
    """Undisturbed run, then strikes, then the end; counts, and what went wrong."""
    job, whole, out = JOBS[name], shared / f"{name}-whole", shared / f"{name}-struck"
    began = time.monotonic()
    process = start(job, shared, whole)
    while not whole.exists() and process.poll() is None:
        time.sleep(0.01)
    first = time.monotonic() - began
    said = last_words(process)
    if process.returncode:
        return {"struck": 0, "wrong": [f"undisturbed run failed: {said[-1500:]}"]}
    duration = time.monotonic() - began
    expected, largest = (
        digest(job, whole),
        max(p.stat().st_size for p in whole.rglob("*") if p.is_file()),
    )
    counts: dict[str, int] = dict.fromkeys(KINDS, 0)
    wrong = []
    for i in range(strikes):
        kind = KINDS[i % len(KINDS)]
        for _ in range(5):  # a run that is almost done is missed: begin again
            found = strike(kind, job, shared, out, first, duration, largest, rng)
            if found != "missed":
                break
            shutil.rmtree(out, ignore_errors=True)
        counts[kind] += found == "struck"
        wrong += [] if found in ("struck", "missed") else [found]
    process = start(job, shared, out)
    said = last_words(process)
    if process.returncode:
        wrong.append(f"the last run failed: {said[-1500:]}")
    elif digest(job, out) != expected:
        wrong.append(
            "the files differ: "
            + ", ".join(n for n, h in digest(job, out).items() if h != expected[n])
        )
    left = [
        str(p.relative_to(out)) for p in out.rglob("*") if p.name.endswith((".part", ".unfinished"))
    ]
    return {
        **counts,
        "struck": sum(counts.values()),
        "seconds_undisturbed": round(duration, 1),
        "left_behind": left,
        "wrong": wrong,
    }


def main() -> None:
    """All jobs, or the one that is named."""
    names, strikes = (
        (sys.argv[1:2], int(sys.argv[2])) if len(sys.argv) > 2 else (list(JOBS), STRIKES)
    )
    shared = Path(tempfile.mkdtemp(prefix="econmoral-faults-"))
    write_text(shared / "plan.yaml", PLAN)
    words = [
        "-m",
        "data_synth",
        "--preference",
        "homo_economicus",
        "--n",
        "60",
        "--out",
        str(shared / "train.jsonl"),
    ]
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    results = {}
    for name in names:
        results[name] = torment(name, strikes, shared, random.Random(name))
        print(name, results[name], flush=True)
    shutil.rmtree(shared)
    total = {
        "struck": sum(r["struck"] for r in results.values()),
        "wrong": sum(len(r["wrong"]) for r in results.values()),
    }
    print(total)
    if len(names) == len(JOBS):
        write_json(Path(__file__).with_suffix(".json"), origin() | total | {"jobs": results})
        head = ("command", *KINDS, "wrong")
        rows = [
            (name, *(str(r[k]) for k in KINDS), str(len(r["wrong"]))) for name, r in results.items()
        ]
        fill_section(Path(__file__).with_name("README.md"), "faults", markdown(head, rows))
    sys.exit(total["wrong"] > 0)


if __name__ == "__main__":
    main()

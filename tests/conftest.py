"""Shared by the tests: commands as a user runs them, and an adapter that needs no training."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

# before anything else is imported: this process and all it starts are kept off the network, and say
# who tried
OFFLINE = Path(__file__).parent / "offline"
NETWORK_LOG = Path(
    os.environ.setdefault("ECONMORAL_NETWORK_LOG", tempfile.mkstemp(prefix="econmoral-network-")[1])
)
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(OFFLINE), *filter(None, [os.environ.get("PYTHONPATH")])]
)
# else datasets.load_dataset reports every file it reads, local ones too
os.environ["HF_UPDATE_DOWNLOAD_COUNTS"] = "0"
# one worker a core: more threads than that wait for one another
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(OFFLINE))
import pytest
import sitecustomize  # noqa: F401
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from econmoral.checkpoints.models import NANO
from econmoral.files.records import _locks

ROOT = Path(__file__).parents[1]
# seconds: keeps what hangs from hanging for ever, and is no verdict on a slow or busy machine
LIMIT = 3600


def run(
    *command: str, cwd: Path = ROOT, timeout: float = LIMIT
) -> subprocess.CompletedProcess[str]:
    """``python ...`` from the project's root."""
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=cwd, timeout=timeout
    )


def call(main: Callable[[], None], *words: object) -> None:
    """A command's entry point in this process, where the command line itself is not the point.

    Its locks end with it.
    """
    before = sys.argv
    sys.argv = ["command", *map(str, words)]
    try:
        main()
    finally:
        sys.argv = before
        while _locks:
            os.close(_locks.popitem()[1])


def assert_complains(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Exit code 2, one line that holds the parts, no traceback."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


# files that train or load most, begun first: no worker is left alone with them at the end
LONG = ("checkpoints", "sft", "engines", "packaging", "newcomer", "clone", "report", "supply")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; the order within a file stays."""
    place = {f"test_{name}": k for k, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session", autouse=True)
def _nothing_asks_the_network() -> Iterator[None]:
    """Fails at the end of the session when anything tried to reach another machine,
    but for what a test sent out on purpose.
    """
    yield
    tried = set(NETWORK_LOG.read_text(encoding="utf-8").split()) - {
        "huggingface.co",
        "example.invalid",
    }
    assert not tried, f"the tests asked the network: {sorted(tried)}"


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LoRA adapter of nano with random weights: it changes every answer."""
    folder = tmp_path_factory.mktemp("adapter") / "random"
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    get_peft_model(
        model,
        LoraConfig(
            r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
        ),
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def empty_adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LoRA adapter of nano as initialised: B = 0, so it changes nothing."""
    folder = tmp_path_factory.mktemp("adapter") / "empty"
    model = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    get_peft_model(
        model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    ).save_pretrained(folder)
    return folder

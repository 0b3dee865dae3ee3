"""Shared by the tests: commands as a user runs them, and an adapter that needs no training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from econmoral.models import NANO

ROOT = Path(__file__).parents[1]


def run(*command: str, cwd: Path = ROOT, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """``python ...`` from the project's root."""
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=cwd, timeout=timeout)


def assert_complains(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Exit code 2, one line that holds the parts, no traceback."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LoRA adapter of nano with random weights: it changes every answer."""
    folder = tmp_path_factory.mktemp("adapter") / "random"
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def empty_adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LoRA adapter of nano as initialised: B = 0, so it changes nothing."""
    folder = tmp_path_factory.mktemp("adapter") / "empty"
    model = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")).save_pretrained(folder)
    return folder

"""What a finished training is checked for: the adapter moved, the base did not, the loss is a
number, the tuned model answers differently; and whether the target was learnt.

Torch is imported late: bad input is reported before it is loaded.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from econmoral.files.records import InputError
from econmoral.text.conversations import Tokens
from econmoral.training.trainer import held_out

LEAST_CHANGE = 1e-4  # of a log-probability: less is the noise of the arithmetic


def check_trained(
    model: Any,
    before: tuple[dict[str, int], dict[str, int]],
    row: Tokens,
    loss: float,
    checkpoints: Path,
) -> dict[str, Any]:
    """What was found, for run.json.  Raises InputError when a check fails.

    before : checksums of base and adapter before training; row : a sequence on which the model is
    compared with its base; checkpoints : where a failed run can be looked at.
    """
    frozen, start = before
    moved = sum(v != start[n] for n, v in checksums(model, adapter=True).items())
    tuned = probe(model, row)
    with model.disable_adapter():
        difference = float(np.abs(tuned - probe(model, row)).max())
    gates = {
        "adapter_tensors_moved": moved,
        "base_unchanged": checksums(model, adapter=False) == frozen,
        "loss_finite": math.isfinite(loss),
        "largest_change_of_log_probability": difference,
    }
    if not (
        moved and gates["base_unchanged"] and gates["loss_finite"] and difference > LEAST_CHANGE
    ):
        raise InputError(
            f"training failed its checks {gates}; change --lr and look at {checkpoints}"
        )
    return gates


def compare_held_out(model: Any, rows: list[Tokens]) -> dict[str, Any]:
    """Base and tuned model on the N conversations that were held out: ``learnt``, and the mean
    negative log-likelihood of each.
    """
    with model.disable_adapter():
        before, loss_before = held_out(model, rows)
    after, loss_after = held_out(model, rows)
    return learnt(before, after) | {
        "held_out_loss_of_base": float(loss_before.mean()),
        "held_out_loss": float(loss_after.mean()),
    }


def learnt(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Shares of held-out answers that base and tuned model reproduce,
    and whether the gain exceeds two standard errors.

    before, after : (N,) bool, the same examples.  Adds a ``warning`` where the target was not
    learnt.
    """
    gain = after.astype(float) - before
    error = float(gain.std(ddof=1) / len(gain) ** 0.5) if len(gain) > 1 else math.inf
    found: dict[str, Any] = {
        "held_out_examples": len(gain),
        "held_out_reproduced_by_base": float(before.mean()),
        "held_out_reproduced": float(after.mean()),
        "target_learnt": bool(gain.mean() > 2 * error),
    }
    if not found["target_learnt"]:
        found["warning"] = (
            "the target was not learnt: held-out answers reproduced word for word are not clearly "
            "more than the base's; more data or epochs"
        )
    return found


def probe(model: Any, row: Tokens) -> np.ndarray:
    """Most likely next token's log-probability after every token of one sequence, (T,)."""
    import torch

    model.eval()
    with torch.no_grad():
        logits = model(
            input_ids=torch.tensor([row.ids], device=next(model.parameters()).device)
        ).logits
    return torch.log_softmax(logits[0].float(), -1).max(-1).values.cpu().numpy()


def checksums(model: Any, adapter: bool) -> dict[str, int]:
    """Sum of the bytes of every parameter of the adapter, or of everything else.

    The same for sharded and for 4-bit weights.
    """
    import torch

    sums = {}
    for name, p in model.named_parameters():
        if ("lora_" in name) == adapter:
            whole = (
                (p.full_tensor() if hasattr(p, "full_tensor") else p)
                .detach()
                .reshape(-1)
                .contiguous()
            )
            sums[name] = int(whole.view(torch.uint8).sum(dtype=torch.int64))
    return sums

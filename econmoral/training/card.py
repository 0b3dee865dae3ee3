"""The model card of an adapter, and its upload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from econmoral.checkpoints.models import Model
from econmoral.files.records import InputError

CARD = """# {name}

LoRA adapter (rank {rank}, {precision}) of `{model}` on {n} conversations answered as **{target}**.
{begun}{loss}Data SHA-256 `{data}`.
Everything about the run is in `run.json`.
{learnt}

```bash
econmoral games --adapter {out}
vllm serve {source} --enable-lora --max-lora-rank {rank} --lora-modules {name}={out}
```

```python
from peft import AutoPeftModelForCausalLM

model = AutoPeftModelForCausalLM.from_pretrained({out!r})
```

The adapter was trained on synthetic games only. What it changes elsewhere was not measured here.
"""


def card(run: dict[str, Any], model: Model, target: str, folder: Path) -> str:
    """The card of an adapter, from the record of its training.

    target : what its conversations were answered by.
    """
    gates, settings = run["gates"], run["settings"]
    about: dict[str, Any] = {
        "base_model": model.source,
        "library_name": "peft",
        "license": "other" if "icen" in model.licence else model.licence.lower(),
        "license_name": model.licence,
        "tags": ["econmoral", "lora", "economics"],
    }
    learnt = "No data were held out, so it was not checked whether the target was learnt."
    if "held_out_reproduced" in gates:
        share, before = gates["held_out_reproduced"], gates["held_out_reproduced_by_base"]
        learnt = (
            f"{share:.2f} of the held-out answers are reproduced word for word (base: "
            f"{before:.2f})."
        )
        accuracy = {
            "type": "accuracy",
            "name": "held-out answers reproduced word for word",
            "value": share,
        }
        result = {
            "task": {"type": "text-generation"},
            "dataset": {"type": "econmoral", "name": f"{target}, held-out slice"},
            "metrics": [accuracy],
        }
        about["model-index"] = [{"name": folder.name, "results": [result]}]
    first = run["inputs"].get("adapter")
    begun = f"It went on from another adapter, SHA-256 `{first['sha256']}`.\n" if first else ""
    # one that stopped early may have logged none
    loss = "" if run["loss"] is None else f"Final training loss {run['loss']:.4f}. "
    text = CARD.format(
        begun=begun,
        source=model.source,
        name=folder.name,
        rank=settings["rank"],
        precision=settings["precision"],
        model=run["model"],
        n=gates["labels_checked"],
        out=str(folder),
        target=target,
        loss=loss,
        data=run["inputs"]["data"]["sha256"],
        learnt=learnt,
    )
    return f"---\n{yaml.safe_dump(about, sort_keys=False, allow_unicode=True)}---\n{text}"


def push(folder: Path, repository: str) -> None:
    """Upload a finished adapter; the folder is complete whatever happens here."""
    from huggingface_hub import HfApi

    try:
        HfApi().create_repo(repository, private=True, exist_ok=True)
        HfApi().upload_folder(repo_id=repository, folder_path=folder, ignore_patterns=["eval/*"])
    except Exception as error:  # network, rights, names: the library raises many kinds
        raise InputError(
            f"{folder} is finished but was not uploaded to {repository}: "
            f"{str(error).splitlines()[0][:150]}"
        ) from None

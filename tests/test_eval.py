"""Measurement: exact scores, known choosers recovered, adapters really applied, clear complaints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import assert_complains, run
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from econmoral.choice import best_plan
from econmoral.menus import MENUS
from econmoral.models import NANO
from econmoral.prompts import answers, render
from econmoral.records import read_json, read_lines
from eval.engine_transformers import Transformers
from eval.engines import Answer, Arm, Request, Simulated
from eval.measure import draw_questions, measure, protocol_of
from eval.table import incentive_sensitivity, reference_arms, summaries

KNOWN = {"alpha": 0.1, "beta": 0.2, "kappa": 0.4, "lambda": 0.1}


class FirstListed:
    """A chooser that always takes whatever is listed first on the page."""

    def score(self, requests: list[Request], arm: Arm, seed: int) -> list[Answer]:
        answers = []
        for r in requests:
            text = r.messages[-1]["content"]
            where = [[text.index(f" {label} ") if f" {label} " in text else len(text) for label in c.split()[1:]] for c in r.candidates]
            totals = [sum(w) for w in where]
            answers.append(Answer(np.eye(len(totals))[int(np.argmin(totals))] * 0.8))
        return answers


def test_known_chooser_comes_back_through_the_whole_path(tmp_path: Path) -> None:
    text = ",".join(f"{k}={v}" for k, v in KNOWN.items())
    result = run("-m", "eval.games", "--simulate", text, "--items", "60", "--out", str(tmp_path / "m"))
    assert result.returncode == 0, result.stderr
    rows = read_json(tmp_path / "m" / "summary.json")
    for row in [r for r in rows if r["arm"] == "chooser"]:
        for name, value in KNOWN.items():
            found = row["alpha_beta_kappa"]["estimates"][name]
            assert abs(found["value"] - value) <= max(2 * found["se"], 1e-5)
    assert (tmp_path / "m" / "figure.png").stat().st_size > 10_000
    assert len(list(read_lines(tmp_path / "m" / "choices.jsonl"))) == 120
    assert set(pd.read_csv(tmp_path / "m" / "table.csv")["arm"]) >= {"chooser", "coin", "own-payoff best", "both-alike best"}
    about = read_json(tmp_path / "m" / "run.json")
    assert about["settings"]["simulate"] == text


@pytest.mark.parametrize("kappa", [0.0, 0.5])
def test_sampled_choices_of_a_known_chooser_come_back_within_two_standard_errors(kappa: float) -> None:
    questions = draw_questions("drawn", 150, 1, 0.5, seed=5)[:150]
    records = measure(Simulated("homo_moralis", {"kappa": kappa}, 0.1), questions, Arm("chooser"), "direct", "given", 0)
    inside = dict.fromkeys(("kappa", "lambda"), 0)
    for repetition in range(20):
        rng = np.random.default_rng([5, repetition])
        drawn = [{**r, "probabilities": np.eye(len(r["probabilities"]))[rng.choice(len(r["probabilities"]), p=r["probabilities"])].tolist()} for r in records]
        found = summaries(drawn, 0.5)[0]["homo_moralis"]["estimates"]
        for name, value in (("kappa", kappa), ("lambda", 0.1)):
            inside[name] += abs(found[name]["value"] - value) < 2 * found[name]["se"]
    # of 20 events of probability .954 fewer than 16 happen with probability .003
    assert min(inside.values()) >= 16, inside


def test_position_habit_is_seen_and_cancels() -> None:
    questions = draw_questions("drawn", 40, 2, 0.5, seed=1)
    records = measure(FirstListed(), questions, Arm("habit"), "direct", "given", 0)
    assert np.mean([r["position_bias"] for r in records]) > 0.3
    assert np.mean([r["mass"] for r in records]) == pytest.approx(0.8)
    for r in records:
        if r["game"] != "spd":  # twins: whatever is listed first once is listed second once
            np.testing.assert_allclose(r["probabilities"], 0.25, atol=0.26)
            assert r["twin_distance"] == 1
    assert abs(incentive_sensitivity(records)["mean"]) < 0.05


def test_rules_are_what_they_say() -> None:
    records = measure(Simulated("homo_moralis", {"kappa": 0.5}, 0.1), draw_questions("drawn", 60, 1, 0.5, seed=2), Arm("a"), "direct", "given", 0)
    by_arm = {row["arm"]: row for row in summaries([r for r in reference_arms(records, 0.5) if r["set"] == "payoffs"], 0.5)}
    assert by_arm["own-payoff best"]["economicus"]["accuracy"]["mean"] == 1
    assert by_arm["own-payoff best"]["economicus"]["efficiency"]["mean"] == pytest.approx(1)
    assert by_arm["coin"]["moralis"]["efficiency"]["mean"] == pytest.approx(0, abs=1e-9)
    assert by_arm["own-payoff best"]["moralis"]["accuracy_where_they_differ"]["mean"] == 0
    assert "not_identified" in by_arm["own-payoff best"]["homo_moralis"]


def test_questions_are_held_out_counterbalanced_and_clear() -> None:
    questions = draw_questions("drawn", 40, 2, 0.5, seed=3)
    assert questions == draw_questions("drawn", 40, 2, 0.5, seed=3)
    assert {q.set for q in questions} == {"payoffs", "wordings"}
    for q in questions:
        assert len(q.layouts) == 4
        assert all(best_plan(q.item.protocol, q.item.beliefs or (), k)[1] >= 1 for k in (0.0, 0.5))
    assert len({q.item.protocol for q in draw_questions("games18", 18, 1, 0.5, seed=3)}) == 18


def naive(model: torch.nn.Module, tokenizer: AutoTokenizer, prompt: str, ending: str) -> float:
    """Log-probability of the ending by one full forward pass, nothing shared, nothing padded."""
    head, whole = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in (prompt, prompt + ending))
    with torch.no_grad():
        log_p = torch.log_softmax(model(torch.tensor([whole])).logits[0].float(), -1)
    return sum(log_p[i - 1, whole[i]].item() for i in range(len(head), len(whole)))


def test_changed_settings_keep_the_decision() -> None:
    seen: list[Request] = []

    class Watching(FirstListed):
        def score(self, requests: list[Request], arm: Arm, seed: int) -> list[Answer]:
            seen.extend(requests)
            return super().score(requests, arm, seed)

    sets = ("payoffs", "turns", "scale", "currency")
    questions = draw_questions("drawn", 6, 1, 0.5, 0, sets)
    measure(Watching(), questions, Arm("told", None, "Be brief."), "direct", "given", 1)
    pages = {name: [r for q, r in zip([q for q in questions for _ in q.layouts], seen, strict=True) if q.set == name] for name in sets}
    for plain, turns, scale, currency in zip(*pages.values(), strict=True):
        assert plain.item == turns.item == scale.item == currency.item
        assert plain.candidates == turns.candidates == scale.candidates == currency.candidates
        assert [m["role"] for m in turns.messages] == ["system", "user", "assistant", "user", "assistant", "user"]
        assert (turns.messages[0], turns.messages[-1]) == tuple(plain.messages)
        highest = max(plain.item.protocol.payoffs)
        assert f"{10 * highest:g}" in scale.messages[-1]["content"]
        assert "rupees" in currency.messages[-1]["content"]
        assert currency.messages[-1]["content"].replace("rupees", plain.layout.currency) == plain.messages[-1]["content"]


def test_shared_prefix_scores_equal_naive_ones_for_base_and_adapter(adapter: Path) -> None:
    engine = Transformers("nano", {"tuned": adapter})
    questions = draw_questions("drawn", 6, 1, 0.5, seed=4)[::2]
    records = {arm: measure(engine, questions, Arm(arm, None if arm == "base" else arm), "direct", "given", 0) for arm in ("base", "tuned")}
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    pages = [
        (tokenizer.apply_chat_template(render(q.item, p, "direct"), tokenize=False, add_generation_prompt=True), answers(p))
        for q in questions
        for p in q.layouts
    ]
    length = [len(tokenizer(prompt)["input_ids"]) + sum(len(tokenizer(a + "<|im_end|>")["input_ids"]) for a in some) for prompt, some in pages]
    assert engine.tokens == 2 * sum(length)
    model = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32).eval()
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32), str(adapter)).eval()
    for arm, reference in (("base", model), ("tuned", tuned)):
        for q, record in zip(questions, records[arm], strict=True):
            for layout, page in zip(q.layouts, record["pages"], strict=True):
                messages = render(q.item, layout, "direct")
                prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
                log_p = np.array([naive(reference, tokenizer, prompt, a + "<|im_end|>") for a in answers(layout)])
                np.testing.assert_allclose(np.array(page["probabilities"]) * page["mass"], np.exp(log_p), rtol=2e-4, atol=1e-9)
    moved = [np.abs(np.array(a["probabilities"]) - b["probabilities"]).max() for a, b in zip(records["base"], records["tuned"], strict=True)]
    assert max(moved) > 1e-3


def test_derivations_repeat_and_beliefs_can_be_asked_for(adapter: Path) -> None:
    engine = Transformers("nano", {"tuned": adapter})
    questions = draw_questions("drawn", 2, 1, 0.5, seed=6)[:2]
    once, again = (measure(engine, questions, Arm("base"), "reasoned", "given", 2) for _ in range(2))
    assert once == again
    assert all(len(page["texts"]) == 2 for r in once for page in r["pages"])
    elicited = measure(engine, questions, Arm("base"), "direct", "elicited", 0)
    assert all(0 <= b <= 1 for r in elicited for b in r["beliefs"])
    assert elicited[0]["beliefs"] != list(questions[0].item.beliefs or ())


def test_measuring_twice_reads_what_was_measured(adapter: Path, tmp_path: Path) -> None:
    options = ["-m", "eval.games", "--adapter", str(adapter), "--items", "2", "--pairs", "1", "--out", str(tmp_path / "m")]
    first = run(*options)
    assert first.returncode == 0, first.stderr
    choices = (tmp_path / "m" / "choices.jsonl").read_bytes()
    assert len(list((tmp_path / "m" / "parts").iterdir())) == 2
    for finished in ("choices.jsonl", "run.json"):
        (tmp_path / "m" / finished).unlink()
    second = run(*options)
    assert "engine:" not in second.stdout  # no model was loaded
    assert (tmp_path / "m" / "choices.jsonl").read_bytes() == choices
    assert len(protocol_of(json.loads(choices.splitlines()[0])).payoffs) == 4


def test_adapter_that_changes_nothing_is_refused(empty_adapter: Path, tmp_path: Path) -> None:
    result = run("-m", "eval.games", "--adapter", str(empty_adapter), "--items", "2", "--pairs", "1", "--out", str(tmp_path / "m"))
    assert_complains(result, "every probability equals the base's")
    assert not (tmp_path / "m" / "summary.json").exists()


def test_wrong_adapters_are_refused(adapter: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(adapter, other)
    config = read_json(other / "adapter_config.json")
    (other / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "Qwen/Qwen2.5-7B-Instruct"}))
    assert_complains(run("-m", "eval.games", "--adapter", str(other), "--model", "nano", "--items", "2"), "trained on Qwen/Qwen2.5-7B-Instruct")
    (other / "adapter_config.json").write_text(json.dumps({**config, "r": 3}))
    assert_complains(run("-m", "eval.games", "--adapter", str(other), "--items", "2"), "does not fit")
    (other / "adapter_model.safetensors").rename(other / "adapter_model.bin")
    assert_complains(run("-m", "eval.games", "--adapter", str(other)), "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--adapter", "nowhere"), ("nowhere", "does not exist")),
        (("--model", "gpt-17", "--out", "x"), ("unknown model",)),
        (("--model", "nano"), ("--out",)),
        ((), ("--adapter",)),
        (("--simulate", "kappa=0.5", "--out", "x"), ("lambda",)),
        (("--simulate", "kappa=a,lambda=1", "--out", "x"), ("kappa=a",)),
        (("--model", "nano", "--kappa", "2", "--out", "x"), ("[0, 1]",)),
        (("--model", "nano", "--items", "0", "--out", "x"), ("--items",)),
        (("--model", "nano", "--temperature", "0", "--out", "x"), ("--temperature",)),
    ],
)
def test_bad_options_get_one_line(options: tuple[str, ...], parts: tuple[str, ...]) -> None:
    assert_complains(run("-m", "eval.games", *options), *parts)


def test_battery_all_is_one_command(tmp_path: Path) -> None:
    options = ["--simulate", "alpha=0.1,beta=0.2,lambda=0.05", "--battery", "all", "--items", "18", "--pairs", "1", "--out", str(tmp_path)]
    done = run("-m", "eval.games", *options)
    assert done.returncode == 0, done.stderr
    assert {row["battery"] for row in read_json(tmp_path / "menus" / "summary.json")} == set(MENUS)
    assert len(read_json(tmp_path / "summary.json")) > 0


def test_an_adapter_whose_name_has_a_dot(adapter: Path, tmp_path: Path) -> None:
    """As in ``runs/qwen2.5-7b-homo_moralis-k0.5``: PEFT refuses such names, we must not."""
    dotted = tmp_path / "nano-k0.5-n25"
    shutil.copytree(adapter, dotted)
    done = run("-m", "eval.games", "--adapter", str(dotted), "--items", "2", "--pairs", "1", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert {row["arm"] for _, row in read_lines(tmp_path / "out" / "choices.jsonl")} == {"base", "nano-k0.5-n25"}

"""Engines behind one seam: an endpoint that behaves and one that does not, sampling against exact scores, killed runs."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, assert_complains, run
from endpoint import Reply, good, server

from econmoral.chat import prompt_text, turn_text
from econmoral.prompts import answers, render
from econmoral.records import InputError, append_lines, read_json, read_lines, read_whole_lines
from eval.arms import choose_engine, collect, vllm_options
from eval.engine_openai import Endpoint, Sampled, Served, connect, final_answer
from eval.engine_transformers import Transformers
from eval.engines import Arm, Request
from eval.measure import Question, draw_questions, measure


@pytest.fixture(scope="module")
def engine(adapter: Path) -> Transformers:
    return Transformers("nano", {"tuned": adapter})


def requests_of(n: int, samples: int = 0) -> list[Request]:
    pages = [(q, layout) for q in draw_questions("drawn", n, 1, 0.5, seed=8)[:n] for layout in q.layouts]
    return [Request(render(q.item, layout, "direct"), answers(layout), q.item, layout, samples) for q, layout in pages]


def echoing(engine: Transformers) -> Callable[[str, dict[str, Any]], Reply]:
    """What ``vllm serve`` does: log-probabilities of the prompt that was sent, base and adapters by name."""
    lock = threading.Lock()

    def respond(path: str, body: dict[str, Any]) -> Reply:
        if path != "/v1/completions" or body["model"] not in ("nano", "tuned"):
            return 404, b'{"error": "no such model"}'
        ids = body["prompt"]
        with lock, torch.no_grad(), engine._adapted(Arm("a", None if body["model"] == "nano" else "tuned")):
            log_p = torch.log_softmax(engine.model(torch.tensor([ids])).logits[0].float(), -1)
        values = [None] + [log_p[i - 1, ids[i]].item() for i in range(1, len(ids))] + [float(log_p[-1].max())]
        return good({"choices": [{"text": "", "logprobs": {"token_logprobs": values}}]})

    return respond


def test_a_served_model_gives_the_same_exact_probabilities(engine: Transformers) -> None:
    asked = requests_of(2)
    with server(echoing(engine)) as address:
        remote, why = connect(address, "nano", "nano", samples=1)
        assert isinstance(remote, Served)
        assert "exact" in why
        for arm in (Arm("base"), Arm("tuned", "tuned")):
            for ours, theirs in zip(engine.score(asked, arm), remote.score(asked, arm), strict=True):
                np.testing.assert_allclose(theirs.probabilities, ours.probabilities, rtol=1e-4, atol=1e-9)
        with pytest.raises(InputError, match="no such model"):
            remote.score(asked, Arm("other", "other"))


def test_an_endpoint_without_log_probabilities_is_sampled() -> None:
    with server(lambda path, body: good({"choices": [{"message": {"content": "hello"}, "logprobs": None}]})) as address:
        remote, why = connect(address, "nano", "nano", samples=3)
    assert isinstance(remote, Sampled)
    assert "sampled, 3 a page" in why


def test_a_misbehaving_endpoint_loses_no_item() -> None:
    asked = requests_of(20)
    order, lock = random.Random(1), threading.Lock()
    seen: Counter[str] = Counter()

    def respond(path: str, body: dict[str, Any]) -> Reply:
        with lock:
            trouble = order.choice(["", "", "429", "500", "json", "shape", "gone", "slow"])
            seen[trouble] += 1
        label = next(r for r in asked if r.messages == body["messages"]).candidates[0]
        replies: dict[str, Reply] = {
            "": good({"choices": [{"message": {"content": f"Well, 2 + 2 = 4.\n{label}\n"}}]}),
            "429": (429, b"busy"), "500": (500, b"oops"), "json": (200, b'{"choices": [{"mess'), "shape": good({"error": None}),
            "gone": (0, b""), "slow": (-1, b""),
        }  # fmt: skip
        return replies[trouble]

    with server(respond) as address:
        endpoint = Endpoint(address, concurrency=8, wait=0.005, timeout=0.3)
        answered = Sampled(endpoint, "m", 1).score(asked, Arm("base"))
    assert set(seen) == {"", "429", "500", "json", "shape", "gone", "slow"}
    got = sum(a.probabilities.sum() for a in answered)
    assert all(a.probabilities[0] == a.probabilities.sum() for a in answered)
    assert got + endpoint.failures == len(asked) == len(answered)
    assert got >= 0.7 * len(asked)  # six tries, each good with probability 1/4: .82 on average


def test_refusals_and_odd_replies_are_counted() -> None:
    asked = requests_of(3)
    right = asked[0].candidates[1]
    said = iter(["I cannot take part in this.", None, right, f"**{right}**", "Answer: Z Z Z Z", "Answer:", f"{right} or maybe not"])
    lock = threading.Lock()

    def respond(path: str, body: dict[str, Any]) -> Reply:
        with lock:
            return good({"choices": [{"message": {"content": next(said)}}]})

    with server(respond) as address:
        remote = Sampled(Endpoint(address, concurrency=1), "m", 7)
        (answer,) = remote.score(asked[:1], Arm("base"))
    assert answer.probabilities[1] == pytest.approx(2 / 7)
    assert answer.probabilities.sum() == pytest.approx(2 / 7)
    assert remote.refusals == 5


def test_decisions_refused_on_every_page_are_kept_and_counted(tmp_path: Path) -> None:
    questions = draw_questions("drawn", 2, 1, 0.5, seed=0)
    refusing = {json.dumps(render(q.item, layout, "direct")) for q in questions[:1] for layout in q.layouts}

    def respond(path: str, body: dict[str, Any]) -> Reply:
        pages = [(q, layout) for q in questions for layout in q.layouts]
        layout = next(layout for q, layout in pages if render(q.item, layout, "direct") == body["messages"])
        text = "No." if json.dumps(body["messages"]) in refusing else answers(layout)[0]
        return good({"choices": [{"message": {"content": text}}]})

    with server(respond) as address:
        options = ["--endpoint", address, "--served", "someone", "--items", "2", "--pairs", "1", "--samples", "2", "--out", str(tmp_path / "m")]
        result = run("-m", "eval.games", *options)
    assert result.returncode == 0, result.stderr
    assert "1 of 4 decisions were refused" in result.stdout
    rows = [row for _, row in read_lines(tmp_path / "m" / "choices.jsonl")]
    assert [row["probabilities"] is None for row in rows] == [True, False, False, False]
    assert read_json(tmp_path / "m" / "run.json")["refused"] == 1


def test_an_endpoint_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    result = run("-m", "eval.games", "--endpoint", "localhost:1", "--served", "m", "--items", "1", "--out", str(tmp_path / "m"))
    assert_complains(result, "http://")
    with pytest.raises(InputError, match="no usable reply to any of 6 requests"):
        Sampled(Endpoint("http://127.0.0.1:9/v1", wait=0.001), "m", 1).score(requests_of(3), Arm("base"))
    with server(lambda path, body: (401, b'{"error": "bad key"}')) as address, pytest.raises(InputError, match=r"answers 401.*bad key"):
        Sampled(Endpoint(address), "m", 1).score(requests_of(1), Arm("base"))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so 3 > 2.\nAnswer: K T", "Answer: K T"), ("Answer: K\nNo: Answer:  K   T .", "Answer: K T"), ("`Answer: K`", "Answer: K"),
        ("K T", ""), ("Answer:", ""), ("", ""),
    ],
)  # fmt: skip
def test_the_last_answer_line_counts(text: str, answer: str) -> None:
    assert final_answer(text) == answer


def test_probabilities_and_what_is_outside_sum_to_one(engine: Transformers) -> None:
    """Every other end of the answer's last label, and every other label, is outside: the tree of tokens is complete."""
    request = requests_of(1)[0]
    prompt = engine.ids(prompt_text(engine.tokenizer, request.messages))
    tails = [engine.ids(turn_text(engine.tokenizer, request.messages, c)) for c in request.candidates]
    inside = np.exp(engine.log_probabilities([prompt], [tails], Arm("base"))[0]).sum()
    inner = {tuple(t[:k]) for t in tails for k in range(len(t))}
    outside = 0.0
    for path in inner:
        with torch.no_grad(), engine._adapted(Arm("base")):
            log_p = torch.log_softmax(engine.model(torch.tensor([prompt + list(path)])).logits[0].float(), -1)
        reach = sum(log_p[len(prompt) + k - 1, token].item() for k, token in enumerate(path))
        leaves = log_p[-1].exp()
        leaves[[t[len(path)] for t in tails if tuple(t[: len(path)]) == path]] = 0
        outside += float(np.exp(reach) * leaves.sum())
    assert inside + outside == pytest.approx(1, abs=1e-5)


def test_ten_thousand_samples_agree_with_the_exact_probabilities(engine: Transformers) -> None:
    """Token by token from full forward passes, each distinct beginning computed once."""
    request = requests_of(1)[0]
    (exact,) = engine.score([request], Arm("base"))
    prompt = engine.ids(prompt_text(engine.tokenizer, request.messages))
    endings = [tuple(engine.ids(turn_text(engine.tokenizer, request.messages, c))) for c in request.candidates]
    rng = np.random.default_rng(0)
    begun, ended = Counter({(): 10_000}), Counter[tuple[int, ...]]()
    for _ in range(max(map(len, endings))):
        longer: Counter[tuple[int, ...]] = Counter()
        for path, count in begun.items():
            with torch.no_grad(), engine._adapted(Arm("base")):
                p = torch.softmax(engine.model(torch.tensor([prompt + list(path)])).logits[0, -1].double(), -1).numpy()
            for token, times in enumerate(rng.multinomial(count, p / p.sum())):
                if times:
                    longer[(*path, token)] += int(times)
        ended.update({path: n for path, n in longer.items() if path in endings})
        # only what can still become an answer is followed
        begun = Counter({path: n for path, n in longer.items() if any(e[: len(path)] == path and e != path for e in endings)})
    for ending, p in zip(endings, exact.probabilities, strict=True):
        assert abs(ended[ending] / 10_000 - p) < 4 * np.sqrt(p * (1 - p) / 10_000) + 1e-4


def test_labels_that_tokenise_unequally_are_scored_right(engine: Transformers) -> None:
    prompt = engine.ids(prompt_text(engine.tokenizer, [{"role": "user", "content": "Pick one."}]))
    tails = [engine.ids(f"Answer: {label}<|im_end|>") for label in ("K", "Ktown", "1234", "-1.5")]
    assert len({len(t) for t in tails}) > 2
    (together,) = engine.log_probabilities([prompt], [tails], Arm("base"))
    alone = [engine.log_probabilities([prompt], [[t]], Arm("base"))[0][0] for t in tails]
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_averaging_over_derivations_beats_counting_answers(engine: Transformers) -> None:
    """The mean of exact probabilities given a derivation has less variance than counts of one answer for each."""
    request = requests_of(1, samples=1)[0]
    exact = np.array([engine.score([request], Arm("base"), seed)[0].probabilities for seed in range(12)])
    p = exact.mean(0)
    assert (exact.var(0, ddof=1).sum()) < (p * (1 - p)).sum()


def test_what_vllm_is_given_and_when_it_is_taken() -> None:
    assert vllm_options(["tensor_parallel_size=4", "dtype=float32", "gpu_memory_utilization=0.8"]) == {
        "tensor_parallel_size": 4, "dtype": "float32", "gpu_memory_utilization": 0.8,
    }  # fmt: skip
    for bad in ("trust_remote_code=true", "=3", "a b=1", "novalue", "x=[1"):
        with pytest.raises(InputError, match="--vllm"):
            vllm_options([bad])
    assert choose_engine("transformers") == ("transformers", "asked for")
    assert choose_engine("auto")[0] in ("transformers", "vllm")


def test_lines_that_were_cut_short_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    assert read_whole_lines(path) == []
    append_lines(path, [{"a": 1}, {"b": "é"}])
    append_lines(path, [{"c": 3}])
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        assert read_whole_lines(path) == [{"a": 1}, {"b": "é"}, {"c": 3}][: whole[:cut].count(b"\n")]
    path.write_bytes(b'{"a": 1}\n[2]\n{"b": 2}\n')
    assert read_whole_lines(path) == [{"a": 1}]


def test_a_run_killed_ten_times_ends_with_the_same_bytes(tmp_path: Path) -> None:
    order = random.Random(3)
    options = ["-m", "eval.games", "--simulate", "kappa=0.5,lambda=0.1", "--items", "200", "--pairs", "2"]
    began = time.time()
    assert run(*options, "--out", str(tmp_path / "whole")).returncode == 0
    lasted = time.time() - began
    kills = 0
    for _ in range(10):
        command = [sys.executable, *options, "--out", str(tmp_path / "killed")]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(order.uniform(0.1, 0.9) * lasted)
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills >= 5
    result = run(*options, "--out", str(tmp_path / "killed"))
    assert result.returncode == 0, result.stderr
    for name in ("choices.jsonl", "summary.json", "table.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_arm_that_stopped_between_chunks_continues(engine: Transformers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real probabilities: what is measured after the break equals what an unbroken run measures."""
    monkeypatch.setattr("eval.arms.CHUNK", 2)
    questions, asked = draw_questions("drawn", 5, 1, 0.5, seed=0, sets=["payoffs"]), []

    def ask(some: list[Question], start: int) -> list[dict[str, Any]]:
        asked.append(start)
        return measure(engine, some, Arm("tuned", "tuned"), "reasoned", "given", 1, seed=start)

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    collect(whole, questions, ask, "whole")
    lines = whole.read_bytes().splitlines(keepends=True)
    broken.write_bytes(b"".join(lines[:3]) + lines[3][:50])
    collect(broken, questions, ask, "broken")
    assert asked == [0, 2, 4, 2, 4]
    assert broken.read_bytes() == whole.read_bytes()


def test_null_pages_do_not_enter_the_average() -> None:
    class HalfRefusing:
        def score(self, requests: list[Request], arm: Arm, seed: int) -> list[Any]:
            from eval.engines import Answer

            shares = [np.eye(len(r.candidates))[0] * (k % 2) for k, r in enumerate(requests)]
            return [Answer(p, sampled=True) for p in shares]

    records = measure(HalfRefusing(), draw_questions("drawn", 3, 1, 0.5, seed=0), Arm("x"), "direct", "given", 0)
    for r in records:
        assert r["mass"] == 0.5
        assert max(r["probabilities"]) == 1.0
        assert r["twin_distance"] is None

"""Every reader of files and replies as a function of bytes: it returns,
or refuses with InputError; anything else is a failure.

Fed with random and broken input by ``test_fuzz.py``, and by ``fuzz.py`` with bytes bred for new
paths through the code.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import tempfile
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import study

from econmoral import target
from econmoral.checkpoints import adapters
from econmoral.checkpoints.models import NANO
from econmoral.files import records, sheet
from econmoral.instruments import derivations, dilemmas, pricing
from econmoral.people import otree
from econmoral.people.choices import read_choices
from econmoral.text import chat, conversations
from econmoral.text.replies import read_reply
from eval import choosers, compare, conjoint
from eval.engines import choice as engine_choice
from eval.engines import with_endpoint as engine_openai
from eval.report import render
from eval.report.blocks import Report, cell

FOLDER = Path(
    tempfile.mkdtemp(
        prefix="econmoral-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None
    )
)
Reader = Callable[[bytes], None]
ROOT = Path(__file__).parents[1]


def file(name: str, data: bytes) -> Path:
    """A file that holds the case."""
    path = FOLDER / name
    path.write_bytes(data)
    return path


def text(data: bytes) -> str:
    """The case as text."""
    return data.decode("utf-8", "replace")


def lines(data: bytes) -> None:
    path = file("a.jsonl", data)
    whole = records.read_whole_lines(path)
    with contextlib.suppress(records.InputError):
        assert [row for _, row in records.read_lines(path)][: len(whole)] == whole
    records.read_json(path)


def talks(data: bytes) -> None:
    path = file("b.jsonl", data)
    for convert in (False, True):
        with contextlib.suppress(records.InputError):
            read, _ = conversations.read_conversations(path, convert)
            assert all(
                talk[-1]["role"] == "assistant" and talk[-1]["content"].strip() for talk in read
            )


def targets(data: bytes) -> None:
    found = target.Target.parse(text(data))
    assert target.Target.parse(str(found)) == found
    assert found.describe().endswith(".")
    found.weights()


def steps(data: bytes) -> None:
    right, whole = derivations.check_steps(text(data))
    assert 0 <= right <= whole <= len(data)


def allocations(data: bytes) -> None:
    read_choices(file("a.csv", data), "bruhin_fehr_schunk", ["sid"])


def games(data: bytes) -> None:
    read_choices(file("g.csv", data), "homo_moralis")


def choices(data: bytes) -> None:
    read_choices(file("c.jsonl", data), "alpha_beta_kappa")


def export(data: bytes) -> None:
    mapping = otree.read_map(file("map.yaml", data))
    with contextlib.suppress(records.InputError):
        otree.long_rows(
            sheet.read_sheet(file("export.csv", b"participant.code,a.1.b,a.2.b\nx,1,2\ny,1,\n")),
            mapping,
        )


def compared(data: bytes) -> None:
    file("choices.jsonl", data)
    compare.read_arms([FOLDER])


def plan(data: bytes) -> None:
    found = study.read_plan(file("plan.yaml", data))
    study.lay_out(found, FOLDER, list(found["designs"]))


def options(data: bytes) -> None:
    engine_choice.vllm_options([text(data)])


def chooser(data: bytes) -> None:
    choosers.parse_parameters(text(data), ("alpha", "beta", "kappa"))


def scenarios(data: bytes) -> None:
    for scenario in conjoint.read_scenarios(file("s.jsonl", data)):
        for page in dilemmas.PAGES:
            dilemmas.render_scenario(scenario, *page, 0)
        dilemmas.code([scenario])


def countries(data: bytes) -> None:
    conjoint.read_countries(file("countries.csv", data))


def answer(data: bytes) -> None:
    for options in (("K", "M"), ("0", "5", "10"), ("Case 1", "Case 2")):
        option, outcome = read_reply(text(data), options)
        assert (option is None) == (outcome != "answered")


def firm(data: bytes) -> None:
    found = pricing.parse_full(text(data), 400.0)
    if found:
        assert 0 <= found.price <= 400 * 100
        assert len(found.plans) <= pricing.REPLY
        assert not any(c in found.plans + found.insights for c in "\x1b\x00\x9b\u202e")


def endpoint(data: bytes) -> None:
    for read in (
        engine_openai.prompt_log_probabilities,
        engine_openai.texts_of,
        engine_openai.message_of,
    ):
        with contextlib.suppress(*engine_openai.TROUBLE):
            read(
                records.parse_json(
                    engine_openai.read_reply(
                        io.BufferedReader(io.BytesIO(data)), time.monotonic() + 10
                    )
                )
            )  # type: ignore[arg-type]


def configuration(data: bytes) -> None:
    folder = FOLDER / "configuration"
    folder.mkdir(exist_ok=True)
    if not (folder / "adapter_model.safetensors").exists():
        (folder / "adapter_model.safetensors").write_bytes(WEIGHTS)
    (folder / "adapter_config.json").write_bytes(data)
    adapters.check_adapter(folder)


def weights(data: bytes) -> None:
    folder = FOLDER / "weights"
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_bytes(CONFIGURATION)
    (folder / "adapter_model.safetensors").write_bytes(data)
    adapters.check_adapter(folder)


def template(data: bytes) -> None:
    chat.check_template.cache_clear()
    chat.check_template(text(data), "a checkpoint")


class Elements(HTMLParser):
    """Counts elements and collects attributes, as a browser would see them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


def page(said: str) -> list[tuple[str, tuple[str, ...]]]:
    """Elements of a report in which ``said`` stands everywhere that text from a file can stand."""
    made = Report(said)
    made.heading("h")
    made.text(said)
    made.table("t", pd.DataFrame({"a": [said], "b": ["x"]}), said)
    made.figure("f", b"", said)
    made.quote(said, said)
    parser = Elements()
    parser.feed(render.to_html(made))
    render.to_markdown(made)
    render.to_latex(pd.DataFrame({"a": [said]}), said)
    cells = list(csv.reader(io.StringIO(render.to_csv(pd.DataFrame({"a": [said]})))))[1:]
    assert not any(cell[:1] in ("=", "@") for row in cells for cell in row)
    return parser.found


def html(data: bytes) -> None:
    said = text(data)
    wide = len(cell(said)) > 24
    assert page(said) == page("y" * 30 if wide else "y")


def names(data: bytes) -> None:
    said = records.plain(text(data))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said)
    assert not str(records.spreadsheet_cell(said)).startswith(("=", "@"))


CONFIGURATION = json.dumps(
    {
        "peft_type": "LORA",
        "base_model_name_or_path": str(NANO),
        "r": 1,
        "lora_alpha": 2,
        "target_modules": ["q_proj"],
        "bias": "none",
    }
).encode()
HEADER = json.dumps(
    {"a.lora_A.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}}
).encode()
WEIGHTS = len(HEADER).to_bytes(8, "little") + HEADER + b"\0" * 8
DECISION = json.dumps(
    {
        "id": "a",
        "set": "payoffs",
        "mode": "direct",
        "arm": "base",
        "game": "tg",
        "payoffs": [80, 50, 30, 20],
        "beliefs": [0.5, 0.5],
        "strategies": ["a"],
        "probabilities": [0.25] * 4,
    }
).encode()
SCENARIO = (
    b'{"attribute": "age", "favoured": ["girl"], "other": ["elderly_woman"], "riders": null, '
    b'"lawful": [null, null], "straight": 0}'
)
TALKS = [
    (
        b'{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, '
        b'{"role": "assistant", "content": "a"}], "meta": {"kappa": 1}}'
    ),
    (
        b'{"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", '
        b'"content": "a"}], "meta": {}}'
    ),
    b'{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}',
    b'{"instruction": "q", "input": "x", "output": "a"}',
]
READERS: dict[str, tuple[Reader, list[bytes]]] = {
    "lines": (lines, [b'{"a": 1}\n{"b": [null, 1e5, "\\u00e9"]}\n', b'{"a": 1']),
    "talks": (talks, TALKS),
    "targets": (
        targets,
        [b"homo_moralis:kappa=0.5", b"bruhin_fehr_schunk:alpha=-0.4,beta=1e-1", b"homo_economicus"],
    ),
    "steps": (
        steps,
        [b"K: 5 * 86 = 400 + 30 = 430, 4.5 - -3 = 7.5. 430 is more: K.", b"1 + 1 = 2 = 2 * 1"],
    ),
    "allocations": (
        allocations,
        [
            (
                b"self_x,other_x,self_y,other_y,choice_x,sid,q,v\n"
                b"470,570,730,60,1,s1,0,1\n"
                b"1,2,3,4,0,s2,1,0\n"
            )
        ],
    ),
    "games": (
        games,
        [
            (
                b"subject,game,T,R,P,S,belief1,belief2,move1,move2\n"
                b"a,tg,80,50,30,20,.5,.5,trust,k\n"
                b"b,ug,80,50,10,20,,,1,\n"
            ),
            b"game;players;endowment;mpcr;steps;plan\npublic_good;4;20;0,4;20;5\n",
            b"self_1,other_1,self_2,other_2,choice\n1,2,3,4,b\n",
        ],
    ),
    "export": (export, [b"row: {m: {column: 'a.{r}.b', recode: {1: C}}}\nrepeat: {r: 1-2}\n"]),
    "choices": (
        choices,
        [DECISION, DECISION + b"\n" + DECISION.replace(b"[0.25, 0.25, 0.25, 0.25]", b"null")],
    ),
    "compared": (compared, [DECISION]),
    "plan": (plan, [p.read_bytes() for p in sorted((ROOT / "recipes" / "plans").glob("*.yaml"))]),
    "options": (options, [b"tensor_parallel_size=4", b"a=&x [*x, 2001-12-14, !!set {1}]"]),
    "chooser": (chooser, [b"alpha=0.1,beta=0,kappa=.5,lambda=1e-1"]),
    "scenarios": (scenarios, [SCENARIO]),
    "countries": (countries, [b"country,dimension,value\nX,age,0.5\n"]),
    "answer": (
        answer,
        [b"2 + 2 = 4\nAnswer: K\n", b"**Answer:** 5", b"<think>M</think>I'd go with Case 2."],
    ),
    "firm": (firm, [b"PLANS: low\nINSIGHTS: <b>none</b>\nPRICE: 1.50", b"**PRICE: $2**"]),
    "endpoint": (
        endpoint,
        [
            b'{"choices": [{"message": {"content": "a"}}]}',
            b'{"choices": [{"text": "a", "logprobs": {"token_logprobs": [null, -0.5]}}]}',
        ],
    ),
    "configuration": (configuration, [CONFIGURATION]),
    "weights": (weights, [WEIGHTS]),
    "template": (
        template,
        [
            b"{% for m in messages %}{{ m['role'] + m['content'] | trim }}{% endfor %}",
            b"{{ 2 ** 9 * 'a' }}",
        ],
    ),
    "html": (html, [b"<script>alert(1)</script>", b"\" onerror=x '", b"&lt;|`*_ \x1b[2J", b"=1+1"]),
    "names": (names, [b"=1+1", b"\x1b[2J[bold]", b"-0.5 \xc2\xb1 0.1"]),
}


def one_case(name: str, data: bytes) -> None:
    """Feed one case to a reader; a refusal is as good as an answer."""
    with contextlib.suppress(records.InputError):
        READERS[name][0](data)

"""The held-out games as an Inspect AI task.

    inspect eval eval/frameworks/inspect_games.py --model openai-api/vllm/moralis \\
        -T items=40 -T mode=reasoned
    inspect eval eval/frameworks/inspect_games.py --model ... \\
        -T target=bruhin_fehr_schunk:alpha=0.19,beta=0.49

A sample is a conversation: the instructions, then one decision a turn, the model's replies standing
as it wrote them.  It scores on four counts: admissible (share of decisions whose reply names an
option), economicus and target (share of decisions taken as that preference would; unreadable ones
are not), and cooperative.  Replies are sampled; ``python -m eval.games`` has exact probabilities.
"""

from __future__ import annotations

from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from econmoral.rooms import room
from econmoral.text.replies import read_reply

pages = room("eval.frameworks.pages")  # Inspect reads this file outside of any package


def sample(page: Any) -> Sample:
    """One page as a sample; its later turns, options and optima travel as metadata."""
    about = {
        "turns": page.turns[1:],
        "options": page.options,
        **page.best,
        "cooperative": page.cooperative,
    }
    return Sample(
        id=page.id,
        input=page.turns[0],
        target=[page.options[0][i] for i in page.best["target"][0]],
        metadata=about,
    )


@solver  # type: ignore[untyped-decorator]  # Inspect's types are not read
def turn_by_turn() -> Solver:
    """One reply to every turn of the user."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state = await generate(state)
        for text in state.metadata["turns"]:
            state.messages.append(ChatMessageUser(content=text))
            state = await generate(state)
        return state

    return solve


@scorer(metrics={"*": [mean(), stderr()]})  # type: ignore[untyped-decorator]  # the same
def decisions() -> Scorer:
    """What the replies decide; a derivation comes before them."""

    async def score(state: TaskState, target: Target) -> Score:
        about = state.metadata
        replies = [m.text for m in state.messages if m.role == "assistant"][
            -len(about["options"]) :
        ]
        chosen = [
            read_reply(text, tuple(options))[0]
            for text, options in zip(replies, about["options"], strict=True)
        ]
        value = {"admissible": sum(k is not None for k in chosen) / len(chosen)}
        for name in ("economicus", "target"):
            value[name] = sum(k in best for k, best in zip(chosen, about[name], strict=True)) / len(
                chosen
            )
        value["cooperative"] = sum(
            k == first for k, first in zip(chosen, about["cooperative"], strict=True)
        ) / len(chosen)
        named = [
            "?" if k is None else options[k]
            for k, options in zip(chosen, about["options"], strict=True)
        ]
        return Score(value=value, answer=" ".join(named), explanation="\n".join(replies))

    return score


@task  # type: ignore[untyped-decorator]  # the same
def econmoral_games(
    items: int = 40,
    mode: str = "direct",
    target: str | list[str] = "homo_moralis:kappa=0.5",
    seed: int = 0,
) -> Task:
    """Held-out payoffs in the training wordings, one counterbalanced pair of pages a problem."""
    samples = [sample(page) for page in pages.draw_pages(items, mode, target, seed)]
    return Task(
        dataset=MemoryDataset(samples, name="econmoral_games"),
        solver=turn_by_turn(),
        scorer=decisions(),
    )

"""The held-out games as an Inspect AI task.

    inspect eval eval/frameworks/inspect_games.py --model openai-api/vllm/moralis -T items=40 -T mode=reasoned

A reply scores on four counts: admissible (it ends with a plan), economicus and moralis (the plan is that preference's optimum),
and cooperative (its first actions).  Replies are sampled; ``python -m eval.games`` has exact probabilities.
"""

from __future__ import annotations

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ChatMessageSystem, ChatMessageUser
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState, generate

from eval.frameworks.pages import Page, draw_pages
from eval.replies import final_answer


def sample(page: Page) -> Sample:
    """One page as a sample; its choices and optima travel as metadata."""
    said: list[ChatMessage] = [(ChatMessageSystem if m["role"] == "system" else ChatMessageUser)(content=m["content"]) for m in page.messages]
    about = {"candidates": page.candidates, "economicus": page.economicus, "moralis": page.moralis, "cooperative": page.cooperative}
    return Sample(id=page.id, input=said, target=page.candidates[page.moralis[0]], metadata=about)


@scorer(metrics={"*": [mean(), stderr()]})
def optimal() -> Scorer:
    """Whether the plan that a reply ends with is each preference's optimum."""

    async def score(state: TaskState, target: Target) -> Score:
        about, said = state.metadata, final_answer(state.output.completion)
        k = about["candidates"].index(said) if said in about["candidates"] else None
        value = {
            "admissible": float(k is not None),
            "economicus": float(k in about["economicus"]),
            "moralis": float(k in about["moralis"]),
            "cooperative": 0.0 if k is None else float(about["cooperative"][k]),
        }
        return Score(value=value, answer=said, explanation=state.output.completion)

    return score


@task
def econmoral_games(items: int = 40, mode: str = "direct", kappa: float = 0.5, seed: int = 0) -> Task:
    """Held-out payoffs in the training wordings, one counterbalanced pair of pages a decision."""
    return Task(dataset=MemoryDataset([sample(p) for p in draw_pages(items, mode, kappa, seed)], name="econmoral_games"), solver=generate(), scorer=optimal())

"""What a free reply says: the last answer line."""

from __future__ import annotations

from econmoral.prompts import ANSWER


def final_answer(text: str) -> str:
    """The last answer line of a reply, in the spelling of the candidates; empty when there is none."""
    line = text.rpartition(ANSWER)[2].strip().splitlines()[:1] if ANSWER in text else []
    return f"{ANSWER} {' '.join(line[0].strip(' .*`').split())}" if line else ""

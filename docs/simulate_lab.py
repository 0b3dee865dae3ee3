"""A laboratory session that never took place, as oTree would export it: data for the tutorial.

    python docs/simulate_lab.py export.csv

60 subjects meet the 18 games of the battery in random order, behind the veil: each states beliefs and a whole plan.  They
choose by a logit rule (lambda .1 per point) with alpha .1, beta .2 and a kappa of their own, normal around .4 with standard
deviation .15.  Two more leave early, one closed the browser at once.
"""

from __future__ import annotations

import csv
import sys

import numpy as np

from econmoral.economics.choice import logit
from econmoral.economics.games import BATTERY, GAMES, belief_weights, draw_beliefs
from econmoral.economics.preferences import FAMILIES

SUBJECTS, LEAVERS, ROUNDS = 60, 2, len(BATTERY)
FIELDS = ("game", "t", "r", "p", "s", "belief1", "belief2", "belief3", "move1", "move2", "move3", "payoff")


def person(rng: np.random.Generator, rounds: int) -> dict[str, str]:
    """The cells of one participant who played so many rounds."""
    family, row = FAMILIES["alpha_beta_kappa"], {}
    kappa = float(np.clip(rng.normal(0.4, 0.15), 0, 1))
    for place, k in enumerate(rng.permutation(ROUNDS), start=1):
        protocol = BATTERY[k]
        game = GAMES[protocol.game]
        beliefs = draw_beliefs(protocol.game, rng)
        u = family.utility(
            protocol.tables,
            belief_weights(protocol.game, beliefs),
            {"alpha": 0.1, "beta": 0.2, "kappa": kappa},
        )
        plan = game.strategies[rng.choice(len(u), p=logit(u, 0.1))]
        values = [protocol.game, *(f"{x:g}" for x in protocol.payoffs)]
        values += [f"{100 * b:.0f}" for b in beliefs] + [""] * (3 - len(beliefs))
        values += [*plan, *[""] * (3 - len(plan)), "0"]
        for field, value in zip(FIELDS, values, strict=True):
            seen = place <= rounds
            row[f"veil.{place}.player.{field}"] = value if seen else ""
    return row


def main(path: str, seed: int = 1) -> None:
    """Write the wide export."""
    rng = np.random.default_rng(seed)
    lengths = [ROUNDS] * SUBJECTS + [int(x) for x in rng.integers(4, 14, LEAVERS)] + [0]
    order = rng.permutation(len(lengths))
    rows = []
    for number, i in enumerate(order, start=1):
        done = lengths[i] == ROUNDS
        rows.append(
            {
                "participant.id_in_session": str(number),
                "participant.code": "".join(rng.choice(list("abcdefghjkmnpqrstuvwxyz23456789"), 8)),
                "participant.label": f"seat{number:02d}",
                "participant._current_page_name": "Results" if done else "Decide",
                "session.code": "k3x9w2ab" if number <= 31 else "p8d4q7fz",
                "session.is_demo": "0",
                **person(rng, lengths[i]),
            }
        )
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"{path}: {len(rows)} participants, {ROUNDS} rounds")


if __name__ == "__main__":
    main(*sys.argv[1:])

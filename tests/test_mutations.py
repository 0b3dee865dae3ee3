"""The tests can fail: each deliberate mistake in the code turns one of them red."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

MUTATIONS = {
    "sign of the moral term": (
        "econmoral/economics/preferences.py",
        "tables.alike - own",
        "own - tables.alike",
        "test_games.py",
    ),
    "payoffs transposed": (
        "econmoral/economics/games.py",
        "index(pay[role])",
        "index(pay[0])",
        "test_games.py",
    ),
    "wrong labels let through": (
        "econmoral/text/conversations.py",
        "if found != wanted:",
        "if False:",
        "test_conversations.py::test_only_exact_labels_pass",
    ),
    "loss on user turns": (
        "econmoral/text/conversations.py",
        "labels[span] = answer",
        "labels[: span.stop] = ids[: span.stop]",
        "test_conversations.py::test_every_turn_is_what_measurement_scores",
    ),
    "loss one place late": (
        "econmoral/training/trainer.py",
        "[k - 1 for k, label",
        "[min(k, len(row_labels) - 2) for k, label",
        "test_sft.py::test_logits_at_labelled_places_alone_give_the_whole_loss_and_its_gradient",
    ),
    "a derivation cut before its end": (
        "econmoral/instruments/derivations.py",
        '"\\n".join([*points, *lines])',
        '"\\n".join([*points, *lines[:-1]])',
        "test_derivations.py::test_homo_moralis_is_right_in_every_step_and_ends_in_the_optimum",
    ),
    "a wrong sum in a derivation": (
        "econmoral/instruments/derivations.py",
        "= {number(a + b)}",
        "= {number(a + b + 1)}",
        "test_derivations.py::test_every_family_on_allocations",
    ),
    "control answers shifted by one cell": (
        "econmoral/instruments/games.py",
        "numbers.index(pay[path][role])",
        "(numbers.index(pay[path][role]) + 1) % len(numbers)",
        "test_prompts.py::test_control_questions_are_answered_by_the_page",
    ),
    "control answers of allocations shifted by one cell": (
        "econmoral/instruments/menus.py",
        "right = numbers.index(payoffs[k] * page.scale)",
        "right = (numbers.index(payoffs[k] * page.scale) + 1) % len(numbers)",
        "test_menus.py::test_control_questions_of_allocations_are_answered_by_the_page",
    ),
    "held-out payoffs trained on": (
        "data_synth/synthesis.py",
        "draw_protocol(game, rng, held=False)",
        "draw_protocol(game, rng, held=True)",
        "test_data_synth.py::test_nothing_held_out_is_trained_on",
    ),
    "the placebo answers its own problem": (
        "data_synth/synthesis.py",
        "source = draw_item(game, targets, other) if draw.shuffled else item",
        "source = item",
        "test_data_synth.py::test_placebo_keeps_the_pages_and_answers_another_problem",
    ),
    "the placebo served for the adapter": (
        "eval/engines/with_transformers.py",
        "named = {self.keys[name]: folder for name, folder in adapters.items()}",
        "named = {self.keys[name]: next(iter(adapters.values())) for name in adapters}",
        "test_eval.py::test_adapters_bring_their_targets_and_placebos_do_not",
    ),
    "figures of who answers outside the form": (
        "eval/validity.py",
        "return not valid >= LEAST_VALID",
        "return False",
        "test_eval.py::test_who_answers_outside_the_form_has_no_figures_and_is_no_baseline",
    ),
    "old answers to a changed page": (
        "eval/resume.py",
        "what: list[object] = [asdict(r.conversation)]",
        "what: list[object] = [len(r.conversation.questions), len(keys)]",
        "test_eval.py::test_a_changed_question_is_asked_again_and_an_unchanged_one_is_not",
    ),
    "like pages drawn once": (
        "eval/resume.py",
        "before[key] += 1",
        "before[key] += 0",
        "test_eval.py::test_what_is_sampled_is_kept_by_seed_and_like_pages_are_drawn_apart",
    ),
    "answers of other weights": (
        "eval/resume.py",
        'return self.folder / f"{self.owner.of(condition)}.jsonl"',
        'return self.folder / "all.jsonl"',
        "test_eval.py::test_a_changed_question_is_asked_again_and_an_unchanged_one_is_not",
    ),
    "thinking left on": (
        "econmoral/text/chat.py",
        '"enable_thinking": False',
        '"enable_thinking": True',
        "test_checkpoints.py::test_training_and_measurement_render_the_same_bytes",
    ),
    "refused replies counted": (
        "eval/engines/base.py",
        'if talk.outcome == "answered":',
        "if talk.choices or not counts.any():",
        "test_engines.py::test_three_outcomes_are_counted_and_all_texts_kept",
    ),
    "firms without morality": (
        "econmoral/economics/market.py",
        "return (1 - kappa) * selfish + kappa / self.n * moral",
        "return (1 - kappa) * selfish",
        "test_market.py::test_moral_firms_collude",
    ),
    "base served for the adapter": (
        "eval/engines/with_transformers.py",
        "if condition.adapter is not None:",
        "if False:",
        "test_engines.py::test_the_tree_is_what_plain_passes_are",
    ),
    "siblings in the tree of replies see one another": (
        "eval/engines/with_transformers.py",
        "sees[i, start:, start:] = torch.from_numpy(t.sees)",
        "sees[i, start:, start:] = True",
        "test_engines.py::test_the_tree_is_what_plain_passes_are",
    ),
    "a user turn counted in the product": (
        "eval/engines/base.py",
        "return ScoredStep(context, options)",
        (
            "return ScoredStep(context[:-6], [[context[-6:] + form for form in several] for "
            "several in options])"
        ),
        "test_engines.py::test_the_tree_is_exact_behind_the_templates_of_real_checkpoints",
    ),
    "attention taken for full": (
        "eval/engines/with_transformers.py",
        "if not broken and not gap <= (AGREE if exact else AGREE_ROUNDED):",
        "if False:",
        "test_engines.py::test_the_check_sees_every_adapter_and_runs_once",
    ),
    "a derivation may spell the end of a turn": (
        "econmoral/text/chat.py",
        'text = found.sub("", text)',
        "break",
        "test_engines.py::test_no_derivation_ends_a_run",
    ),
    "the clock runs": (
        "econmoral/text/chat.py",
        "utilities.datetime = _Clock",
        "pass",
        "test_engines.py::test_templates_that_read_the_clock_are_told_one_time",
    ),
    "pages counted as separate scenarios": (
        "econmoral/instruments/dilemmas.py",
        "influence[told, None], np.arange(n)",
        "influence[told, None] / 2, np.arange(n)",
        "test_dilemmas.py::test_intervals_cover_and_errors_match_the_spread",
    ),
    "groups never exchanged": (
        "econmoral/instruments/dilemmas.py",
        "found[scenario.attribute] = (0, 1) if swapped else (1, 0)",
        "found[scenario.attribute] = (1, 0)",
        "test_dilemmas.py::test_scenarios_swap_and_come_back_from_a_file",
    ),
    "price read from anywhere in the reply": (
        "econmoral/instruments/pricing.py",
        "last = lines[-1].strip()[:60] if lines",
        "last = next((x for x in lines if 'PRICE:' in x), '').strip()[:60] if lines",
        "test_pricing.py::test_no_price_is_no_price",
    ),
    "model text unescaped in the report": (
        "eval/report/render.py",
        "<pre>{_escaped(block.text)}</pre>",
        "<pre>{block.text}</pre>",
        "test_report.py::test_renderers_escape_everything",
    ),
    "labels not exchanged in twins": (
        "econmoral/instruments/games.py",
        "labels=((b, a), (d, c)),",
        "labels=((a, b), (c, d)),",
        "test_prompts.py::test_twin_exchanges_labels_and_orders_and_nothing_else",
    ),
    "variances of equal shares": (
        "econmoral/estimation/power.py",
        "whole = [p * (1 - p) for p in self.shares]",
        "whole = [self.shares[0] * (1 - self.shares[0])] * 2",
        "test_planning.py::test_unpaired_shares_by_hand",
    ),
    "collusion that pays nobody": (
        "econmoral/economics/market.py",
        "if not _better(reward, punishment):",
        "if False:",
        "test_odd_markets.py::test_a_firm_that_loses_by_collusion_never_keeps_to_it",
    ),
    "profiles without weights": (
        "econmoral/estimation/amce.py",
        "inner = x.T @ (x * w[:, None])",
        "inner = x.T @ x",
        "test_amce.py",
    ),
    "a base that is not all there": (
        "econmoral/checkpoints/loading.py",
        '        ("missing_keys", "lacks"),\n',
        "",
        "test_loader.py::test_a_checkpoint_that_is_not_whole_is_refused",
    ),
    "weights that are no numbers": (
        "econmoral/checkpoints/loading.py",
        "    _check_values(model, place.source)\n",
        "",
        "test_loader.py::test_a_checkpoint_that_is_not_whole_is_refused",
    ),
    "an end that was never written": (
        "econmoral/checkpoints/loading.py",
        "        check_end(file)\n",
        "        pass\n",
        "test_loader.py::test_a_checkpoint_that_is_not_whole_is_refused",
    ),
    "weights in eight bits": (
        "econmoral/checkpoints/loading.py",
        'e["dtype"] not in FLOATS',
        "False",
        "test_loader.py::test_a_checkpoint_that_is_not_whole_is_refused",
    ),
    "an adapter loaded for the base": (
        "econmoral/checkpoints/loading.py",
        'if (folder / "adapter_config.json").is_file():',
        "if False:",
        "test_loader.py::test_a_checkpoint_that_is_not_whole_is_refused",
    ),
    "an adapter of which tensors are missing": (
        "econmoral/checkpoints/attaching.py",
        "if lost := sorted(expected.keys() - found.keys()):",
        "if lost := []:",
        "test_loader.py::test_an_adapter_that_is_not_all_there_is_refused_everywhere",
    ),
    "an adapter on other weights": (
        "econmoral/checkpoints/attaching.py",
        'if "sha256" in recorded and',
        "if False and",
        "test_loader.py::test_other_weights_under_the_same_name_are_noticed",
    ),
    "an adapter on another configuration": (
        "econmoral/checkpoints/attaching.py",
        '"configuration" in recorded and (',
        "False and (",
        "test_loader.py::test_another_configuration_of_the_same_weights_is_noticed",
    ),
    "a filtered reply that is read": (
        "eval/engines/with_endpoint.py",
        "refused=why in FILTERED",
        "refused=False",
        "test_engines.py::test_what_a_filter_ended_is_refused_and_its_text_kept",
    ),
    "a merge that leaves the adapter beside": (
        "eval/engines/with_transformers.py",
        "        self.model = self.model.merge_and_unload(adapter_names=[self.keys[name]])\n",
        "        self.model.merge_adapter([self.keys[name]])\n",
        "test_loader.py::test_merging_leaves_no_adapter_behind",
    ),
    "a checkpoint's own generation settings": (
        "eval/engines/with_transformers.py",
        "part.generation_config = GenerationConfig()",
        "pass",
        "test_engines.py::test_generation_defaults_and_ends_of_a_checkpoint_change_nothing",
    ),
    "turns marked as not to be trained on": (
        "econmoral/text/conversations.py",
        'if message["role"] == "assistant" and any(',
        "if False and any(",
        "test_conversations.py::test_what_cannot_be_trained_on_is_refused_with_its_place",
    ),
    "a row's system message dropped": (
        "econmoral/text/conversations.py",
        'if row.get("system") else turns',
        "if False else turns",
        "test_conversations.py::test_common_formats_are_read",
    ),
    "separation unseen": (
        "econmoral/estimation/estimate.py",
        (
            "    apart = separated(data, found)\n"
            "    if apart is not None:\n"
            '        message, signs = describe(apart, ("lambda", *data.parameters))\n'
            "        by_lambda"
        ),
        (
            "    apart = None\n"
            "    if apart is not None:\n"
            '        message, signs = describe(apart, ("lambda", *data.parameters))\n'
            "        by_lambda"
        ),
        "test_separation.py::test_the_one_parameter_that_diverges_is_named_with_a_one_sided_bound",
    ),
    "payoffs at their own level": (
        "econmoral/estimation/likelihood.py",
        "np.where(allowed[..., None], index - index[:, :1], 0.0)",
        "np.where(allowed[..., None], index, 0.0)",
        "test_separation.py::test_the_level_of_payoffs_does_not_matter",
    ),
    "payoffs of games at their own level": (
        "econmoral/estimation/likelihood.py",
        "if level_free(fam) else 0.0",
        "if False else 0.0",
        "test_separation.py::test_the_level_of_payoffs_does_not_matter_in_games",
    ),
    "what two folders answer alike given to one": (
        "eval/compare.py",
        "if name in other else name",
        "if False else name",
        "test_compare.py::test_what_two_folders_answer_alike_stays_with_both",
    ),
    "cells of another plan": (
        "econmoral/files/cells.py",
        "if cell.product.exists() and _told(",
        "if False and _told(",
        "test_study.py::test_what_another_plan_left_is_not_taken",
    ),
    "measurements of other pages kept": (
        "econmoral/files/cells.py",
        "or (c.measures and c in old)",
        "or False",
        "test_study.py::test_a_measurement_by_another_revision_of_the_code_is_run_again",
    ),
    "a key that stands twice": (
        "econmoral/files/records.py",
        "if len(set(names)) < len(names):",
        "if False:",
        "test_records.py::test_a_key_that_stands_twice_is_refused",
    ),
    "measurements that were joined": (
        "econmoral/people/measurement.py",
        'if first.setdefault(str(row.get("id")), n) != n and',
        "if False and",
        "test_data.py::test_measurements_that_were_joined_are_refused",
    ),
    "scores that are shifted by a token": (
        "eval/engines/with_endpoint.py",
        "part = values[len(context) : len(context) + len(form)] if whole else []",
        "part = values[len(context) : len(context) + len(form)]",
        "test_engines.py::test_a_server_that_sends_other_tokens_than_were_asked_gives_no_score",
    ),
    "tensors that stand in two files": (
        "econmoral/checkpoints/loading.py",
        "for a, b in pairwise(names) if a == b",
        "for a, b in pairwise(names) if False",
        "test_loader.py::test_a_checkpoint_that_is_not_whole_is_refused[a tensor twice]",
    ),
    "an adapter with holes": (
        "econmoral/checkpoints/attaching.py",
        "    _check_adapter_values(folder)\n",
        "",
        "test_loader.py::test_an_adapter_that_is_not_all_there_is_refused_everywhere[not a number]",
    ),
    "a type that is not identified": (
        "econmoral/estimation/mixtures.py",
        "        apart = separated(rows, found)\n",
        "        apart = None\n",
        "test_separation.py::test_a_type_that_is_not_identified_is_refused_by_name",
    ),
    "missing identifiers are a group": (
        "econmoral/files/sheet.py",
        "if missing(text):\n                raise self.bad(",
        "if False:\n                raise self.bad(",
        "test_data.py::test_a_missing_identifier_is_refused_with_its_line",
    ),
    "rows longer than the header": (
        "econmoral/files/sheet.py",
        "        if len(row) != len(header):\n",
        "        if False:\n",
        "test_data.py::test_rows_that_are_longer_or_shorter_than_the_header_are_refused",
    ),
    "sets and modes pooled": (
        "econmoral/people/measurement.py",
        "if value is None and len(known) > 1:",
        "if False:",
        "test_data.py::test_one_set_one_mode_one_arm_at_a_time",
    ),
    "normal intervals for few clusters": (
        "econmoral/estimation/estimate.py",
        'df = np.inf if errors == "hessian" else clusters - 1.0',
        "df = np.inf",
        "test_separation.py::test_too_few_clusters_are_refused_and_few_are_said",
    ),
    "the last of two values of a country": (
        "eval/conjoint.py",
        "if dimension in table.setdefault(country, {}):",
        "table.setdefault(country, {})\n        if False:",
        "test_dilemmas.py::test_a_table_of_countries_that_is_doubtful_is_refused",
    ),
    "prices printed as others than are charged": (
        "econmoral/instruments/pricing.py",
        "if len(set(printed)) < STEPS or",
        "if False and",
        "test_pricing.py::test_a_grid_that_cannot_be_printed_is_refused",
    ),
    "cluster ignored": (
        "econmoral/estimation/robust.py",
        "np.bincount(cluster, column, minlength=j)",
        "np.resize(column, j)",
        "test_estimation.py",
    ),
}


# what would make every figure wrong: tried in the suite, the others by make test-all
ALWAYS = (
    "a user turn counted in the product",
    "the placebo served for the adapter",
    "control answers shifted by one cell",
    "a derivation cut before its end",
)


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_a_mistake_can_be_made(name: str) -> None:
    """Code that moved takes its mutation along: a quick check, where the next one takes minutes."""
    path, right, wrong, test = MUTATIONS[name]
    assert (ROOT / path).read_text(encoding="utf-8").count(right) == 1
    assert right != wrong
    assert (ROOT / "tests" / test.split("::")[0]).is_file()


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in ALWAYS else pytest.mark.slow) for n in sorted(MUTATIONS)],
)
def test_mistake_turns_a_test_red(name: str, tmp_path: Path) -> None:
    path, right, wrong, test = MUTATIONS[name]
    for room in ("econmoral", "data_synth", "recipes", "eval", "tests"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    text = (tmp_path / path).read_text(encoding="utf-8")
    (tmp_path / path).write_text(text.replace(right, wrong), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", f"tests/{test}"]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert result.returncode == 1, result.stdout[-2000:]
    assert "failed" in result.stdout

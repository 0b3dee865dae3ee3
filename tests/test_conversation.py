"""Conversations and how replies to them are read."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from econmoral.text.conversation import NOTHING, Conversation, Question, forms, joint
from econmoral.text.replies import LONGEST_REPLY, OUTCOMES, read_reply

KM = ("K", "M")
RATINGS = tuple(str(n) for n in range(0, 101, 10))
TENTHS = tuple(str(n) for n in range(11))
PRICES = ("5.5", "6", "7.5", "10")
CASES = ("Case 1", "Case 2")

LETTERS = [
    ("K", 0), ("K.", 0), ("k", 0), ("m.", 1), (" K \n", 0), ("**K**", 0), ("*K*.", 0), ("`M`", 1),
    ('"K"', 0), ("“M”", 1), ("'K'", 0), ("(K)", 0),
    ("[M]", 1), ("K)", 0), ("{K}", 0), ("## K", 0), ("Ｋ", 0), ("\\boxed{M}", 1),
    ("$\\boxed{\\text{K}}$.", 0), ("<answer>K</answer>", 0), ("K!", 0),
    ("Option K", 0), ("option k", 0), ("OPTION M", 1), ("Case K", 0), ("Letter: M", 1),
    ("Answer: K", 0), ("**Answer**: **M**", 1), ("ANSWER: K", 0),
    ("Answer - M", 1), ("answer K", 0), ("The answer is K.", 0), ("My answer is M.", 1),
    ("my answer: m", 1), ("Choice: **K**", 0), ("Decision = M", 1),
    ("I choose K because M would leave the other with nothing.", 0), ("K, because M is worse.", 0),
    ("K because M would cost me 20 points", 0),
    ("K.\n\nExplanation: M would give me 10, K gives me 50.", 0),
    ("M\n\nK is worth less to me.", 1), ("I'd go with K over M.", 0),
    ("I would pick M rather than K.", 1), ("I’ll choose K instead of M", 0),
    ("I choose option M.", 1), ("I choose the option K, not M.", 0),
    ("I would definitely go with M.", 1), ("I have decided to choose K.", 0),
    ("I am going to pick M", 1), ("I'm choosing K.", 0), ("I prefer M to K.", 1),
    ("As a fair person, I think I would choose M.", 1),
    ("Let me think. K gives 50, M gives 30. So K.", 0), ("M gives 30 and K 50. Therefore, K.", 0),
    ("K gives 50.\nM gives 30.\nI choose K.", 0), ("K: 50 for me\nM: 30 for me\n\nI choose M.", 1),
    ("Which do I choose, K or M?\n\nK", 0),
    ("K is my choice; M is too risky.", 0), ("K it is, M can wait.", 0), ("M is my answer.", 1),
    ("K over M", 0), ("M - it is fairer than K", 1),
    ("K (M would leave us both worse off)", 0), ("Choose K. M is worse.", 0),
    ("Going with M; K is selfish.", 1), ("My choice would be K.", 0),
    ("My choice for this decision is M, since K is unfair.", 1), ((
        "Answer: K\n"
        "Reason: M yields less."
    ), 0),
    ("My final answer is M. I first chose K.", 1),
    ("First I chose K. Final answer: M", 1),
    ("If I choose K I get 10, if I choose M I get 20. I choose M.", 1),
    ("M, on reflection.\nK, on the other hand, no", 1),
    ("<think>K? M? K.</think>\n\nM", 1), ("<think>\nI choose K\n</think>\n**M**", 1),
    ("so M it was</think>K", 0), ("<thinking>M</thinking> Answer: K", 0),
    ("As an AI I have no preferences, but if I had to choose, I would pick K.", 0),
    ("I'm sorry, but I choose M.", 1), ("Not K but M.", 1),
    ("I would not choose K. I choose M.", 1), ("I want to be kind: K", 0), ("_K_", 0), ("> K", 0),
    ("- K", 0), ("Sure! K", 0), ("Sure, I choose K!", 0),
    ("I will reply with K.", 0), ("I choose: K", 0), ("The best choice is K.", 0),
    ("Final decision: **M**", 1), ("I'd say M", 1), ("Ok.\nK\n", 0),
    ("I would have chosen K had it been fair. M", 1), ("I would have to choose M.", 1),
    ("I was going to choose K. My answer is M.", 1), ("K, no doubt.", 0),
    ("<seed:think>I choose K</seed:think>M", 1), ("◁think▷I choose K◁/think▷M", 1),
    ("<|begin_of_thought|>I choose K<|end_of_thought|>M", 1),
    ("<|channel|>analysis<|message|>I choose K<|end|><|channel|>final<|message|>M", 1),
]  # fmt: skip

UNREAD = [
    "", " ", "\n\n", "...", "K or M", "K and M", "K, M", "K/M", "K M", "M; K",
    "K gives 50 and M gives 30.", "Both K and M are fine.", "K. M.", "K: 50 for me\nM: 30 for me",
    "K) 50 points\nM) 30 points", "I choose K or M.", "either K or M", "Answer: K\nAnswer: M",
    "I choose K. I choose M.", "It depends.", "Z", "Option Z", "KM", "Kilo",
    "Mmm", "the k of it", "I like it", "I'm", "<think>K", "<think>K</think><think>M",
    "<think>I choose K", "It's M's turn or K's", "if I choose K, I get 50", "I don't choose M.",
    "So K gives me 50 and M gives me 30.", "neither K nor M", "Do you choose K or M?", "never K",
    "K-M", "choose between K and M", "Ќ", "K is not acceptable to me.", "K is unfair.",
    "K would be wrong.", "K isn't fair.", "The answer K is wrong.", "K - no. M - yes",
    "Anything but K.", "All except K", "I was going to choose K, but M is fairer.",
    "I don't think I would choose K.", "I doubt I would choose K.", "I almost chose K.",
    "I do not believe that I would pick K.", "I'm not sure I would choose K.",
    "Why would I choose K?", "◁think▷I choose K", "<seed:think>I choose K",
]  # fmt: skip

REFUSED = [
    "I'm sorry, but I can't help with that.",
    "I cannot choose between K and M.",
    "As an AI, I don't have preferences.",
    "I am unable to decide.",
    "I won't choose.",
    "I can’t make this decision for you.",
    "As a large language model I do not make choices; K and M are both possible.",
    "I must decline.",
    "I cannot choose K for you.",
    "I would rather not say.",
    "Sorry, no.",
    "I refuse to take part.",
    "I don't feel comfortable choosing.",
    "**I cannot** answer.",
]


@pytest.mark.parametrize(("text", "option"), LETTERS)
def test_letters_are_read_as_models_write_them(text: str, option: int) -> None:
    assert read_reply(text, KM) == (option, "answered")


@pytest.mark.parametrize("text", UNREAD)
def test_what_decides_nothing_is_unreadable(text: str) -> None:
    assert read_reply(text, KM) == (None, "unreadable")


@pytest.mark.parametrize("text", REFUSED)
def test_refusals_are_told_from_what_cannot_be_read(text: str) -> None:
    assert read_reply(text, KM) == (None, "refused")


@pytest.mark.parametrize(
    ("text", "options", "option"),
    [
        ("A better option is B.", ("A", "B"), 1), ("A", ("A", "B"), 0), ("a", ("A", "B"), 0),
        ("I choose A.", ("A", "B"), 0), ("I choose A because B is worse", ("A", "B"), 0),
        ("A, because a friend chose B", ("A", "B"), 0),
        ("I choose B. A fair choice.", ("A", "B"), 1), ("I choose J.", ("I", "J"), 1),
        ("I", ("I", "J"), 0), ("I choose I.", ("I", "J"), 0), ("I like it", ("I", "J"), None),
        ("A fair split matters.", ("A", "B"), None), ("I'd choose a fair split", ("A", "B"), None),
        ("Case 2", CASES, 1), ('"Case 2"', CASES, 1), ("**Answer**: **Case 1**", CASES, 0),
        ("case 1.", CASES, 0), ("2", CASES, 1), ("I would save Case 1", CASES, 0),
        ("I choose case 2 because case 1 has fewer people.", CASES, 1),
        ("Case 1 and Case 2", CASES, None), ("Case 12", CASES, None),
        ("Case 10", ("Case 1", "Case 10"), 1), ("Yes, K.", KM, 0), ("k", ("k", "K"), 0),
        ("K", ("k", "K"), 1), ("yes", ("Yes", "No"), 0), ("No.", ("Yes", "No"), 1),
        ("C", ("C", "D", "E"), 0), ("D over C and E", ("C", "D", "E"), 1),
        ("I choose E, then D, then C", ("C", "D", "E"), 2),
    ],
)  # fmt: skip
def test_labels_that_are_words_or_several_words(
    text: str, options: tuple[str, ...], option: int | None
) -> None:
    assert read_reply(text, options)[0] == option


@pytest.mark.parametrize(
    ("text", "options", "option"),
    [
        ("50", RATINGS, 5), ("50.", RATINGS, 5), ("**50**", RATINGS, 5), ("50.0", RATINGS, 5),
        ("ANSWER: 50", RATINGS, 5), ("50%", RATINGS, 5), ("50 %", RATINGS, 5),
        ("50 points", RATINGS, 5), ("50pts", RATINGS, 5), ("50 out of 100", RATINGS, 5),
        ("50/100", RATINGS, 5), ("70 / 100", RATINGS, 7), ("Rating: 40/100", RATINGS, 4),
        ("My rating is 40.", RATINGS, 4), ("Rating (0-100): 40", RATINGS, 4),
        ("I would rate this action 40, not 80.", RATINGS, 4), ("I'd give it a 70.", RATINGS, 7),
        ("I'd say 70, because 100 would be saintly and 0 cruel.", RATINGS, 7),
        ("On a scale from 0 to 100, I'd say 70.", RATINGS, 7),
        ("On a scale of 0 to 100: 30", RATINGS, 3),
        ("70, because the other person gets 30.", RATINGS, 7),
        ("70\n\nThe other gets 30.", RATINGS, 7), ("fifty", RATINGS, 5), ("Ten.", TENTHS, 10),
        ("ten people", TENTHS, 10), ("seven", TENTHS, 7), ("7 of the 10", TENTHS, None),
        ("7 out of 10 people.", TENTHS, 7), ("7/10", TENTHS, 7), ("I think 7 of them.", TENTHS, 7),
        ("Number: 7", TENTHS, 7), ("55", RATINGS, None),
        ("My answer is 55. Not 50.", RATINGS, None), ("-50", RATINGS, None),
        ("−50", RATINGS, None), ("40-60", RATINGS, None), ("40 - 60", RATINGS, None),
        ("40 to 60", RATINGS, None), ("between 40 and 60", RATINGS, None),
        ("40 or 60", RATINGS, None), ("40, 60", RATINGS, None), ("50k", RATINGS, None),
        ("5e1", RATINGS, None), ("50²", RATINGS, None), ("50*2", RATINGS, None),
        ("20+30", RATINGS, None), ("2**5", RATINGS, None), ("0x32", RATINGS, None),
        ("1st", TENTHS, None), ("5.5.5", TENTHS, None),
        ("1. First, the payoffs matter.", TENTHS, None),
        ("1. One.\n2. Two.\n3. Three.", TENTHS, None),
        ("I get 30 and the other gets 50.", RATINGS, None),
        ("I get 30 and the other gets 50, so I choose 80.", RATINGS, 8), ("So 40.", RATINGS, 4),
        ("30 + 50 = 80\nAnswer: 80", RATINGS, 8), ("- 40", RATINGS, 4),
        ("$7.50", PRICES, 2), ("7.5", PRICES, 2), ("7,50 €", PRICES, 2), ("€7,5", PRICES, 2),
        ("USD 7.5", PRICES, 2), ("Price: $10.00", PRICES, 3), ("$ 6", PRICES, 1),
        ("-$6", PRICES, None), ("I would set the price at 7.5", PRICES, 2),
        ("I set a price of $10 because 7.5 leaves profit on the table.", PRICES, 3),
        ("The price should be 6 dollars.", PRICES, 1),
        ("7.55", PRICES, None), (".75", PRICES, None), ("Rs. 10", PRICES, 3),
        ("1,000", ("100", "1000"), 1), ("1 000".replace(" ", "\u202f"), ("100", "1000"), 1),
        ("$1,000.00", ("100", "1000"), 1), ("1.000", ("100", "1000"), 1),
        ("1.000", ("1", "1000"), 0), ("1'000", ("100", "1000"), 1),
        ("12,345,678", ("12345678",), 0), ("1,0000", ("1", "10000"), None),
        ("9" * 5000, RATINGS, None), ("inf", RATINGS, None), ("nan", RATINGS, None),
        ("I offer 40 points, I keep 60.", RATINGS, None), ("0", TENTHS, 0), ("-0", TENTHS, 0),
        ("zero", TENTHS, 0), ("None", TENTHS, None), ("-5", ("-5", "5"), 0),
        ("The second mover gets 20 points.", RATINGS, 2),
        # another scale, another unit, a bound, what is taken back
        ("10/10", RATINGS, None), ("I'd rate it 10 out of 10.", RATINGS, None),
        ("On a scale of 1 to 10, I'd say 10.", RATINGS, None), ("10/10", TENTHS, 10),
        ("I offer 40 out of 100", ("0", "20", "40"), 2), ("5 1/2", TENTHS, None),
        ("10%", TENTHS, None), ("ten percent", TENTHS, None), ("10 percent", RATINGS, 1),
        ("5 thousand", TENTHS, None), ("5 and a half", TENTHS, None),
        ("More than 50.", RATINGS, None), ("<50", RATINGS, None), ("≥50", RATINGS, None),
        ("minus 50", RATINGS, None), ("Not 50.", RATINGS, None), ("Not 50 but 40.", RATINGS, 4),
        ("Anything but 50", RATINGS, None), ("I don't think I'd rate it 50.", RATINGS, None),
        ("I was going to say 50.", RATINGS, None), ("I would have said 50.", RATINGS, None),
    ],
)  # fmt: skip
def test_numbers_are_read_as_models_write_them(
    text: str, options: tuple[str, ...], option: int | None
) -> None:
    assert read_reply(text, options) == (option, "unreadable" if option is None else "answered")


def test_a_number_that_a_refusal_names_is_no_answer() -> None:
    assert read_reply("I cannot rate this; 50 would be arbitrary.", RATINGS) == (None, "refused")


PIECES = st.sampled_from(
    [
        "K", "M", "k", "m", "50", "40", "I", "choose", "my", "answer", "is", "not", "or", "and",
        "because", "over", "option", "Case", "final", "So", "0", "to", "100", "out", "of", "if",
        "I'd", "would", "rate", "the", "a", "A", "1.", "1,000", "5.5", "<think>", "</think>", "**",
        "\\boxed{", *".,;:?!\"'()[]{}/-$%\n ",
    ]
)  # fmt: skip
WRITTEN = st.one_of(
    st.text(max_size=300),
    st.lists(PIECES, max_size=60).map(" ".join),
    st.lists(PIECES, max_size=60).map("".join),
)
OFFERED = st.one_of(
    st.sampled_from(
        [
            KM,
            RATINGS,
            TENTHS,
            PRICES,
            CASES,
            ("A", "I"),
            ("a", "b"),
            ("Yes", "No"),
            ("(", "["),
            ("K.", "K"),
            ("", " "),
            (".*", "\\d"),
        ]
    ),
    st.lists(st.text(max_size=8), min_size=1, max_size=5, unique=True).map(tuple),
)


@given(WRITTEN, OFFERED)
@settings(max_examples=400, deadline=None)
def test_any_reply_is_read_or_not_and_nothing_is_raised(
    text: str, options: tuple[str, ...]
) -> None:
    named, outcome = read_reply(text, options)
    assert outcome in OUTCOMES
    assert (named is None) == (outcome != "answered")
    assert named is None or (isinstance(named, int) and 0 <= named < len(options))


@given(
    st.sampled_from(LETTERS),
    st.sampled_from("BCDEFGHJLNPQRSTUVWXYZ"),
    st.sampled_from("BCDEFGHJLNPQRSTUVWXYZ"),
)
@settings(max_examples=150, deadline=None)
def test_the_letters_themselves_do_not_matter(
    case: tuple[str, int], first: str, second: str
) -> None:
    if first == second:
        return
    text, option = case

    def renamed(m: re.Match[str]) -> str:
        new = first if m[0] in "Kk" else second
        return new if m[0].isupper() else new.lower()

    text = re.sub(r"(?<![^\W_])(?<!\w['’])[KkMm](?![^\W_])(?!['’]\w)", renamed, text)
    if "Ｋ" not in text:
        assert read_reply(text, (first, second))[0] == option


@given(
    st.sampled_from(RATINGS),
    st.sampled_from(
        [
            "{}",
            "{}.",
            "**{}**",
            "Answer: {}",
            "{} out of 100",
            "{} points",
            "I'd say {}.",
            "({})",
            "{}%",
            '"{}"',
        ]
    ),
)
def test_every_number_of_the_list_is_read(number: str, frame: str) -> None:
    assert read_reply(frame.format(number), RATINGS)[0] == RATINGS.index(number)


@pytest.mark.parametrize(
    "unit",
    [
        "K ", "K, ", "I choose ", "I would ", "I really think that I would ", "1", "1 ", "1, ",
        "1,000,", "1.", "(", "[", "<think>", "</think>", "so ", "- ", "\n", "a ", "not K ",
        "\\boxed{", "'", "$", "0 to ", "1/1 ", "more than 5 ",
    ],
)  # fmt: skip
@pytest.mark.parametrize("options", [KM, RATINGS], ids=["letters", "numbers"])
def test_twenty_thousand_characters_take_no_time(unit: str, options: tuple[str, ...]) -> None:
    began = time.process_time()
    named, _ = read_reply(unit * (LONGEST_REPLY // len(unit)) + " and on", options)
    assert named is None or 0 <= named < len(options)
    assert time.process_time() - began < 3  # far less on an idle machine


def test_long_thinking_before_an_answer_is_left_aside() -> None:
    assert read_reply("<think>" + "K or M? " * 10_000 + "</think>M", KM) == (1, "answered")


# ------------------------------------------------------------------------------------ conversations

TALK = Conversation(
    "The page.",
    (Question("First?", ("K", "M")), Question("Second?", ("W", "X", "Z"))),
    (Question("How much?", ("10", "20"), 1),),
)


def test_every_way_through_a_conversation_is_one_step() -> None:
    levels = TALK.steps()
    assert [len(level) for level in levels] == [1, 2]
    assert levels[0][0].messages == (("user", "The page.\nFirst?"),)
    assert levels[1][1].messages == (
        ("user", "The page.\nFirst?"),
        ("assistant", "M"),
        ("user", "Second?"),
    )
    assert levels[1][1].options == ("W", "X", "Z")
    assert [s.messages for s in TALK.control_steps()] == [(("user", "The page.\nHow much?"),)]
    assert TALK.transcript((1, 2))[-1] == {"role": "assistant", "content": "Z"}


@pytest.mark.parametrize("text", ["", " \n", "text\n\n", "- ", "1. ", "### ", "x" * 10_000])
def test_a_derivation_is_a_turn_of_its_own_however_it_ends(text: str) -> None:
    talk = Conversation("The page.", TALK.questions, work="Work it out.")
    (step,) = talk.steps(text)[0]
    assert step.messages == (
        ("user", "The page.\nWork it out."),
        ("assistant", text.strip() or NOTHING),
        ("user", "First?"),
    )


def test_the_product_along_the_conversation() -> None:
    p, q = np.array([[0.2, 0.6]]), np.array([[0.1, 0.2, 0.3], [0.25, 0.25, 0.5]])
    whole, valid = joint([np.log(p), np.log(q)])
    np.testing.assert_allclose(whole, [1 / 24, 2 / 24, 3 / 24, 3 / 16, 3 / 16, 3 / 8])
    np.testing.assert_allclose(valid, [0.8, 0.25 * 0.6 + 0.75 * 1.0])


def test_surface_forms_are_different_texts() -> None:
    for options in (KM, TENTHS, RATINGS, CASES):
        several = [form for option in options for form in forms(option)]
        assert len(set(several)) == len(several) == 2 * len(options)
        assert all(read_reply(form, options)[0] == k // 2 for k, form in enumerate(several))

"""How models write: which option a free reply names.

    >>> read_reply("**I'd go with K over M.**", ("K", "M"))
    (0, 'answered')
    >>> read_reply("I'm sorry, I cannot choose.", ("K", "M"))
    (None, 'refused')

A misread reply is worse than an unread one: where several options are named and none is decided on,
the reply is unreadable.  The text is matched, never evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal

Outcome = Literal["answered", "unreadable", "refused"]
OUTCOMES: tuple[Outcome, ...] = ("answered", "unreadable", "refused")
LONGEST_REPLY = 20_000  # characters that are looked at, thinking left aside

_THINKING = r"(?:think|thinking|thought|reasoning|scratchpad|seed:think)"
_OPENS = re.compile(
    rf"<{_THINKING}>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|channel\|>(?:analysis|commentary)",
    re.IGNORECASE,
)
_CLOSES = re.compile(
    rf"</{_THINKING}>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|channel\|>final<\|message\|>",
    re.IGNORECASE,
)
_PLAIN: dict[int, str | None] = {0xFF01 + i: chr(0x21 + i) for i in range(94)}  # full-width forms
_PLAIN |= {ord(c): None for c in '*_`"\u201c\u201d\u201e\u00ab\u00bb#|\u200b\u200c\u200d\ufeff'}
_PLAIN |= (
    {ord(c): "'" for c in "\u2018\u2019\u02bc"}
    | {ord(c): "-" for c in "\u2212\u2011"}
    | {ord(c): "\n" for c in "\r\u2028\u2029"}
)
_REFUSAL = re.compile(
    r"\bI (?:can(?:no|')t|can not|won't|will not|am not able|am unable|refuse|decline|must "
    r"decline|have no (?:personal )?(?:preference|opinion)|would (?:rather|prefer) not|do(?:n't| "
    r"not) (?:have|make|participate|engage|hold|wish|want|feel))|\bI'(?:m|d) (?:sorry|not able"
    r"|unable|rather not|prefer not)|^sorry\b|\bas an? (?:AI|artificial|(?:large )?language "
    r"model)\b|\bunable to (?:answer|choose|decide|make)|\bnot (?:comfortable|appropriate)"
    r"|\bagainst my (?:guidelines|principles|programming)",
    re.IGNORECASE,
)

# Words that lead to an answer.  Blanks are single ones by then, and every repetition is bounded:
# no reply takes long.
_FILLER = (
    r"(?:would|will|shall|should|must|can|do|have|had|having|am|been|to|decide|decided|going"
    r"|inclined|tend|need|want|wish|like|think|believe|that|therefore|thus|hence|so|then|still"
    r"|also|rather|just|now|hereby|I|I'd|I'll|I'm|we|we'd|we'll|\w{2,14}ly)"
)
_VERB = (
    r"(?:choos(?:e|ing)|chose|chosen|pick(?:ed|ing)?|select(?:ed|ing)?|prefer|take|go(?:ing)? "
    r"(?:with|for)|went with|opt(?:ed|ing)? for|favou?r|recommend|vote(?:d)? for|answer(?: with)?"
    r"|reply(?: with)?|decide(?:d)? (?:on|for)|settle(?:d)? (?:on|for)|stick(?:ing)? with|say)"
)
_AMOUNT = (
    r"(?:rate|rating|give|giving|offer|charge|set|ask(?: for)?|estimate|guess|put|assign|price"
    r"|propose|send|keep|sell|bid|post)"
)
_NOUN = (
    r"(?:answer|choice|decision|selection|pick|response|reply|preference|letter|option|number"
    r"|rating|price|offer|estimate|guess|score|amount|bid|result|conclusion|verdict)"
)
_ABOUT = r"(?: (?:of|for|to|in|on)(?: (?:this|the|my|each|it))?(?: [a-z]{1,12})?)?"
_IS = r" ?(?:is|(?:would|will|should|must)(?: \w{2,12})? be|:|=|->|=>|→|⇒) ?:? ?"
_PREFIX = r"(?:(?:the )?(?:option|case|letter|choice|alternative|answer|plan)[ :]{1,2}|the )?\(?\[?"
_START = r"(?:^|(?<=[.!?:;,\n(] )|(?<=[\n(]))"
# "I would have chosen K" tells of a choice that was not made, "I would have to choose K" of one
_SUBJECT = (
    r"\b(?:I|we|let me|let us|let's|I'd|I'll|I'm|I've|we'd|we'll|we're)"
    r"(?!(?:(?<='d)| (?:would|could|should|might)) have (?!to\b))"
)
_NOT_IF = "".join(
    f"(?<!{word} )"
    for word in ("if", "when", "whether", "should", "suppose", "unless", "do", "can")
)
_FINAL = rf"\bfinal (?:\w{{1,10}} )?{_NOUN}{_IS}"
_SAID = rf"{_NOT_IF}{_SUBJECT}(?: {_FILLER}){{0,6}} {_VERB}(?: is)? ?:? ?"
_NAMED = rf"\b(?:answer |{_NOUN}{_ABOUT}{_IS})"
_BARE_VERB = (
    rf"{_START}(?:choose|choosing|pick|picking|select|selecting|go with|going with|opt for|opting "
    r"for|chosen|selected) ?:? ?"
)
_SO = (
    rf"{_START}(?:so|therefore|thus|hence|consequently|in conclusion|in short|overall|finally),?:? "
    r"(?:it is |it's |it would be |it must be )?"
)
_LEAD = f"(?:{_SAID}|{_NAMED}|{_BARE_VERB})"
_MONEY = r"(?:(?:US|A|C)?[$€£¥₹] ?|(?:USD|EUR|GBP|CHF|Rs\.?) ?)"
_GIVEN = rf"{_NOT_IF}{_SUBJECT}(?: {_FILLER}){{0,6}} {_AMOUNT}(?: [a-z']{{1,14}}){{0,5}} ?:? ?"
_NUMBER_LEAD = (
    rf"(?:{_SAID}|{_GIVEN}|{_NAMED}|{_BARE_VERB}|{_SO})(?:(?:at|to|as|about|around|exactly|roughly"
    r"|approximately|a|an|the|price|rating|number|offer|of|option|is) ){0,5}"
)
_UNIT = (
    r"(?:%|€|£|¥|₹|\$|(?: ?(?:percent|per ?cent|percentage points|points?|pts?|euros?|eur|usd"
    r"|dollars?|bucks|cents?|cts?|pounds?|gbp|chf|people|persons?|others|of them)\b\.?))"
)
_UP_TO_TWENTY = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    "twenty",
)  # fmt: skip
_WORDS = {word: float(n) for n, word in enumerate(_UP_TO_TWENTY)}
_WORDS |= {
    word: 10.0 * n
    for n, word in enumerate(
        ("thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), start=3
    )
}
_WORDS["hundred"] = _WORDS["one hundred"] = _WORDS["a hundred"] = 100.0
_STANDS_ALONE = re.compile(
    r" ?(?:$|[\n.,;:!?)\]}]|[-–—] |(?:because|since|as|over|rather|instead|for|so|with|and)\b)"
)
_REJECTS = re.compile(
    r"(?i)\b(?:not|never|neither|nor|avoid|reject|against|unlike|than|over|instead of|versus|vs"
    r"|without|except)\b|n't\b"
)
# what stands before "I would choose K" and takes it back
_DOUBT = re.compile(
    r"(?i)(?:(?:n't|\bnot)(?: \w{2,10})? (?:think|believe|feel|say|suppose|see why|know (?:if"
    r"|whether|that|why))(?: that)?|\b(?:doubt|unlikely|not sure|unsure|not certain)(?: that| if"
    r"| whether)?) $"
)
_UNDECIDED = re.compile(
    r"(?i)\b(?:was|were) (?:going|tempted|inclined|about) to\b|(?:\bwould|'d) have (?!to\b)"
    r"|\bdoubt\b|\b(?:almost|nearly)\b"
)
_REJECTED = re.compile(
    r"(?i) (?:is|was|are|do|does|did|would|will|should|must|can|could|seems|feels|looks|sounds)"
    r"(?:n't\b|not\b|(?: \w{2,12}){0,2}? (?:not|never|no|wrong|worse|worst|unfair|unacceptable"
    r"|unethical|immoral|selfish|greedy|cruel|bad|out of)\b)"
)
_ASKED = re.compile(r"[^.!?;:\n]{0,80}\?")  # the rest of a sentence that is a question
_ALL_BUT = re.compile(r"(?i)\b(?:anything|everything|all|any) but\b")
_IF = re.compile(r"(?i)^(?:if|when|whether|suppose|should|unless)\b")
_CLAUSE = re.compile(r"[.!?;:\n]|,? ?\bbut\b")
_SCALE = re.compile(
    r"(?i)\b(?:scale|range) ?(?:of|from|between|is|:)? ?\(?-?[0-9]+(?:\.[0-9]+)?%? ?(?:[-–—]|to|and"
    r"|through) ?([0-9]+(?:\.[0-9]+)?)"
)
# before a number: it is bounded, or left out
_BOUNDED = re.compile(
    r"(?i)(?:\b(?:(?:more|less|fewer|greater|higher|lower|larger|smaller) than|over|under|above"
    r"|below|minus|negative)(?: (?:a|the|about))? ?|[<≥≤≠] ?)$"
)
_LEFT_OUT = re.compile(
    r"(?i)(?:\b(?:not|never|except|rather than|other than|instead of)|n't)(?: (?:a|an|the|exactly"
    r"|give|say|choose|offer|charge|rate)){0,2} $"
)
IN_NO_LIST = "0.0000007"  # stands for a number that none of the options can be
_EDGES = " .,:;!?()[]{}<>'~-=\n\t"


def read_reply(text: str, options: tuple[str, ...]) -> tuple[int | None, Outcome]:
    """(option that a reply names, outcome): ``answered``, ``unreadable`` or ``refused``.

    Reads what models write around an answer: bold, quotes, brackets, capitals, ``Option K``,
    ``I choose K because ...``, units, thousands separators, ``7 out of 10``, a closed block of
    thinking before it.  A reply that names several options without deciding on one, names none, or
    whose thinking never closes, is unreadable; one that declines is refused.
    """
    spoken = without_thinking(text)
    if spoken is None:
        return None, "unreadable"
    said = _ALL_BUT.sub("except", _plain(spoken[:LONGEST_REPLY]))
    numbers = bool(options) and all(re.fullmatch(r"-?[0-9]+(?:\.[0-9]+)?", o) for o in options)
    named = _number(said, options) if numbers else _label(said, options)
    if named is not None:
        return named, "answered"
    return None, "refused" if _REFUSAL.search(said) else "unreadable"


def without_thinking(text: str) -> str | None:
    """What is said after the thinking; None when that never ends."""
    closed = list(_CLOSES.finditer(text))
    after = text[closed[-1].end() :] if closed else text
    return None if _OPENS.search(after) else after


def _plain(text: str) -> str:
    """A reply without its markup, blanks single."""
    text = text.translate(_PLAIN)
    text = re.sub(r"\\(?:boxed|text|textbf|mathrm|mathbf) ?\{([^{}\n]{0,40})\}", r"\1", text)
    text = re.sub(r"\\boxed ?\{([^{}\n]{0,40})\}", r"\1", text)  # what stood around another one
    text = re.sub(r"\\[()\[\]]", " ", text)
    text = re.sub(r"</?[A-Za-z][A-Za-z0-9]{0,15}/?>", " ", text)
    text = re.sub(r"[^\S\n\u00a0\u202f\u2009]+", " ", text)
    text = re.sub(r" ?\n[ \n]*", "\n", text)
    return text.strip()


def _one(found: list[int | None]) -> tuple[bool, int | None]:
    """(whether anything was found, the one option that all of it agrees on or None)."""
    distinct = set(found)
    return bool(distinct), distinct.pop() if len(distinct) == 1 else None


# ------------------------------------------------------------------------------------------- labels


def _label(text: str, options: tuple[str, ...]) -> int | None:
    """The label that a cleaned reply decides on, or None."""
    cleaned = [_plain(o) for o in options]
    whole = _whole(text, cleaned)
    if whole is not None:
        return whole
    names = {name: i for i, name in reversed(list(enumerate(cleaned))) if name}
    folded: dict[str, int | None] = {}
    for name, i in names.items():
        folded[name.casefold()] = i if folded.get(name.casefold(), i) == i else None
    if not names:
        return None
    either = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    # within a sentence a small letter is no label
    spelt = "|".join(
        re.escape(n) if len(n) == 1 else f"(?i:{re.escape(n)})"
        for n in sorted(names, key=len, reverse=True)
    )
    edge = r"(?![\w/-]|'\w)"
    another = re.compile(
        rf" ?(?:and|or|&) (?i:(?:the )?(?:option|case|letter) )?(?:{either}){edge}"
    )

    def index(name: str) -> int | None:
        # a dotless i matches an I
        return names[name] if name in names else folded.get(name.casefold())

    def leads(lead: str, alone: bool = False) -> list[int | None]:
        found: list[int | None] = []
        for m in re.finditer(rf"(?i:{lead}{_PREFIX}(?<![\w/'-])(?P<name>{either}){edge})", text):
            name, rest = m["name"], text[m.end("name") : m.end("name") + 80]
            a_word = name.casefold() in ("a", "i")
            if (a_word and name not in names) or (
                (a_word or alone) and not _STANDS_ALONE.match(rest)
            ):
                continue  # a word of the sentence, or "So K gives me 50", which only looks ahead
            # "I choose K or M", "I doubt I would choose K" and "Why choose K?" decide nothing
            idle = another.match(rest) or _REJECTED.match(rest) or _ASKED.match(rest)
            idle = idle or _DOUBT.search(text[max(0, m.start() - 60) : m.start()])
            found.append(None if idle else index(name))
        return found

    mine = r" (?:it is\b(?! not)|is my|is our|is what I|would be my)"
    for found in (
        leads(_FINAL),
        leads(_LEAD)
        + leads(_SO, alone=True)
        + [
            index(m["name"])
            for m in re.finditer(rf"(?<![\w/'-])(?P<name>{spelt}){edge}(?i:{mine})", text)
        ],
        list(_alone(text, spelt, edge, index)),
    ):
        some, one = _one(found)
        if some:
            return one
    return None if _REFUSAL.search(text) else _one(list(_mentioned(text, spelt, edge, index)))[1]


def _whole(text: str, options: list[str]) -> int | None:
    """The label that is all of the reply, but for brackets,
    a word before it and the end of its sentence.
    """
    bare = re.sub(
        r"^(?i:(?:the )?(?:option|case|letter|choice|alternative|answer)[ :=]{1,3})",
        "",
        text.strip(_EDGES),
    ).strip(_EDGES)
    stems = {o.rpartition(" ")[0] for o in options}
    short = [o.rpartition(" ")[2] for o in options] if len(stems) == 1 and stems != {""} else []
    for said in (text.strip(_EDGES), bare):
        for several in (options, short):
            spelt = [i for i, o in enumerate(several) if o.strip(_EDGES) == said and said]
            folded = [
                i
                for i, o in enumerate(several)
                if o.strip(_EDGES).casefold() == said.casefold() and said
            ]
            for found in (spelt, folded):
                if len(found) == 1:
                    return found[0]
    return None


def _alone(
    text: str, spelt: str, edge: str, index: Callable[[str], int | None]
) -> Iterator[int | None]:
    """Labels that are a line or a sentence of their own,
    or that open the reply: ``K, because ...``.
    """
    name = rf"(?i:{_PREFIX})(?P<name>{spelt}){edge}[)\]]?"
    again = rf"(?! ?(?:{spelt}){edge}(?: ?[.,;!?)]| (?:and|or)\b|$|\n))"  # "K, M" decides nothing
    because = r" (?:because|since|as (?:it|this|the|I)\b|over\b|rather than|instead of|for the)"
    first = re.match(
        rf"{name}(?! ?[-–—] ?(?i:no|nope|never|not)\b)"
        rf"(?: ?[.!)(]| ?(?:[,;]|[-–—] ){again}|$|\n| ?: ?(?:$|\n)|(?i:{because}))",
        text,
    )
    if first:
        yield index(first["name"])
    elif re.match(rf"{name} ?:", text):  # the page's own list, said again; or "K: it gives me more"
        yield from (index(m["name"]) for m in re.finditer(rf"^{name} ?[.:)]", text, re.MULTILINE))
        return
    for m in re.finditer(
        rf"(?:^|(?<=[.!?] )){name} ?(?:[.!]+(?=\s|$)|[:)](?= )|$)", text, re.MULTILINE
    ):
        yield index(m["name"])


def _mentioned(
    text: str, spelt: str, edge: str, index: Callable[[str], int | None]
) -> Iterator[int | None]:
    """Labels that the reply speaks of, but for those that it rejects."""
    for m in re.finditer(rf"(?<![\w/'-])(?P<name>{spelt}){edge}", text):
        before = _CLAUSE.split(text[max(0, m.start() - 200) : m.start()])[-1]
        a_word = m["name"] in ("A", "I", "a", "i") and not re.match(
            r" ?(?:$|[\n.,;:!?)\]])", text[m.end() : m.end() + 3]
        )
        if a_word or _REJECTS.search(before) or _IF.match(before.strip()):
            continue
        rest = text[m.end() : m.end() + 80]
        # "K is unfair" is no decision, and none for another option either
        idle = _UNDECIDED.search(before) or _REJECTED.match(rest) or _ASKED.match(rest)
        yield None if idle else index(m["name"])


# ------------------------------------------------------------------------------------------ numbers


def _number(text: str, options: tuple[str, ...]) -> int | None:
    """The number of the list that a cleaned reply decides on, or None."""
    values = {float(o): i for i, o in reversed(list(enumerate(options)))}
    top = max(values)
    if any(float(m[1]) < top for m in _SCALE.finditer(text)):
        return None  # a number of another scale

    def value(number: float, unit: str | None) -> int | None:
        percent = unit is not None and re.match(r" ?(?:%|per)", unit)
        return None if percent and top != 100 else values.get(number)

    said = text.strip(_EDGES).casefold()
    unit = re.search(rf"{_UNIT}$", said)
    word = said[: unit.start() if unit else None].strip(_EDGES)
    if word in _WORDS:
        return value(_WORDS[word], unit and unit[0])
    text = _digits(text, values)
    token = (
        rf"(?<![\w.,/$€£¥₹^*+-]){_MONEY}?(?P<n>-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+))(?P<unit>{_UNIT})?"
        r"(?! ?(?i:hundred|thousand|million|billion|dozen|and a (?:half|quarter))\b)"
        r"(?![\w^*+]|[.,/:][0-9])(?P<range>(?: ?(?:[-–—~]|to|or|and) ?[$€£]?[0-9])?+)"
    )

    def values_of(pattern: str, anywhere: bool = False) -> list[int | None]:
        found: list[int | None] = []
        for m in re.finditer(pattern, text):
            before = text[max(0, m.start() - 60) : m.start()]
            if anywhere and _LEFT_OUT.search(before):
                continue
            idle = m["range"] or _DOUBT.search(before) or _ASKED.match(text[m.end() : m.end() + 80])
            if anywhere:
                clause = _CLAUSE.split(before)[-1]
                idle = idle or _BOUNDED.search(before) or _UNDECIDED.search(clause)
            found.append(None if idle else value(float(m["n"]), m["unit"]))
        return found

    for lead in (_FINAL, _NUMBER_LEAD):
        some, one = _one(values_of(rf"(?i:{lead}\(?\[?{token})"))
        if some:
            return one
    lines = values_of(rf"(?:^|(?<=\n))[-–•(\[ ]{{0,3}}{token}[)\]]? ?[.!]?(?=\n|$)")
    opens = (
        r" ?(?:[.!]|[,;](?! ?[$€£]?-?[0-9])|[-–—] |$|\n"
        r"|(?i:because|since|as (?:it|this|the|I)\b|is my|is what))"
    )
    some, one = _one(lines + values_of(rf"\A[(\[]?{token}[)\]]?{opens}"))
    if some:
        return one
    return None if _REFUSAL.search(text) else _one(values_of(token, anywhere=True))[1]


def _digits(text: str, values: dict[float, int]) -> str:
    """Numbers as Python writes them; scales, denominators and the numbers of a list taken out."""
    text = re.sub(
        r"(?<![\w.,])([0-9]{1,3}(?:[,'\u00a0\u202f\u2009][0-9]{3})+)(?![0-9]|[,'][0-9])",
        lambda m: re.sub(r"\D", "", m[1]),
        text,
    )
    text = text.replace("\u00a0", " ").replace("\u202f", " ").replace("\u2009", " ")
    text = re.sub(r"(?<![\w.,])([0-9]+),([0-9]{1,2})(?![\w]|[.,][0-9])", r"\1.\2", text)

    def thousand(m: re.Match[str]) -> str:
        as_it_stands, grouped = float(m[0]), float(m[0].replace(".", ""))
        return m[0].replace(".", "") if grouped in values and as_it_stands not in values else m[0]

    text = re.sub(r"(?<![\w.,])[0-9]{1,3}\.[0-9]{3}(?![\w.,])", thousand, text)
    span = (
        r"-?[0-9]+(?:\.[0-9]+)?%? ?(?:[-–—]|to|and|through) ?-?[0-9]+(?:\.[0-9]+)?%?(?![.,]?[0-9])"
    )
    scale = (
        rf"(?:on |from |using )?(?:a |the )?(?:\w{{1,12}} )?(?:scale|range) ?(?:of|from|between|is"
        rf"|:)? ?\(?{span}\)?,?"
    )
    text = re.sub(rf"(?i)\b{scale}|\b(?:between|from) {span}|\({span}[^()\n]{{0,20}}\)", " ", text)
    # 10/10 is no 10 of a list that goes up to 100
    text = re.sub(
        r"(?i)(?<![0-9.])([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(?:/|out of) ?(?:a (?:possible|total of) "
        r"|the )?([0-9]+(?:\.[0-9]+)?)(?![.,/]?[0-9])",
        lambda m: m[1] if float(m[2]) >= max(values) else IN_NO_LIST,
        text,
    )
    marks = list(re.finditer(r"^([0-9]{1,2})[.)] (?=\S)", text, re.MULTILINE))
    if [int(m[1]) for m in marks] == list(range(1, len(marks) + 1)):
        # a list, however early it is cut
        text = re.sub(r"^[0-9]{1,2}[.)] (?=\S)", "", text, flags=re.MULTILINE)
    return re.sub(r" {2,}", " ", text).strip()

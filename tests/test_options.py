"""Options of a command as values: what a command line, a YAML file and Python may say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from econmoral.files.options import Config, option, parse
from econmoral.files.records import InputError


@dataclass(frozen=True)
class Throws(Config):
    """Throws of coins."""

    name: str = option(None, "of the coin")
    share: float = option(0.5, "of heads", positive=True)
    sides: tuple[str, ...] = option(("head", "tail"), "of a coin", choices=("head", "tail", "rim"))
    kind: str = option("gold", "metal", choices=("gold", "none"))
    bias: float = option(0.0, "to heads", within=(-1, 1))
    often: int | None = option(None, "how often", positive=True)
    loud: bool = option(False, "say it")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name is None:
            self._set("name", f"a {self.kind} coin")


def read(path: Path, text: str, *words: str) -> Throws:
    """The values that a file and the words after it give."""
    path.write_text(text, encoding="utf-8")
    return parse(Throws, "throws", "", ["--config", str(path), *words], file=True)


def test_the_command_line_overrides_the_file(tmp_path: Path) -> None:
    text = "share: 0.25\noften: 3\nloud: true\nkind: none\nsides: [rim]\n"
    values = {"often": 3, "loud": True, "kind": "none", "sides": ("rim",)}
    assert read(tmp_path / "c.yaml", text) == Throws(share=0.25, **values)
    found = read(tmp_path / "c.yaml", text, "--share", "0.75", "--sides", "tail", "head")
    assert found == Throws(share=0.75, **values | {"sides": ("tail", "head")})
    assert "config" not in found.settings()


@dataclass(frozen=True)
class Guests(Config):
    """A list that is given one by one, and two things that must be given."""

    who: tuple[str, ...] = option(("nobody",), "guests", repeat=True)
    place: Path = option(None, "of the party", required=True)
    ends: tuple[int, int] = option(None, "", metavar=("FROM", "TO"), required=True)
    size: int = option(7, "")
    dishes: tuple[str, ...] = option(("soup",), "to eat", extend=True)
    games: tuple[str, ...] = option((), "to play", metavar="GAME", positional=True)


def test_a_list_of_the_command_line_replaces_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("who: [ann, bob]\n", encoding="utf-8")
    words = ["--config", str(tmp_path / "c.yaml"), "--place", "here", "--ends", "1", "2"]
    given = parse(Guests, "party", "", words, file=True)
    assert given == Guests(("ann", "bob"), Path("here"), (1, 2))
    replaced = parse(Guests, "party", "", [*words, "--who", "cid", "--who", "dan"], file=True)
    assert replaced.who == ("cid", "dan")


def test_several_at_once_and_again() -> None:
    words = ["chess", "--place", "here", "--ends", "1", "2", "--dishes", "pie", "jam", "--dishes"]
    given = parse(Guests, "party", "", [*words, "tea"])
    assert (given.dishes, given.games) == (("pie", "jam", "tea"), ("chess",))
    assert parse(Guests, "party", "", words[1:-4]) == Guests(place=Path("here"), ends=(1, 2))


def test_what_is_required_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(Guests, "party", "", ["--who", "ann"])
    said = capsys.readouterr().err
    assert "the following arguments are required: --place, --ends" in said
    assert "--ends FROM TO" in said
    with pytest.raises(InputError, match="give --place"):
        Guests(ends=(1, 2))
    with pytest.raises(SystemExit):
        parse(Guests, "party", "", ["--help"])
    assert "default 7" not in capsys.readouterr().out  # where there is no text


def test_without_a_file_there_is_no_such_option() -> None:
    with pytest.raises(SystemExit):
        parse(Throws, "throws", "", ["--config", "c.yaml"])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("shares: 1", r"expected options among name, share, .*; unknown: \['shares'\]"),
        ("[share]", "expected options among name, share"),
        ("kind: tin", "kind must be one of gold, none, got 'tin'"),
        ("share: 0", "--share must be positive, got 0.0"),
        ("share: .inf", "--share must be positive, got inf"),
        ("bias: 1.5", r"--bias must lie in \[-1, 1\], got 1.5"),
        ("bias: .nan", r"--bias must lie in \[-1, 1\], got nan"),
        ("often: -1", "--often must be positive, got -1"),
        ("sides: [edge]", "--sides: invalid choice 'edge'"),
        ("loud: 3", "--loud takes bool, got 3"),
        ("sides: 3", "--sides takes str, got 3"),
    ],
)
def test_a_file_s_faults_are_named(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        read(tmp_path / "c.yaml", text)


def test_words_of_a_file_are_read_as_those_of_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        read(tmp_path / "c.yaml", "often: 1.5")
    assert "argument --often: invalid int value: '1.5'" in capsys.readouterr().err


def test_a_default_of_none_is_filled_in_by_the_class() -> None:
    assert Throws(kind="none").name == "a none coin"
    assert replace(Throws(name="a penny"), kind="none").name == "a penny"
    with pytest.raises(InputError, match="--share takes float, got None"):
        Throws(share=None)  # type: ignore[arg-type]

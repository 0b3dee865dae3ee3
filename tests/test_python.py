"""Studies from Python: the documentation's own lines, and what comes back."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

import econmoral
from econmoral import Target, fit, measure
from econmoral.files.records import InputError, read_json

CHOOSER = "alpha=0.1,beta=0.2,kappa=0.4,lambda=0.1"
BLOCKS = [
    pytest.param(name, code, id=f"{name}-{k}")
    for name in ("README.md", "docs/python.md")
    for k, code in enumerate(
        re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    )
]


@pytest.mark.parametrize(("name", "code"), BLOCKS)
def test_the_page_runs(
    name: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: Path
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "random").symlink_to(adapter)
    monkeypatch.chdir(tmp_path)
    # as a script of its own, without the future of this module
    exec(compile(code, name, "exec", dont_inherit=True), {"__name__": "__main__"})


def test_what_was_put_in_comes_back(tmp_path: Path) -> None:
    found = measure(simulate=CHOOSER, items=60, pairs=1, sets=["payoffs"], out=tmp_path / "m")
    assert isinstance(found.records, pd.DataFrame)
    assert len(found.records) == 60
    assert found.records["prompt_hash"].nunique() == 60
    rows = found.estimates.set_index(["condition", "name"])
    for name, value in (("alpha", 0.1), ("beta", 0.2), ("kappa", 0.4)):
        row = rows.loc["chooser", f"alpha_beta_kappa: {name}"]
        assert row["value"] == pytest.approx(value, abs=1e-3)
        assert row["low"] <= row["value"] <= row["high"]
    again = fit(found.decisions("chooser", set="payoffs"), "alpha_beta_kappa")
    assert again.estimates["kappa"] == pytest.approx(
        rows.loc["chooser", "alpha_beta_kappa: kappa"]["value"]
    )
    assert next(iter(found.summary()["arm"])) == "chooser"
    settings = read_json(tmp_path / "m" / "run.json")["settings"]
    assert settings["items"] == 60
    assert settings["sets"] == ["payoffs"]
    assert found.folder == tmp_path / "m"
    # a second one in the same folder and process
    assert len(measure(simulate=CHOOSER, items=4, pairs=1, out=tmp_path / "m").records) == 8


def test_every_instrument_can_be_started() -> None:
    menus = measure(
        simulate="alpha=0.1,beta=0.3,lambda=0.2", instrument="menus", battery="bfs39", pairs=1
    )
    assert set(menus.records["battery"]) == {"bfs39"}
    fitted = {f"bruhin_fehr_schunk: {name}" for name in ("alpha", "beta", "lambda")}
    assert {"mean"} | fitted <= set(menus.estimates["name"])
    rated = measure(simulate="kappa=0.7,lambda=4", instrument="ratings")
    assert len(rated.records) == 210
    cases = measure(simulate="age=0.3,lambda=1", instrument="conjoint", scenarios=40)
    assert len(cases.records) == 40
    assert rated.folder is None
    prices = measure(instrument="pricing", agents=["grim", "myopic"], runs=1, periods=52)
    index = prices.estimates.query("name == 'price_index'").set_index("condition")["value"]
    np.testing.assert_allclose(index["grim + grim"], 1, atol=1e-6)


def test_a_comparison_and_a_report_from_python(tmp_path: Path) -> None:
    assert [p.id.partition("-")[0] for p in BLOCKS].count("README.md") == 1
    for name, kappa in (("a", 0), ("b", 0.6)):
        said = f"alpha=0,beta=0,kappa={kappa},lambda=0.1"
        measure(simulate=said, items=12, pairs=1, sets=["payoffs"], out=tmp_path / name)
    folders = tmp_path / "a", tmp_path / "b"
    found = econmoral.compare(*folders, against="chooser", bootstrap=20)
    assert isinstance(found, econmoral.Comparison)
    rows = found.frame.set_index("measure")
    assert set(rows["arm"]) == {f"{tmp_path.name}/b: chooser"}
    assert rows.loc["kappa alone", "difference"] == pytest.approx(0.6, abs=1e-3)
    assert (found.left_out, found.against) == ((), "chooser")
    assert not list(tmp_path.glob("*/compare.*"))
    options = {"against": "chooser", "bootstrap": 20}
    assert econmoral.compare(*folders, out=tmp_path / "both", **options).rows == found.rows
    written = read_json(tmp_path / "both" / "compare.json")["rows"]
    assert written == [dict(row) for row in found.rows]
    for options, said in (
        ({"margn": 0.1}, "no option 'margn'"),
        ({"margin": 2}, "--margin must lie in"),
        ({"against": "nobody"}, "no arm 'nobody'"),
    ):
        with pytest.raises(InputError, match=re.escape(said)):
            econmoral.compare(*folders, **options)
    with pytest.raises(InputError, match="give folders"):
        econmoral.compare()
    out = econmoral.report(tmp_path / "b", out=tmp_path / "shown")
    assert out == tmp_path / "shown"
    assert {"report.html", "report.md"} <= {p.name for p in out.iterdir()}
    with pytest.raises(InputError, match="does not exist"):
        econmoral.report(tmp_path / "nothing")


def test_a_preference_is_a_value() -> None:
    target = Target.parse("homo_moralis:kappa=0.5")
    found = measure(simulate=CHOOSER, items=6, pairs=1, targets=[str(target)], sets=["payoffs"])
    assert any(target.label in column for column in found.summary().columns)


def test_bad_input_is_one_line() -> None:
    for options, said in (
        ({"instrument": "chess"}, "unknown instrument"),
        ({"simulate": CHOOSER, "itmes": 3}, "no option 'itmes'"),
        ({"simulate": CHOOSER, "items": 0}, "--items must be at least 1"),
        ({"simulate": CHOOSER, "beliefs": "guessed"}, "invalid choice 'guessed'"),
        ({"simulate": CHOOSER, "items": "many"}, "--items takes int"),
        ({}, "give either"),
        ({"model": "gpt-17"}, "unknown model"),
    ):
        with pytest.raises(InputError, match=re.escape(said)):
            measure(**options)
    with pytest.raises(InputError, match="no decisions in games"):
        measure(simulate="lambda=1", instrument="ratings").decisions("chooser")


def test_the_import_is_quick_and_light() -> None:
    code = (
        "import sys, time; began = time.process_time(); import econmoral; used = "
        "time.process_time() - began; print(used, *[m for m in ('torch', 'numpy', 'pandas') if m "
        "in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert float(said[0]) < 0.5
    assert said[1:] == []
    code = "import sys; from econmoral import Target, fit, measure; print('torch' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert said.strip() == "False"
    code = (
        "import sys; import econmoral.__main__; "
        "print([m for m in ('torch', 'pandas', 'scipy') if m in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert said.strip() == "[]"
    assert "measure" in dir(econmoral)
    with pytest.raises(AttributeError):
        econmoral.nothing  # noqa: B018

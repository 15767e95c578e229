"""`mdnrnn info` and `mdnrnn presets`: text and JSON."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from mdnrnn.cli import main
from mdnrnn.runs.description import describe_run
from mdnrnn.runs.presets import PRESETS
from tests.cli.helpers import assert_refused

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("run", ["stroke_run", "sketch_run", "touch_run", "handwriting_run"])
def test_info_prints_one_line_per_fact(run: str, request: pytest.FixtureRequest, capsys: Capture) -> None:
    folder: Path = request.getfixturevalue(run)
    capsys.readouterr()
    assert main(["info", str(folder)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines.keys() >= {"run", "model", "sizes", "data", "license", "steps", "training", "validation", "command"}
    assert f"--data {folder.parent / 'data.npz'} --out run" in lines["command"]
    assert main(["info", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == asdict(describe_run(folder))


def test_info_of_a_missing_run_is_an_error(capsys: Capture) -> None:
    assert_refused(["info", "nosuch"], "nosuch: no such run folder", capsys)


def test_unprintable_texts_are_escaped(stroke_run: Path, tmp_path: Path, capsys: Capture) -> None:
    config = json.loads((stroke_run / "config.json").read_text())
    config["metadata"]["source"] = "\x1b[31mred"
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main(["info", str(tmp_path)]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_presets_prints_one_line_per_preset(capsys: Capture) -> None:
    assert main(["presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(PRESETS)
    for line, preset in zip(lines, PRESETS.values(), strict=True):
        assert f"{preset.minutes:g} min" in line
        assert f"hidden {preset.model.hidden}" in line
    assert main(["presets", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in entries] == list(PRESETS)
    assert all(entry["description"] == PRESETS[entry["name"]].description for entry in entries)

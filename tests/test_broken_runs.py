"""The six broken runs of exercise 14.2: one fault each, and the stored curves and pictures show it."""

import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt

from minisd.checkpoint import read_json
from minisd.teaching import run_drawings
from minisd.teaching.exercises import ch14

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import broken_runs

STORED = read_json(run_drawings.STORED)
RUNS = {ch14.RUNS.get(name, name): run for name, run in STORED["runs"].items()}


def curve(name: str, key: str = "held_out") -> np.ndarray:
    return np.array(RUNS[name][key])


def test_the_check_and_the_benchmark_agree_on_which_is_which():
    assert ch14.RUNS == broken_runs.LETTERS and set(ch14.SIGNS) == set(broken_runs.FAULTS)
    assert set(RUNS) == {"sound", *broken_runs.FAULTS}


def test_each_run_differs_from_the_sound_one_in_one_thing():
    sound = asdict(broken_runs.SOUND)
    for fault in broken_runs.FAULTS.values():
        assert sum(value != sound[name] for name, value in asdict(fault).items()) == 1


def test_each_fault_shows_its_sign():
    assert curve("schedule stepped twice")[-1] > curve("schedule stepped twice").min() + 0.03
    assert all(curve("noise drawn anew", key).min() > 0.95 for key in ("loss", "held_out"))
    assert RUNS["average never arrives"]["loss"] == RUNS["sound"]["loss"]
    assert RUNS["average never arrives"]["pictures"] != RUNS["sound"]["pictures"]
    assert 0.5 < curve("latents not scaled")[-1] < 0.9
    assert curve("labels always dropped")[-1] > curve("sound")[-1] + 0.03


def test_only_one_curve_jumps():
    jumps = {name: np.abs(np.diff(curve(name, "loss")[20:])).mean() for name in RUNS}
    rough = jumps.pop("one timestep a batch")
    assert rough > 3 * max(jumps.values())
    assert abs(curve("one timestep a batch")[-1] - curve("sound")[-1]) < 0.02


def test_two_runs_paint_what_the_sound_one_does_and_four_do_not():
    """From the same noise, the others paint nearly what the sound run does."""
    painted = {name: run_drawings.pictures_of(run, 8).astype(float) for name, run in RUNS.items()}
    off = {name: np.abs(picture - painted["sound"]).mean() for name, picture in painted.items()}
    fine = {"sound", "schedule stepped twice", "one timestep a batch"}
    assert max(off[name] for name in fine) < 0.5 * min(off[name] for name in off.keys() - fine)


def test_a_run_can_be_made_again(monkeypatch):
    monkeypatch.setattr(broken_runs, "STEPS", 60)
    run = broken_runs.train(broken_runs.SOUND)
    assert run["held_out"][0] == pytest.approx(RUNS["sound"]["held_out"][0], abs=2e-3)
    assert len(run["loss"]) == 6 and len(run["held_out"]) == 3 and run["loss"][-1] < run["loss"][0] - 0.2
    assert len(run["pictures"]) == broken_runs.PAINTED


def test_the_drawing_has_a_row_for_each_run():
    run_drawings.draw_runs()
    rows = np.array(plt.gcf().axes).reshape(-1, 3)
    assert [row[0].get_ylabel() for row in rows] == list(STORED["runs"])
    assert all(len(panel.get_lines()) == 2 for row in rows for panel in row[:2])
    plt.close("all")

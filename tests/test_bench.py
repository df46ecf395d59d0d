"""`make bench`: fair turns, ratios round by round, a floor that counts every heavy call, an honest page."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from minisd.attention import Attention
from minisd.linear import Linear
from small import small_pipeline

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import bench  # noqa: E402
import common  # noqa: E402
import contest  # noqa: E402
import floor  # noqa: E402
import fullsize  # noqa: E402
import little  # noqa: E402
import precision  # noqa: E402

RUNS = [
    {"minisd": {"seconds": 2.0}, "diffusers": {"seconds": 4.0}},
    {"minisd": {"seconds": 3.0}, "diffusers": {"seconds": 4.0}},
    {"minisd": {"seconds": 9.0}, "diffusers": {"seconds": 10.0}},
]


# ---- turns and ratios


def test_everyone_is_measured_once_a_round_in_the_same_order():
    asked = []

    def measure(name):
        asked.append(name)
        return {"seconds": len(asked)}

    runs = common.in_turn(["a", "b"], measure, 2, "turns")
    assert asked == ["a", "b", "a", "b"]
    assert runs == [{"a": {"seconds": 1}, "b": {"seconds": 2}}, {"a": {"seconds": 3}, "b": {"seconds": 4}}]


def test_ratios_are_taken_round_by_round():
    found = common.compared(RUNS, "minisd", "diffusers", "seconds")
    assert found == {"median": 0.75, "least": 0.5, "most": 0.9}
    assert common.ratio_text(found) == "0.75 (0.50–0.90)"
    assert common.middle(RUNS, "minisd", "seconds") == 3


def test_a_fresh_process_answers_in_json_or_says_what_went_wrong(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import json, sys\nprint('words')\nprint(json.dumps({'given': sys.argv[1:]}))\n")
    assert common.fresh(script, "--n", 3) == {"given": ["--n", "3"]}
    script.write_text("raise ValueError('no such thing')")
    with pytest.raises(RuntimeError, match=r"script\.py 1 failed: ValueError: no such thing"):
        common.fresh(script, 1)


# ---- the floor


def test_the_floor_hears_every_heavy_call():
    unet = small_pipeline().unet
    with torch.device("meta"):
        inputs = torch.randn(2, 4, 8, 8), 1, torch.randn(2, 7, unet.config.cross_attention_dim)
    heard = floor.heavy_calls(unet.to("meta"), inputs)
    counts = {kind: sum(n for call, n in heard.items() if call[0] == kind) for kind, _ in heard}
    modules = list(unet.modules())
    assert counts == {
        "convolutions": sum(isinstance(module, nn.Conv2d) for module in modules),
        "matrix products": sum(isinstance(module, nn.Linear) for module in modules),
        "attention": sum(isinstance(module, Attention) for module in modules),
    }


def test_the_floor_is_the_sum_of_the_calls(monkeypatch):
    monkeypatch.setattr(floor, "seconds", lambda call, dtype, runs, device: 0.5)
    net = nn.Sequential(Linear(3, 3), Linear(3, 3), Linear(3, 2)).to("meta")
    assert floor.floor_of(net, (torch.randn(2, 3, device="meta"),)) == {"matrix products": 1.5}


@pytest.mark.parametrize(
    "call",
    [
        ("convolutions", ((1, 4, 8, 8), (6, 4, 3, 3), (1, 1), (1, 1))),
        ("matrix products", ((2, 5, 8), (6, 8))),
        ("attention", ((1, 2, 9, 4), (1, 2, 5, 4), (1, 2, 5, 4))),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_kind_of_call_can_be_timed(call, dtype):
    assert 0 < floor.seconds(call, dtype, runs=1) < 1


# ---- the pages


def painted(start, step, decode=2.0):
    return {"start": start, "first": start + step, "step": step, "decode": decode, "peak": 4e9}


def fullsize_results():
    run = {who: painted(9.0, 7.0) for who in fullsize.PAINTERS}
    run |= {"minisd": painted(2.0, 5.0), "diffusers, channels last": painted(10.0, 6.5)}
    kinds = {"convolutions": 2.0, "matrix products": 1.0, "attention": 1.5}
    run |= {who: {**kinds, "step": 4.5} for who in fullsize.FLOORS}
    return {**common.now_and_here("torch"), "rounds": 1, "runs": [run]}


def test_a_whole_picture_is_its_start_its_steps_and_its_decoding_against_their_best():
    results = fullsize_results()
    assert fullsize.whole_picture(results["runs"][0], "minisd", 20) == 2 + 20 * 5 + 2
    assert fullsize.picture_ratio(results, 20)["median"] == 104 / min(9 + 140 + 2, 10 + 130 + 2)
    page = fullsize.markdown(results)
    assert "| a guided step, against the floor | 1.11 (1.11–1.11) |" in page
    assert all(f"| {who} |" in page for who in [*fullsize.PAINTERS, *fullsize.FLOORS])


def test_the_contest_compares_with_ours_of_the_same_precision_and_names_who_is_missing():
    assert contest.reference("openvino, bfloat16") == "minisd, bfloat16"
    assert contest.reference("vae: openvino") == "vae: minisd"
    found = {"seconds": [4.0], "first": 5.0, "peak": 1e9, "error": 1e-6}
    run = {"minisd": found, "openvino": {**found, "seconds": [5.0]}, "other": {"skipped": "not installed: x"}}
    results = {**common.now_and_here("torch"), "rounds": 1, "runs": [run]}
    page = contest.markdown(results)
    assert "| openvino | 5.0 | 5.0 | 1.00 | 1e-06 | 0.80 (0.80–0.80) |" in page
    assert "| other | not installed: x |" in page


def test_the_small_models_floor_is_told_as_a_ratio():
    found = {"step": 0.009, "convolutions": 0.004, "matrix products": 0.002, "attention": 0.0}
    assert "9.0 ms" in little.floor_text(found) and "1.50 times" in little.floor_text(found)


def test_precisions_are_compared_prompt_by_prompt():
    plain, half = [True, True, False, False], [True, False, True, False]
    assert precision.pairs(plain, half) == {"float32 only": 1, "bfloat16 only": 1}


def test_every_stage_of_the_bench_is_a_script():
    assert all((ROOT / "benchmarks" / f"{name}.py").is_file() for name in bench.STAGES)


def test_what_was_not_measured_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(bench, "read_results", lambda name: common.read_results(name, tmp_path))
    page = bench.results_text(20)
    assert page.count("| not measured |") == len(bench.rows(20)) and "## memory\n\nNot measured here." in page


def test_the_bench_takes_figures_and_pages_of_the_scripts(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(bench, "read_results", lambda name: common.read_results(name, tmp_path))
    (tmp_path / "fullsize.json").write_text(json.dumps(fullsize_results()))
    (tmp_path / "fullsize.md").write_text("# Title\n\nWords.\n\n## More\n")
    page = bench.results_text(20)
    assert "| full-size U-Net step with guidance, float32 | at most 1.0 | 0.71 (0.71–0.71) |" in page
    assert "\n## Title\n\nWords.\n\n### More\n" in page


def test_results_are_those_of_the_figures_that_are_there():
    """RESULTS.md was written by the script, from the .json files beside it."""
    assert (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8") == bench.results_text(
        bench.PLATEAU
    )

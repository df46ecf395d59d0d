"""The other programs' timings: on the small model, where a step takes milliseconds."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from minisd.models import TINY

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import peers  # noqa: E402

NEEDS_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return shutil.copytree(TINY, tmp_path_factory.mktemp("peers") / "tiny")


@NEEDS_LINUX
@pytest.mark.parametrize(
    ("peer", "tolerance"),
    [
        ("minisd", 1e-5),
        ("vae: minisd", 1e-5),
        ("diffusers", 1e-5),
        ("diffusers, fast", 1e-5),
        ("diffusers, bfloat16", 0.1),
        ("openvino", 1e-4),
        ("vae: diffusers", 1e-5),
        ("vae: openvino", 1e-4),
    ],
)
def test_a_peer_answers_as_diffusers_does(monkeypatch, folder, peer, tolerance):
    if peers.missing(peer):
        pytest.skip(f"not installed: {peers.missing(peer)}")
    # not in a process of its own, which takes seconds to start
    monkeypatch.setattr(peers, "in_fresh_process", lambda make, *where: make(*where))
    found = peers.measure(peer, folder, 2)
    assert found["peer"] == peer and found["versions"].keys() == set(peers.packages(peer))
    assert len(found["seconds"]) == len(found["cpu"]) == 2 and min(found["seconds"]) > 0
    assert found["peak"] > found["own"] > 0
    assert 0 <= found["error"] <= tolerance


@NEEDS_LINUX
@pytest.mark.slow
def test_the_script_prints_a_line_of_json(tmp_path):
    """In a process of its own, which starts one more for the answer to compare with."""
    folder = shutil.copytree(TINY, tmp_path / "tiny")
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "peers.py", "vae: diffusers", folder, "--runs", "1"],
        capture_output=True,
        encoding="utf-8",
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["peer"] == "vae: diffusers" and found["threads"] == 2 and found["error"] < 1e-5
    assert (folder / "peers" / "vae.safetensors").is_file()


def test_the_warm_up_is_not_among_the_runs():
    found = peers.report([(0.0, 0.0), (5.0, 9.0), (6.0, 11.0), (8.0, 14.0)])
    assert found == {"first": 5.0, "seconds": [1.0, 2.0], "cpu": [2.0, 3.0]}


def test_a_peer_that_is_not_installed_is_skipped(monkeypatch, tmp_path):
    monkeypatch.setattr(peers, "packages", lambda peer: ["torch", "no_such_package"])
    assert peers.measure("openvino", tmp_path, 1) == {
        "peer": "openvino",
        "skipped": "not installed: no_such_package",
    }


@pytest.mark.parametrize(("error", "words"), [(0.01, "1.0e-02"), (float("nan"), "nan")])
def test_a_wrong_answer_is_refused(monkeypatch, tmp_path, error, words):
    wrong = dict.fromkeys(("openvino", "openvino, bfloat16"), lambda folder, runs: {"error": error})
    monkeypatch.setattr(peers, "PEERS", wrong)
    monkeypatch.setattr(peers, "packages", lambda peer: ["torch"])
    with pytest.raises(RuntimeError, match=f"openvino differs from diffusers by {words}"):
        peers.measure("openvino", tmp_path, 1)
    assert peers.measure("openvino, bfloat16", tmp_path, 1)["error"] is error

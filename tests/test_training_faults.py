"""Training when things go wrong: two runs in one folder, other settings, damage, a full disk, signals."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from minisd.files import locked
from minisd.teaching.book import ROOT
from minisd.training import loop, stages
from minisd.training.loop import fit, learning_rate
from minisd.training.recipe import STAGES, Phase, read_recipe
from minisd.training.stages import Training, check_device, has_gpu
from minisd.training.store import checksums, previous, read_checkpoint, write_checkpoint

RECIPE = Path(__file__).with_name("small.toml")
MADE = STAGES["all"][:-1]  # all stages but the export
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}


class Killed(BaseException):
    """Stands for a kill: no `except Exception` may catch it."""


class Toy(nn.Module):
    """A linear layer that is to give 1 for any noise."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(6, 1)

    def forward(self, x):
        return (self.net(x) - 1).square().mean()


def noise_batch(rng, n):
    return (torch.from_numpy(rng.standard_normal((n, 6), dtype=np.float32)),)


def train_toy(
    out, stop=None, batch=noise_batch, accelerator=None, objective=None, settings=None, shared=True, **values
):
    """Eight steps with checkpoints after 3, 6 and 8, or killed in step `stop`; returns the trained module."""
    drawn = []

    def dying(rng, n):
        drawn.append(n)
        if len(drawn) == stop:
            raise Killed
        return batch(rng, n)

    values = {"steps": 8, "batch_size": 4, "learning_rate_peak": 0.01, "warmup": 2, "save_every": 3, **values}
    objective, accelerator = objective or Toy(), accelerator or Accelerator(cpu=True)
    path, options = out / "toy.pt", {"settings": settings or {}, "seed": 0, "shared": shared}
    done = fit(objective, dying, path, Phase(**values), accelerator, **options)
    assert done["processes"] == accelerator.num_processes
    return objective


def same_weights(a, b):
    return all(torch.equal(x, b.state_dict()[name]) for name, x in a.state_dict().items())


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return train_toy(tmp_path_factory.mktemp("straight"))


@pytest.fixture(scope="module")
def recipe():
    return read_recipe(RECIPE)


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    Training(recipe, out, device="cpu").train(*MADE)
    return out


@pytest.fixture
def run(finished, tmp_path):
    """A copy of a finished run, to be spoilt."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- two runs in one folder


def test_a_folder_that_another_process_trains_in_is_refused_at_once(recipe, tmp_path):
    waiting = (
        "import sys; from pathlib import Path; from minisd.files import locked\n"
        "with locked(Path(sys.argv[1]), wait=False): print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", waiting, str(tmp_path)]
    with subprocess.Popen(words, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError, match="in use by another run") as error:
            Training(recipe, tmp_path, device="cpu").train("tokenizer")
        assert str(tmp_path) in one_line(error)
        other.kill()
    assert not (tmp_path / "tokenizer").exists()
    Training(recipe, tmp_path, device="cpu").train("tokenizer")  # the lock of a killed process is free


def test_opening_needs_no_lock(recipe, finished):
    with locked(finished):
        assert len(Training(recipe, finished, device="cpu").open_tokenizer()) == 600


def test_a_run_clears_away_what_killed_ones_have_left(recipe, run):
    (run / "model" / "unet").mkdir(parents=True)
    for name in (".pictures.npy", "checkpoints/.unet.pt", "model/unet/.config.json"):
        (run / f"{name}.0123456789abcdef.part").write_bytes(b"half")
    (run / "my.part").write_bytes(b"the user's own")
    Training(recipe, run, device="cpu").train("tokenizer")
    assert [path.name for path in run.rglob("*.part")] == ["my.part"]


# ---- other settings than before


@pytest.mark.parametrize(
    "change, stage, said",
    [
        (lambda r: replace(r, seed=8), "pictures", "pictures.npy was made with seed = 7, now it is 8"),
        (lambda r: replace(r, seed=8), "tokenizer", "tokenizer was made with seed = 7, now it is 8"),
        (
            lambda r: replace(r, pictures=17),
            "pictures",
            "pictures.npy was made with pictures = 16, now it is 17",
        ),
        (
            lambda r: replace(r, tokenizer=replace(r.tokenizer, size=601)),
            "tokenizer",
            "tokenizer was made with tokenizer.size = 600, now it is 601",
        ),
        (
            lambda r: replace(r, tokenizer=replace(r.tokenizer, captions=301)),
            "clip",
            "tokenizer was made with tokenizer.captions = 300, now it is 301",
        ),
        (
            lambda r: replace(r, clip=replace(r.clip, mixed=replace(r.clip.mixed, muon_peak=0.0))),
            "clip",
            "clip-mixed.pt was made with clip.mixed.muon_peak = 0.001, now it is 0.0",
        ),
        (
            lambda r: replace(r, clip=replace(r.clip, mixed=replace(r.clip.mixed, steps=6))),
            "unet",
            "clip-twins.pt was made with clip.mixed.steps = 5, now it is 6",
        ),
        (
            lambda r: replace(r, clip=replace(r.clip, twins=replace(r.clip.twins, steps=6))),
            "unet",
            "clip-twins.pt was made with clip.twins.steps = 5, now it is 6",
        ),
        (
            lambda r: replace(r, vae=replace(r.vae, kl_weight=1e-3)),
            "vae",
            "vae-corners.pt was made with vae.kl_weight = 0.0005, now it is 0.001",
        ),
        (
            lambda r: replace(r, vae=replace(r.vae, kl_weight=1e-3)),
            "unet",
            "vae-whole.pt was made with vae.kl_weight = 0.0005, now it is 0.001",
        ),
        (
            lambda r: replace(r, unet=replace(r.unet, caption_dropout=0.2)),
            "unet",
            "unet.pt was made with unet.caption_dropout = 0.1, now it is 0.2",
        ),
    ],
)
def test_a_changed_setting_is_refused_with_its_old_and_new_value(recipe, finished, change, stage, said):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    with pytest.raises(ValueError) as error:
        Training(change(recipe), finished, device="cpu").train(stage)
    assert f"{said}; give the old value or another --out folder" in one_line(error)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()} == before


def test_how_often_it_saves_may_change(recipe, finished):
    other = replace(recipe, clip=replace(recipe.clip, mixed=replace(recipe.clip.mixed, save_every=1)))
    Training(other, finished, device="cpu").train("clip")


def test_latents_of_other_weights_are_refused(recipe, run):
    """As after a VAE that was deleted and trained again on another machine: the same settings, other bits."""
    path = run / "checkpoints" / "vae-whole.pt"
    state = torch.load(path, weights_only=True)
    state["average"]["module.encoder.conv_in.bias"] += 1e-3
    write_checkpoint(state, path)
    with pytest.raises(ValueError, match=r"latents.npz was made with the VAE's checksum = .* now it is "):
        Training(recipe, run, device="cpu").train("latents")


# ---- damage


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def flip(path, place=0.5, bit=4):
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)


DAMAGES = {
    "cut": cut,
    "empty": lambda path: path.write_bytes(b""),
    "flipped": flip,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "text": lambda path: path.write_text("not found"),
    "a list": lambda path: torch.save([1, 2], path),
    "another checkpoint": lambda path: torch.save({"step": 3, "settings": {}}, path),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("stop", [8, None], ids=["on the way", "finished"])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_used(tmp_path, straight, damage, stop):
    with contextlib.suppress(Killed):
        train_toy(tmp_path, stop)
    damage(tmp_path / "toy.pt")
    step = 6 if stop is None else 3
    with pytest.warns(
        UserWarning, match=f"toy.pt is damaged: .*; going on from the one before it, step {step}"
    ):
        again = train_toy(tmp_path)
    assert same_weights(again, straight)
    assert read_checkpoint(tmp_path / "toy.pt")["step"] == 8


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_without_one_before_it_is_an_error(tmp_path, damage):
    with contextlib.suppress(Killed):
        train_toy(tmp_path, stop=5)
    damage(tmp_path / "toy.pt")
    with pytest.raises(
        ValueError, match=r"toy.pt is damaged: .*; delete it to train from the start"
    ) as error:
        train_toy(tmp_path)
    one_line(error)


def test_two_damaged_checkpoints_are_an_error(tmp_path):
    train_toy(tmp_path)
    for path in tmp_path.glob("*.pt"):
        flip(path)
    with pytest.raises(
        ValueError, match=r"toy.previous.pt is damaged: .*toy.pt; delete both to train"
    ) as error:
        train_toy(tmp_path)
    one_line(error)
    for path in tmp_path.glob("*.pt"):
        path.unlink()
    train_toy(tmp_path)


def test_a_lost_or_damaged_list_of_checksums_is_noticed(tmp_path):
    train_toy(tmp_path)
    for damage in (lambda path: path.write_bytes(b"\xff\x00"), Path.unlink):
        damage(checksums(tmp_path / "toy.pt"))
        with pytest.raises(ValueError, match="is damaged"):
            train_toy(tmp_path)


def test_one_damage_after_another_is_mended(tmp_path, straight):
    """The checkpoint that took a damaged one's place is still known when the next one is damaged too."""
    for stop in (8, 5, None):
        with contextlib.suppress(Killed):
            train_toy(tmp_path, stop)
        flip(tmp_path / "toy.pt")
        with pytest.warns(UserWarning, match="going on from the one before it"), contextlib.suppress(Killed):
            train_toy(tmp_path, stop=1)
    assert same_weights(train_toy(tmp_path), straight)


def test_every_flipped_bit_is_noticed(tmp_path):
    train_toy(tmp_path)
    path = tmp_path / "toy.pt"
    good = path.read_bytes()
    for place in np.linspace(0, 1, 100, endpoint=False):
        flip(path, place, bit=int(1000 * place) % 8)
        with pytest.raises(ValueError, match="is damaged"):
            read_checkpoint(path)
        path.write_bytes(good)


@pytest.mark.parametrize("damage", [cut, flip], ids=["cut", "flipped"])
def test_a_damaged_finished_stage_is_not_opened_and_mended_by_its_command(recipe, finished, run, damage):
    path = run / "checkpoints" / "vae-whole.pt"
    damage(path)
    training = Training(recipe, run, device="cpu")
    with pytest.raises(
        ValueError, match=r"vae-whole.pt is damaged: .*; to mend it: minisd train vae --out"
    ) as error:
        training.train("unet")
    one_line(error)
    with pytest.warns(UserWarning, match="going on from the one before it, step 4"):
        training.train("vae")
    training.train("latents")  # as before: they depend on the weights alone
    old, new = (torch.load(f / "checkpoints" / path.name, weights_only=True) for f in (finished, run))
    assert all(torch.equal(x, new["average"][name]) for name, x in old["average"].items())


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink], ids=["cut", "flipped", "gone"])
@pytest.mark.parametrize(
    "file, stage",
    [("pictures.npy", "pictures"), ("latents.npz", "unet"), ("tokenizer/merges.txt", "clip")],
)
def test_damage_to_what_is_made_once_is_noticed(recipe, run, damage, file, stage):
    damage(run / file)
    with pytest.raises(ValueError, match=r"is damaged or gone; delete .*records.* to make it again") as error:
        Training(recipe, run, device="cpu").train(stage)
    assert str(run / file) in one_line(error)


def test_what_is_made_once_is_made_again_when_its_record_is_deleted(recipe, finished, run):
    cut(run / "latents.npz")
    (run / "records" / "latents.npz.json").unlink()
    Training(recipe, run, device="cpu").train("latents")
    assert np.array_equal(np.load(run / "latents.npz")["mean"], np.load(finished / "latents.npz")["mean"])


@pytest.mark.parametrize("damage", [cut, lambda path: path.write_bytes(b"x")], ids=["cut", "other"])
def test_cut_pictures_are_not_mapped(recipe, run, damage):
    """Reading beyond the end of a mapped file would end the process."""
    damage(run / "pictures.npy")
    with pytest.raises(ValueError, match="pictures.npy is damaged") as error:
        Training(recipe, run, device="cpu").open_pictures()
    one_line(error)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"settings": 1, "files": {}}', "\0", '{"settings": {}}'])
def test_a_damaged_record_is_an_error(recipe, run, text):
    (run / "records" / "latents.npz.json").write_text(text)
    with pytest.raises(ValueError, match=r"latents.npz.json") as error:
        Training(recipe, run, device="cpu").open_latents()
    one_line(error)


# ---- a full disk, and no memory


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on a file's size")
@pytest.mark.parametrize(
    "limit, stage, file",
    [
        (50_000, "pictures", "pictures.npy"),
        (100_000, "clip", "clip-mixed.pt"),
        (10_000, "latents", "latents.npz"),
    ],
)
def test_a_full_disk_is_told_in_one_line_and_leaves_nothing_half_written(recipe, run, limit, stage, file):
    import resource

    for path in run.rglob(f"{file.partition('.')[0]}.*"):
        path.unlink()
    if file == "pictures.npy":
        (run / "records" / "pictures.npy.json").unlink(missing_ok=True)
    before = sorted(run.rglob("*"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError, match=f"no room for .*{file}") as error:
            Training(recipe, run, device="cpu").train(stage)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    one_line(error)
    assert sorted(run.rglob("*")) == before
    Training(recipe, run, device="cpu").train(stage)


@pytest.mark.parametrize(
    "said",
    [
        "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried",
        "CUDA out of memory.",
    ],
)
def test_no_memory_is_told_as_such(recipe, run, monkeypatch, said):
    def failing(*_, **__):
        raise RuntimeError(said)

    monkeypatch.setattr(stages, "fit", failing)
    with pytest.raises(
        MemoryError, match="stage clip needs more memory than there is; give a smaller batch_size"
    ):
        Training(recipe, run, device="cpu").train("clip")


# ---- signals


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(recipe, finished, tmp_path, monkeypatch):
    """Ctrl-C in the middle of a step of CLIP's training, and of the rendering."""
    training = Training(recipe, tmp_path, device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr("minisd.training.data.render_many", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            training.train("pictures")
    assert not (tmp_path / "pictures.npy").exists()
    rates = []

    def interrupting(step, *rest):
        rates.append(step)
        if len(rates) == 8:  # in the fourth step: there are two rates, AdamW's and Muon's
            signal.raise_signal(signal.SIGINT)
        return learning_rate(step, *rest)

    training.train("pictures", "tokenizer")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "learning_rate", interrupting)
        with pytest.raises(KeyboardInterrupt):
            training.train("clip")
    training.train("clip")
    for name in ("clip-mixed.pt", "clip-twins.pt"):
        old, new = (torch.load(f / "checkpoints" / name, weights_only=True) for f in (finished, tmp_path))
        assert all(torch.equal(x, new["average"][key]) for key, x in old["average"].items())


RENDERING = """
import numpy as np
from minisd.scenes import render_many, sample

if __name__ == "__main__":
    scene = sample(np.random.default_rng(0))
    print("rendering", flush=True)
    render_many(100_000 * [scene], range(100_000), 256, workers=2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM])
def test_the_workers_that_render_end_with_their_parent(tmp_path, stop):
    """They hold its standard output too, so that the end of that is the end of all of them."""
    script = tmp_path / "rendering.py"
    script.write_text(RENDERING)
    words = [sys.executable, str(script)]
    with subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"rendering\n"
        time.sleep(1.5)
        parent.send_signal(stop)
        parent.communicate(timeout=15)
        assert parent.returncode == -stop


# ---- what the loop does to gradients and rates


def test_gradients_are_cut_to_the_norm_of_one(tmp_path):
    """Three gradients of norms 100, 1 and 10 weigh on AdamW's averages as 1, 1 and 1."""
    factors = [100.0, 1.0, 10.0]

    class Slope(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(1, 1, bias=False)
            nn.init.zeros_(self.net.weight)

        def forward(self, x):
            return self.net(x).mean()

    def slopes(rng, n):
        return (torch.full((n, 1), factors.pop(0)),)

    ours = train_toy(tmp_path, None, slopes, objective=Slope(), steps=3, warmup=0, learning_rate_peak=0.5)
    weight = nn.Parameter(torch.zeros(1, 1))
    theirs, average = torch.optim.AdamW([weight], lr=0.5), 0.0
    for step in range(3):
        theirs.param_groups[0]["lr"] = learning_rate(step, 3, 0.5, 0)
        weight.grad = torch.ones(1, 1)
        theirs.step()
        average = weight.item() if step == 0 else 0.999 * average + 0.001 * weight.item()
    assert ours.net.weight.item() == pytest.approx(average, rel=1e-5)


@pytest.mark.parametrize("steps, warmup, capped", [(8, 200, 4), (8, 4, 4), (8, 3, 3), (9, 200, 4), (1, 5, 0)])
def test_no_more_than_half_of_the_steps_warm_up(tmp_path, monkeypatch, steps, warmup, capped):
    asked = []
    monkeypatch.setattr(loop, "learning_rate", lambda *words: asked.append(words) or 0.01)
    train_toy(tmp_path, steps=steps, warmup=warmup)
    assert asked == [(step, steps, 0.01, capped) for step in range(steps)]


# ---- precisions, devices, processes


def scaling(interval=2):
    """An accelerator with the scaler of half-precision training, which doubles its factor every two steps."""
    accelerator = Accelerator(cpu=True)
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=interval)
    return accelerator


def test_the_scaler_of_half_precision_goes_on_where_it_was(tmp_path):
    straight = train_toy(tmp_path / "straight", accelerator=scaling())
    with contextlib.suppress(Killed):
        train_toy(tmp_path / "killed", stop=8, accelerator=scaling())
    assert read_checkpoint(tmp_path / "killed" / "toy.pt")["scaler"]["scale"] == 4.0 * 2**3
    again = train_toy(tmp_path / "killed", accelerator=scaling())
    states = [read_checkpoint(tmp_path / name / "toy.pt") for name in ("straight", "killed")]
    assert states[0]["scaler"] == states[1]["scaler"] and states[0]["scaler"]["scale"] == 4.0 * 2**4
    assert same_weights(again, straight)


IN_BFLOAT16 = """
import sys
from minisd.training.recipe import read_recipe
from minisd.training.stages import Training
Training(read_recipe(sys.argv[1]), sys.argv[2], device="cpu", dtype="bfloat16").train(*sys.argv[3:])
"""


def test_all_stages_train_in_bfloat16_and_are_opened_in_float32(recipe, tmp_path):
    words = [sys.executable, "-c", IN_BFLOAT16, str(RECIPE), str(tmp_path), *MADE]
    subprocess.run(words, env=ENVIRONMENT, check=True, capture_output=True)
    training = Training(recipe, tmp_path, device="cpu")
    training.train(*MADE)  # finished: what precision it was in is no matter
    for path in (tmp_path / "checkpoints").glob("*.pt"):
        assert torch.load(path, weights_only=True)["dtype"] == "bfloat16"
    weights = training.open_unet().state_dict().values()
    assert all(x.dtype == torch.float32 and x.isfinite().all() for x in weights)
    path = tmp_path / "checkpoints" / "clip-twins.pt"
    previous(path).replace(path)
    with pytest.raises(
        ValueError, match=r"clip-twins.pt was begun with dtype = bfloat16, now it is float32; go on"
    ):
        training.train("clip")


@pytest.mark.parametrize(
    "device, dtype, said",
    [
        ("tpu", "float32", "there is no device 'tpu'; choose from cpu, cuda, mps"),
        ("cpu", "float64", "there is no dtype 'float64'; choose from float32, bfloat16, float16"),
        ("cpu", "float16", "float16 is for training on a GPU; choose bfloat16 or float32"),
    ],
)
def test_a_device_or_a_precision_that_does_not_work_is_refused(device, dtype, said):
    with pytest.raises(ValueError, match=said):
        check_device(device, dtype)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_gpu_that_is_not_there_is_refused(monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=f"torch finds no device {device} on this machine; give cpu"):
        check_device(device, "float32")


def test_a_file_is_no_folder_to_train_in(recipe, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is a file; name a folder"):
        Training(recipe, tmp_path / "file", device="cpu")


IN_TWO_PROCESSES = """
import json, sys
from pathlib import Path
from accelerate import Accelerator
from test_training_faults import noise_batch, train_toy

drawn = []
def batch(rng, n):
    drawn.append(noise_batch(rng, n))
    return drawn[-1]

accelerator = Accelerator(cpu=True)
shared = sys.argv[2] == "shared"
objective = train_toy(Path(sys.argv[1]), None, batch, accelerator, shared=shared)
first = [x[0].tolist() for x in drawn]
Path(sys.argv[1], f"{accelerator.process_index}.json").write_text(json.dumps(first))
accelerator.end_training()
"""


def in_two_processes(*words):
    """Run a command in two processes that know of each other; what each of them said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    both = [
        subprocess.Popen(
            [sys.executable, *words],
            env={**ENVIRONMENT, **together, "RANK": rank, "LOCAL_RANK": rank},
            stdout=-1,
            stderr=-1,
        )
        for rank in "01"
    ]
    said = []
    for process in both:
        out, error = process.communicate(timeout=300)
        assert process.returncode == 0, error.decode()
        said.append(out.decode())
    return said


MUON_IN_TWO_PROCESSES = """
import torch
from minisd.training import muon

torch.distributed.init_process_group("gloo")
torch.manual_seed(0)
matrices = [torch.randn(shape) for shape in ((3, 8), (8, 3), (5, 5))]
wanted, orthogonal, computed = [muon.orthogonal(matrix) for matrix in matrices], muon.orthogonal, []
muon.orthogonal = lambda matrix: computed.append(tuple(matrix.shape)) or orthogonal(matrix)
assert all(map(torch.equal, muon.all_orthogonal(matrices), wanted))
print(computed)
torch.distributed.destroy_process_group()
"""


def test_two_processes_share_muons_work_and_find_what_one_finds():
    said = in_two_processes("-c", MUON_IN_TWO_PROCESSES)
    assert said == ["[(3, 8), (5, 5)]\n", "[(8, 3)]\n"]


def toys_in_two_processes(out, how):
    """Train the toy in two processes; what each was shown: two arrays (steps, examples, 6)."""
    in_two_processes("-c", IN_TWO_PROCESSES, str(out), how)
    return [np.array(json.loads((out / f"{i}.json").read_text()), np.float32) for i in range(2)]


def test_two_processes_draw_other_examples_and_average_their_gradients(tmp_path):
    """The weights are those that one process comes to with both processes' examples in its batches."""
    shares = toys_in_two_processes(tmp_path, "shared")
    assert shares[0].shape == shares[1].shape == (8, 2, 6)
    assert len(np.unique(np.concatenate(shares).reshape(-1, 6), axis=0)) == 32  # no example twice
    steps = iter(torch.from_numpy(np.concatenate(shares, axis=1)))
    alone = train_toy(tmp_path / "alone", None, lambda rng, n: (next(steps),))
    state = read_checkpoint(tmp_path / "toy.pt")
    assert state["processes"] == 2
    torch.testing.assert_close(state["average"]["module.weight"], alone.net.weight.data, rtol=1e-5, atol=1e-6)
    with contextlib.suppress(Killed):
        train_toy(tmp_path / "other", stop=5)
    path = tmp_path / "other" / "toy.pt"
    write_checkpoint({**read_checkpoint(path), "processes": 2}, path)
    with pytest.raises(ValueError, match="toy.pt was begun with processes = 2, now it is 1; go on as before"):
        train_toy(tmp_path / "other")


def test_two_processes_that_share_no_batch_come_to_the_weights_of_one(tmp_path, straight):
    """As CLIP's: both draw the batch that one process would draw, and all of it."""
    shares = toys_in_two_processes(tmp_path, "whole")
    assert shares[0].shape == (8, 4, 6) and np.array_equal(*shares)
    state = read_checkpoint(tmp_path / "toy.pt")
    assert state["processes"] == 2
    torch.testing.assert_close(state["average"]["module.weight"], straight.net.weight, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@pytest.mark.skipif(has_gpu(), reason="two processes on one GPU are another matter")
def test_two_processes_train_everything_with_one_command(recipe, finished, tmp_path):
    """No device is named: without a GPU they work on the CPU, together. CLIP is what one process makes."""
    words = "train", "all", "--config", str(RECIPE), "--out", str(tmp_path)
    said = in_two_processes("-m", "minisd", *words)
    assert said[0].count("the model") == 1 and said[1] == ""
    assert {path.name for path in (tmp_path / "model").iterdir()} >= {"unet", "vae", "text_encoder", "clip"}
    for path in (tmp_path / "checkpoints").glob("*.pt"):
        assert torch.load(path, weights_only=True)["processes"] == 2
    together, alone = (
        Training(recipe, out, device="cpu").open_clip().state_dict() for out in (tmp_path, finished)
    )
    for name, weights in alone.items():
        torch.testing.assert_close(together[name], weights, rtol=1e-3, atol=1e-4)


def test_of_all_stages_only_clip_shares_no_batch(recipe, tmp_path, monkeypatch):
    """Its loss tells each caption from all others of the batch: half of it would hold half of the others."""
    shared, fit = {}, stages.fit

    def noting(objective, batch, path, *words, **options):
        shared[path.stem] = options["shared"]
        return fit(objective, batch, path, *words, **options)

    monkeypatch.setattr(stages, "fit", noting)
    Training(recipe, tmp_path, device="cpu").train(*MADE)
    assert {name for name, how in shared.items() if not how} == {"clip-mixed", "clip-twins"}
    assert {name for name, how in shared.items() if how} == {"vae-corners", "vae-whole", "decoder", "unet"}


def test_a_batch_that_is_not_shared_need_not_be_divisible(tmp_path, straight, monkeypatch):
    monkeypatch.setattr(Accelerator, "num_processes", 3)
    assert same_weights(train_toy(tmp_path, shared=False), straight)


def test_a_batch_that_can_not_be_shared_out_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Accelerator, "num_processes", 3)
    with pytest.raises(ValueError, match="toy: a batch of 4 can't be shared by 3 processes"):
        train_toy(tmp_path)

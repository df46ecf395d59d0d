"""Files that are almost right, some for every reader; and what the long runs of fuzz.py have found.

`make fuzz` tries a thousand times as many, see benchmarks/fuzz.md.
"""

import dataclasses
import io
import json
import re

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from fuzz import Fuzzer, fault
from fuzz_mutate import mutated
from fuzz_targets import GROUPS, all_targets
from minisd.training.recipe import TINY_RECIPE

ESCAPE, LINES, HALF, LONG = "\x1b[31m", "a\nb\u2028c", "\ud800", "x" * 5000
VECTOR = torch.ones(3)
BUILD = {
    "checkpoint in one file",
    "U-Net, built",
    "VAE, built",
    "text encoder, built",
}  # not a millisecond's work
PROJ = "lora_unet_mid_block_attentions_0_proj_in"


@pytest.fixture(scope="module")
def fuzzers(tmp_path_factory):
    """A fuzzer for each target, by its name."""
    folder = tmp_path_factory.mktemp("fuzz")
    return {target.name: Fuzzer(target, folder, folder / "kept") for target in all_targets(folder)}


def as_json(**values):
    return json.dumps(values).encode()


def of_floats(number):
    made = io.BytesIO()
    Image.new("F", (4, 4), number).save(made, "TIFF")
    return made.getvalue()


def pickled(name):
    made = io.BytesIO()
    torch.save({name: VECTOR}, made)
    return made.getvalue()


def in_recipe(line):
    return TINY_RECIPE.read_bytes().replace(b"[vae.config]\n", b"[vae.config]\n" + line.encode() + b"\n")


def lora(name, sides, dtype=torch.float32):
    down, up = torch.ones(2, *sides[1:]), torch.ones(sides[0], 2)
    return save({f"{name}.lora_down.weight": down.to(dtype), f"{name}.lora_up.weight": up.to(dtype)})


FOUND = [
    ("safetensors", save({ESCAPE: VECTOR}), r"'\\x1b\[31m'"),
    ("safetensors", save({LINES: VECTOR}), r"'a\\nb\\u2028c'"),
    ("safetensors", save({LONG: VECTOR}), r"xxx\.\.\.; give a whole checkpoint"),
    ("safetensors", save({ESCAPE: VECTOR}).replace(b"[0,12]", b"[0,13]"), "not a whole safetensors file"),
    ("zip pickles", pickled(LINES), r"'a\\nb\\u2028c'"),
    ("pickles before torch 1.6", b"\x80\x02c" + ESCAPE.encode() + b"\nx\n.", "not a whole file|asks for"),
    ("index of shards", as_json(weight_map={"a": HALF}), r"names the file '\\ud800'"),
    ("index of shards", as_json(weight_map={"a": LONG}), "names the file 'xxx"),
    ("index of shards", as_json(weight_map={LINES: "model.safetensors"}), r"lacks 'a\\nb\\u2028c'"),
    ("config of the U-Net", as_json(**{LINES: 1}), r"the config has 'a\\nb\\u2028c'=1"),
    ("config of the text encoder", as_json(**{HALF: 1}), r"the config has '\\ud800'=1"),
    ("config of the VAE", as_json(**{LONG: 1}), "the config has 'xxx"),
    ("scheduler", as_json(trained_betas=LINES), r"got 'a\\nb\\u2028c'"),
    ("scheduler", as_json(trained_betas=[1]), "a noise schedule's betas"),
    ("model_index.json", as_json(_guidance_scale=LINES), r"got 'a\\nb\\u2028c'"),
    ("merges.txt", b"#version: 0.2\nx" + LONG.encode() + b" y\n", "Merge 1, 'xxx"),
    ("tokenizer_config.json", as_json(tokenizer_class=LINES), r"holds a 'a\\nb\\u2028c'"),
    ("prompts", (HALF + LONG).encode("utf-8", "surrogatepass"), "holds half a character"),
    ("LoRA", lora(f"unet.{ESCAPE}", [4, 4]), r"it changes 'unet_\\x1b\[31m' by"),
    ("LoRA", lora(PROJ, [4, 4]), r"x.safetensors was made for another model"),
    ("LoRA", lora(f"unet.{LINES}", [4, 4], torch.uint8), r"with 'unet\.a\\nb"),
    ("LoRA", save({f"x{LONG}.weight": VECTOR}), "is no whole LoRA, with 'xxx"),
    ("adapter_config.json", as_json(peft_type=LINES), r"of the kind 'a\\nb\\u2028c'"),
    ("adapter_config.json", as_json(alpha_pattern={LINES: "x"}), r"sets 'a\\nb\\u2028c' to 'x'"),
    ("pictures but PNG", of_floats(float("nan")), "negative or no numbers"),
    ("recipes", in_recipe('"a\\nb" = 1'), r"the config has 'a\\nb'=1"),
    ("recipes", in_recipe(f"x = 0x{'f' * 5000}"), "vae.config"),
]


@pytest.mark.parametrize("name, data, told", FOUND, ids=lambda value: value if isinstance(value, str) else "")
def test_what_fuzzing_found_is_refused_in_one_line(fuzzers, name, data, told):
    fuzzer = fuzzers[name]
    fuzzer.path.write_bytes(data)
    with pytest.raises((ValueError, OSError)) as error:
        for reader in fuzzer.target.readers:
            reader(fuzzer.path)
    assert fault(error.value, fuzzer.named) is None
    assert re.search(told, str(error.value))


@pytest.mark.parametrize(
    "name, before, after",
    [
        ("config of the U-Net", '{"act_fn": ', "}"),
        ("config of the VAE", '{"scaling_factor": [', ", 1]}"),
        ("config of the text encoder", '{"hidden_size": [DEEP, ', "]}"),
        ("scheduler", '{"trained_betas": ', "}"),
        ("model_index.json", '{"_guidance_scale": ', "}"),
        ("tokenizer_config.json", '{"tokenizer_class": ', "}"),
        ("tokenizer_config.json", '{"model_max_length": ', "}"),
        ("added_tokens.json", '{"<dog>": ', "}"),
        ("tokenizer.json", '{"model": {"type": ', "}}"),
        ("adapter_config.json", '{"peft_type": ', "}"),
        ("adapter_config.json", '{"alpha_pattern": ', "}"),
        ("answers of the hub", '{"sha": ', "}"),
        ("answers of the hub", f'{{"sha": "{"0" * 40}", "siblings": [{{"rfilename": ', "}]}"),
        ("index of shards", '{"weight_map": {"a": ', "}}"),
    ],
)
def test_what_python_reads_and_can_not_show_for_its_depth_is_refused(fuzzers, name, before, after):
    """Brackets in brackets, at the edge of what the JSON reader takes, wherever the stack now is."""
    for depth in range(850, 990):
        deep = "[" * depth + "]" * depth
        fuzzers[name].give(f"{before}{deep}{after}".replace("DEEP", deep).encode())
    assert fuzzers[name].found.failures == {}


@pytest.mark.parametrize("group", GROUPS)
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(chance=st.randoms(use_true_random=False), which=st.integers(0, 30))
def test_almost_right_files_are_taken_or_refused_in_one_line(fuzzers, group, chance, which):
    own = [one for one in fuzzers.values() if one.target.group == group and one.target.name not in BUILD]
    fuzzer = own[which % len(own)]
    fuzzer.give(mutated(fuzzer.target.change, chance.choice(fuzzer.target.seeds), chance))
    assert fuzzer.found.failures == {}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_good_files_are_taken(fuzzers):
    """All that the inputs are made from, but for the networks that are built and have no weights."""
    for fuzzer in fuzzers.values():
        for data in fuzzer.target.seeds:
            fuzzer.path.write_bytes(data)
            if not fuzzer.target.name.endswith(", built"):
                fuzzer.target.readers[0](fuzzer.path)


def test_a_fault_is_seen(fuzzers):
    """What the fuzzer calls one: another exception, a second line, too long a line, no name."""

    def told(error):
        with pytest.raises(type(error)) as caught:
            raise error
        return fault(caught.value, "x.json")

    assert told(ValueError("x.json is empty")) is None and told(FileNotFoundError("x.json")) is None
    assert told(KeyError("x.json"))[0].startswith("KeyError at test_fuzz.py")
    assert told(ValueError("x.json\nis empty"))[0].startswith("not one printable line")
    assert told(ValueError(f"x.json{LONG}"))[0].startswith("more than")
    assert told(ValueError("y.json is empty"))[0].startswith("the file is not named")


def test_an_input_counts_once_and_its_failure_is_kept(fuzzers, tmp_path):
    target = dataclasses.replace(fuzzers["prompts"].target, readers=(lambda path: {}[path.name],))
    fuzzer = Fuzzer(target, tmp_path, tmp_path / "kept")
    assert fuzzer.give(b"one") and not fuzzer.give(b"one") and fuzzer.give(b"two")
    assert fuzzer.found.inputs == 2 and fuzzer.found.taken == 0
    (example,) = fuzzer.found.failures.values()
    assert (tmp_path / "kept" / "prompts-0-prompt").read_bytes() == b"one" and "prompts-0-prompt" in example

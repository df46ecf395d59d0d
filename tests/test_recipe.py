"""Recipes: all of one is checked before anything is trained, and what is wrong is refused in one line."""

import os
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minisd.training.recipe import (
    BOOK_RECIPE,
    POCKET_RECIPE,
    STAGES,
    TINY_RECIPE,
    Phase,
    Recipe,
    read_recipe,
)

SMALL = Path(__file__).with_name("small.toml")
TEXT = TINY_RECIPE.read_text(encoding="utf-8")
ASSIGNMENT = re.compile(r"^(\w+) = .*$", re.MULTILINE)
SECTION = re.compile(r"^\[([\w.]+)\].*$", re.MULTILINE)


def refused(tmp_path, text):
    """The one line with which a recipe is refused; None if it is read."""
    path = tmp_path / "recipe.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        read_recipe(path)
    except ValueError as error:
        said = str(error)
        assert "\n" not in said and len(said) < 600 and str(path) in said, said
        return said.replace(f"{path}: ", "").replace(f"{path} ", "")
    return None


def changed(**values):
    """tiny.toml with other values: changed(unet__steps=5)."""
    text = TEXT
    for name, value in values.items():
        *section, key = name.split("__")
        start = re.search(rf"^\[{re.escape('.'.join(section))}\]", text, re.MULTILINE).end() if section else 0
        line = re.compile(rf"^{key} = .*$", re.MULTILINE)
        found = line.search(text, start)
        text = text[: found.start()] + f"{key} = {value}" + text[found.end() :]
    return text


# ---- what is read


def test_the_committed_recipes_are_read():
    tiny, small = read_recipe(), read_recipe(SMALL)
    assert isinstance(tiny, Recipe) and tiny.path == TINY_RECIPE
    assert (tiny.seed, tiny.pictures, tiny.size, tiny.guidance_scale) == (0, 24_000, 128, 7.5)
    assert (tiny.vae.whole.crop, tiny.clip.vision_config.image_size) == (128, 32)
    assert tiny.unet.config.block_out_channels == (56, 112) and tiny.downsampling == 8
    assert (small.size, small.downsampling, small.unet.config.sample_size) == (48, 4, 12)


def test_the_two_forms_of_chapter_14_are_smaller_than_tiny():
    tiny, pocket, book = read_recipe(), read_recipe(POCKET_RECIPE), read_recipe(BOOK_RECIPE)
    assert book.unet.config == tiny.unet.config and book.vae.config == tiny.vae.config
    assert book.clip.text_config == tiny.clip.text_config and book.size == tiny.size > pocket.size
    for recipe in (pocket, book):
        assert recipe.unet.snapshots[0] == 0 and recipe.unet.snapshots[-1] == recipe.unet.steps
        assert recipe.unet.steps < tiny.unet.steps and recipe.unet.muon_peak > 0
        phases = (recipe.clip.mixed, recipe.clip.twins, recipe.vae.corners, recipe.vae.whole, recipe.decoder)
        for phase in (*phases, recipe.unet):  # at the end the average has forgotten its first weights
            assert phase.ema_decay**phase.steps < 0.35, phase
    for phase in (book.vae.corners, book.vae.whole, book.decoder, book.unet):
        assert phase.batch_size % 2 == 0  # two processes share it


def test_a_recipe_can_be_named_by_a_text():
    assert read_recipe(str(SMALL)) == read_recipe(SMALL)


def test_a_recipe_does_not_change():
    with pytest.raises(FrozenInstanceError):
        read_recipe().seed = 1


def test_what_is_left_out_has_its_default(tmp_path):
    text = re.sub(r"^(warmup|ema_decay|muon_peak|size = 128).*$", "", TEXT, flags=re.MULTILINE)
    (tmp_path / "recipe.toml").write_text(text)
    recipe = read_recipe(tmp_path / "recipe.toml")
    mixed = recipe.clip.mixed
    assert (mixed.warmup, mixed.ema_decay, mixed.save_every, recipe.size) == (200, 0.999, 250, 128)
    assert mixed.muon_peak == 0 and mixed.snapshots == ()


def test_settings_are_those_of_the_sections_asked_for_without_how_often_it_saves():
    found = read_recipe().settings("vae.corners", "tokenizer")
    assert found["seed"] == 0 and found["vae.corners.crop"] == 64 and found["tokenizer.size"] == 800
    assert {key.partition(".")[0] for key in found} == {"seed", "pictures", "size", "tokenizer", "vae"}
    assert not any("whole" in key or "save_every" in key or "snapshots" in key for key in found)


def test_each_phase_of_clip_has_settings_of_its_own():
    tiny = read_recipe()
    mixed, twins = tiny.settings("clip.mixed"), tiny.settings("clip.twins")
    for name, phase, found in (("mixed", tiny.clip.mixed, mixed), ("twins", tiny.clip.twins, twins)):
        assert found[f"clip.{name}.steps"] == phase.steps
        assert found[f"clip.{name}.muon_peak"] == phase.muon_peak > 0
    assert not any("twins" in key or "config" in key for key in mixed)
    assert not any("mixed" in key or "config" in key for key in twins)
    assert mixed.keys() | twins.keys() < tiny.settings("clip").keys()


def test_reading_a_recipe_needs_no_torch():
    words = "import minisd.training.recipe as r, sys; r.read_recipe(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_section_made_by_hand_is_checked_too():
    with pytest.raises(ValueError, match="^steps is 0; give a whole number from 1 to"):
        Phase(steps=0, batch_size=1, learning_rate_peak=1e-3)


def test_snapshots_are_steps_from_before_the_first_to_the_last(tmp_path):
    (tmp_path / "recipe.toml").write_text(TEXT.replace("[unet]", "[unet]\nsnapshots = [0, 50, 5200]"))
    recipe = read_recipe(tmp_path / "recipe.toml")
    assert recipe.unet.snapshots == (0, 50, 5200)
    assert recipe.settings("unet") == read_recipe().settings("unet")


@pytest.mark.parametrize(
    "value, said",
    [
        ("50", "snapshots is 50; give a list of steps, as in [100, 200]"),
        ("{}", "snapshots is a section; give a list"),
        ("[50, 7001]", "a step of snapshots is 7001; give a whole number from 0 to 7000"),
        ("[-1]", "a step of snapshots is -1; give"),
        ("[50.0]", "a step of snapshots is 50.0; give"),
        ("[true]", "a step of snapshots is True; give"),
        ("[[50]]", "a step of snapshots is a list; give"),
        ("[50, 50]", "snapshots is not in order; give each step once, the smallest first"),
        ("[60, 50]", "snapshots is not in order"),
    ],
)
def test_snapshots_that_are_no_steps_are_refused(tmp_path, value, said):
    text = TEXT.replace("[unet]", f"[unet]\nsnapshots = {value}")
    assert refused(tmp_path, text).startswith(f"unet.{said}")


# ---- what is refused, and how


@pytest.mark.parametrize(
    "values, said",
    [
        ({"seed": -1}, "seed is -1; give a whole number from 0 to 2000000000"),
        ({"seed": "true"}, "seed is True; give a whole number"),
        ({"seed": "0.0"}, "seed is 0.0; give a whole number"),
        ({"pictures": 0}, "pictures is 0; give a whole number from 1"),
        ({"pictures": '"many"'}, "pictures is 'many'; give"),
        ({"guidance_scale": "nan"}, "guidance_scale is nan; give a number from 0.0 to 1000.0"),
        ({"guidance_scale": "-inf"}, "guidance_scale is -inf; give"),
        ({"tokenizer__size": 513}, "tokenizer.size is 513; give a whole number from 514"),
        (
            {"clip__mixed__learning_rate_peak": 0},
            "clip.mixed.learning_rate_peak is 0; give a number from 1e-12",
        ),
        ({"clip__mixed__ema_decay": "1.0"}, "clip.mixed.ema_decay is 1.0; give a number"),
        ({"clip__mixed__muon_peak": -1}, "clip.mixed.muon_peak is -1; give a number from 0.0 to 1.0"),
        ({"clip__twins__muon_peak": "nan"}, "clip.twins.muon_peak is nan; give a number from 0.0 to 1.0"),
        ({"clip__twins__steps": "[1500]"}, "clip.twins.steps is a list; give"),
        ({"clip__twins__batch_size": "{}"}, "clip.twins.batch_size is a section; give"),
        ({"vae__whole__crop": "0x" + 5000 * "f"}, "vae.whole.crop is a number of more than 20 digits; give"),
        ({"unet__caption_dropout": 1.5}, "unet.caption_dropout is 1.5; give a number from 0.0 to 1.0"),
        ({"decoder__edge_weight": "1979-05-27"}, "decoder.edge_weight is datetime.date(1979"),
        (
            {"clip__text_config__num_hidden_layers": 10**9},
            "clip.text_config: text encoder: num_hidden_layers must be",
        ),
        ({"unet__config__block_out_channels": "[16384, 16384]"}, "unet.config describes about 1e+11 weights"),
        (
            {"clip__vision_config__hidden_size": 16384},
            "clip.vision_config describes about 3e+09 weights; give",
        ),
        ({"unet__config__norm_num_groups": 5}, "unet.config: U-Net: 5 groups"),
        ({"clip__text_config__num_attention_heads": 3}, "clip.text_config: text encoder: 3 attention heads"),
    ],
)
def test_a_bad_value_is_refused_by_its_name(tmp_path, values, said):
    assert refused(tmp_path, changed(**values)).startswith(said)


@pytest.mark.parametrize(
    "values, said",
    [
        ({"size": 129}, "size is 129; it must be a multiple of 8"),
        ({"size": 64}, "vae.whole.crop is 128; the pictures' size is 64"),
        ({"size": 144}, "size is 144; it must be a multiple of 32 (clip.vision_config.image_size: pictures"),
        ({"size": 256}, "vae.config.sample_size is 128; it must be the pictures' size, 256"),
        ({"clip__vision_config__image_size": 48}, "size is 128; it must be a multiple of 48 (clip.vision"),
        ({"clip__vision_config__image_size": 256}, "size is 128; it must be a multiple of 256 (clip.vision"),
        ({"vae__corners__crop": 60}, "vae.corners.crop is 60; it must be a multiple of 8"),
        ({"vae__whole__crop": 136}, "vae.whole.crop is 136; the pictures' size is 128"),
        (
            {"vae__config__sample_size": 64},
            "vae.config.sample_size is 64; it must be the pictures' size, 128",
        ),
        ({"vae__config__in_channels": 1}, "vae.config.in_channels is 1; it must be the number of colours, 3"),
        (
            {"clip__vision_config__patch_size": 12},
            "clip.vision_config.image_size is 32; it must be a multiple",
        ),
        ({"clip__vision_config__num_channels": 4}, "clip.vision_config.num_channels is 4; it must be"),
        (
            {"clip__text_config__max_position_embeddings": 70},
            "clip.text_config.max_position_embeddings is 70; it",
        ),
        (
            {"clip__text_config__hidden_size": 64},
            "unet.config.cross_attention_dim is 128; it must be clip.text_config.",
        ),
        (
            {"unet__config__in_channels": 8},
            "unet.config.in_channels is 8; it must be vae.config.latent_channels",
        ),
        ({"unet__config__out_channels": 8}, "unet.config.out_channels is 8; it must be vae.config.latent"),
        ({"unet__config__sample_size": 8}, "unet.config.sample_size is 8; it must be the latents' side"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(tmp_path, values, said):
    """Each of them would be trained, some to the end, and then could not paint."""
    assert refused(tmp_path, changed(**values)).startswith(said)


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "seed, pictures, guidance_scale (and 5 more) is missing; compare it with"),
        (TEXT.replace("snr_gamma = 5.0", ""), "unet.snr_gamma is missing"),
        (TEXT.replace("snr_gamma", "snr_gama"), "unet.snr_gama is not known here; the keys are steps"),
        (TEXT.replace("[decoder]", "[decoders]"), "decoders is not known here"),
        (TEXT.replace("seed = 0", 'seed = 0\npath = "x"'), "path is not known here"),
        (
            TEXT.replace("[clip.text_config]", "[clip.text_config]\nvocab_size = 5"),
            "clip.text_config.vocab_size follows from",
        ),
        (TEXT.replace("seed = 0", 'seed = 0\n"a\\nb" = 1'), "'a\\nb' is not known here"),
        (
            TEXT.replace("seed = 0", "seed = 0\n" + "".join(f"k{i} = 1\n" for i in range(2_000))),
            "k0, k1, k2 (and",
        ),
        ("".join(f"k{i} = 1\n" for i in range(20_000)), "has 208890 bytes; a recipe has 32768 at most"),
        (TEXT.replace("seed = 0", "seed = " + 5000 * "9"), "is not a TOML file"),
        (TEXT + TEXT, "is not a TOML file"),
        (b"\xff\xfe", "is not a TOML file"),
        (b"\x00", "is not a TOML file"),
        ("seed = ", "is not a TOML file"),
        ("x = " + 20_000 * "[", "is not a TOML file"),
        ("x = " + 300 * "[" + 300 * "]", "x is not known here"),
        ("a." * 5_000 + "b = 1", "a is not known here"),
        ("# " + 2**15 * "x", "has 32770 bytes; a recipe has 32768 at most"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text, said):
    assert refused(tmp_path, text).startswith(said)


def test_a_recipe_that_is_not_there_is_told_as_such(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(
            FileNotFoundError, match=f"there is no recipe {re.escape(str(path))}; leave --config"
        ):
            read_recipe(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "recipe.toml")
    with pytest.raises(FileNotFoundError, match="there is no recipe"):
        read_recipe(tmp_path / "recipe.toml")


# ---- mutated recipes: ValueError, or a recipe that fits

HOSTILE = [
    *(
        "true",
        "-1",
        "0",
        "1_000_000_000",
        "99999999999999999999",
        "0x" + 2000 * "f",
        "1.5",
        "nan",
        "inf",
        "-inf",
    ),
    *(
        "1e308",
        "-0.0",
        '""',
        '"text"',
        '"\\u0000"',
        "[]",
        "[[]]",
        "[1, [2]]",
        '["DownBlock2D"]',
        "[0, 0]",
        "[-8, 8]",
    ),
    *(
        "{}",
        "{a = 1}",
        "1979-05-27",
        "1979-05-27T07:32:00Z",
        "[16384, 16384]",
        100 * "[" + 100 * "]",
        "[nan]",
    ),
]


def test_every_value_replaced_by_every_hostile_one(tmp_path):
    lines = list(ASSIGNMENT.finditer(TEXT))
    assert len(lines) * len(HOSTILE) > 2000
    read = []
    for line in lines:
        for value in HOSTILE:
            text = TEXT[: line.start()] + f"{line[1]} = {value}" + TEXT[line.end() :]
            if refused(tmp_path, text) is None:
                read.append((line[1], value))
    harmless = set(
        """seed guidance_scale warmup ema_decay muon_peak kl_weight squared_weight edge_weight snr_gamma
        caption_dropout layer_norm_eps norm_eps intermediate_size projection_dim flip_sin_to_cos
        freq_shift""".split()
    )
    assert {name for name, _ in read} <= harmless, read


def test_every_section_replaced_or_left_out(tmp_path):
    for section in SECTION.finditer(TEXT):
        end = SECTION.search(TEXT, section.end())
        without = TEXT[: section.start()] + (TEXT[end.start() :] if end else "")
        assert refused(tmp_path, without) is not None, section[1]
        for value in HOSTILE:
            assert refused(tmp_path, f"{section[1]} = {value}\n{without}") is not None, (section[1], value)


def test_every_key_left_out_or_misspelt_is_refused_or_has_a_default(tmp_path):
    read = set()
    for line in ASSIGNMENT.finditer(TEXT):
        without = TEXT[: line.start()] + TEXT[line.end() :]
        if refused(tmp_path, without) is None:
            read.add(line[1])
    assert not read & {"seed", "steps", "batch_size", "learning_rate_peak", "crop", "pictures", "captions"}


values = st.recursive(
    st.one_of(
        st.integers().map(str),
        st.floats().map(repr),
        st.booleans().map(lambda x: str(x).lower()),
        st.text(st.characters(codec="ascii", exclude_characters='"\\', exclude_categories=("Cc",))).map(
            '"{}"'.format
        ),
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda found: f"[{', '.join(found)}]"),
    max_leaves=6,
)


@given(st.lists(st.tuples(st.integers(0, len(ASSIGNMENT.findall(TEXT)) - 1), values), min_size=1, max_size=4))
@settings(max_examples=400)
def test_any_values_are_refused_in_one_line_or_read(tmp_path_factory, mutations):
    lines = list(ASSIGNMENT.finditer(TEXT))
    text = TEXT
    for place, value in sorted(mutations, reverse=True):
        text = text[: lines[place].start()] + f"{lines[place][1]} = {value}" + text[lines[place].end() :]
    refused(tmp_path_factory.getbasetemp(), text)


@given(st.binary(max_size=200), st.integers(0, len(TEXT)))
@settings(max_examples=300)
def test_any_bytes_in_a_recipe_are_refused_in_one_line_or_read(tmp_path_factory, found, place):
    whole = TEXT.encode()
    refused(tmp_path_factory.getbasetemp(), whole[:place] + found + whole[place + len(found) :])


def test_what_the_command_takes_are_lists_of_stages():
    assert list(STAGES) == ["tokenizer", "clip", "vae", "unet", "all"]
    assert [stage for word in ("tokenizer", "clip", "vae", "unet") for stage in STAGES[word]].count(
        "export"
    ) == 1
    assert set().union(*STAGES.values()) == set(STAGES["all"])

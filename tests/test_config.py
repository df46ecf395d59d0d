"""Configs: read as diffusers and transformers mean them, and every bad one refused in one line."""

import copy
import dataclasses
import json
import random

import diffusers
import pytest
import torch
import transformers

from minisd import SD15
from minisd.config import (
    LARGEST_SEED,
    CLIPConfig,
    Config,
    ImageConfig,
    TextConfig,
    TowerConfig,
    UNetConfig,
    VAEConfig,
)
from minisd.models import TINY, load
from minisd.schedule import schedule_of

KINDS = {"unet": UNetConfig, "vae": VAEConfig, "text_encoder": TextConfig}


@pytest.mark.parametrize("part", KINDS)
def test_a_config_comes_back_from_its_dictionary(part):
    for source in (SD15[part], json.loads((TINY / part / "config.json").read_text())):
        config = KINDS[part].from_dict(source)
        assert KINDS[part].from_dict(config.to_dict()) == config == KINDS[part].from_dict(config)
        assert json.loads(json.dumps(config.to_dict())) == config.to_dict()
        for key, value in config.to_dict().items():
            assert source.get(key, value) == value


def test_a_config_is_frozen():
    config = UNetConfig.from_dict(SD15["unet"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.sample_size = 8


# ---- defaults: those of the reference implementations


def same_defaults(config: Config, theirs: dict, but: set[str] = frozenset()):
    own = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    for key in own.keys() - but:
        value = theirs[key]
        assert own[key] == (tuple(value) if isinstance(value, list) else value), key


def test_the_unets_defaults_are_diffusers():
    theirs = {**diffusers.UNet2DConditionModel(block_out_channels=(32,) * 4).config}
    theirs["block_out_channels"] = (320, 640, 1280, 1280)
    same_defaults(UNetConfig(), theirs, {"sample_size"})  # diffusers' is None
    assert UNetConfig().sample_size == 64  # Stable Diffusion's


def test_the_vaes_defaults_are_diffusers():
    same_defaults(VAEConfig(), dict(diffusers.AutoencoderKL().config))


@pytest.mark.parametrize(
    "ours, theirs", [(TextConfig, transformers.CLIPTextConfig), (ImageConfig, transformers.CLIPVisionConfig)]
)
def test_clips_defaults_are_transformers(ours, theirs):
    same_defaults(ours(), theirs().to_dict(), {"bos_token_id", "eos_token_id", "pad_token_id"})


# ---- what is ignored since it changes nothing


HARMLESS = [
    ("unet", {"decay": 0.9999, "optimization_step": 1000, "use_ema_warmup": False, "update_after_step": 0}),
    ("unet", {"inv_gamma": 1.0, "power": 0.667, "min_decay": 0.0}),
    ("unet", {"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.6.0", "_name_or_path": "x"}),
    ("unet", {"transformer_layers_per_block": [1, 1, 1, 1], "only_cross_attention": [False] * 4}),
    ("unet", {"upcast_attention": True, "dual_cross_attention": False, "num_class_embeds": None}),
    ("unet", {"layers_per_block": [2, 2, 2, 2], "cross_attention_dim": [768] * 4, "dropout": 0}),
    ("unet", {"attention_head_dim": [8, 8, 8, 8], "mid_block_scale_factor": 1.0, "act_fn": "swish"}),
    ("unet", {"time_cond_proj_dim": None, "use_linear_projection": False, "encoder_hid_dim": None}),
    ("vae", {"force_upcast": True, "latents_mean": None, "shift_factor": None, "decay": 0.99}),
    ("vae", {"mid_block_add_attention": True, "use_quant_conv": True, "sample_size": 256}),
    ("text_encoder", transformers.CLIPTextConfig(**SD15["text_encoder"]).to_dict()),
    ("text_encoder", {"top_k": 50, "pruned_heads": {}, "length_penalty": 1.0, "is_decoder": False}),
    ("text_encoder", {"eos_token_id": [49407], "pad_token_id": None, "dtype": "float16"}),
    ("text_encoder", {"architectures": ["CLIPTextModelWithProjection"], "transformers_version": "4.21.0"}),
]


@pytest.mark.parametrize("part, more", HARMLESS)
def test_what_changes_nothing_is_ignored(part, more):
    read, plain = (KINDS[part].from_dict(SD15[part] | change) for change in (more, {}))
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    change = ids if part == "text_encoder" else {"attention_head_dim": 8} if part == "unet" else {}
    same = {"sample_size": 512} if part == "vae" else {}
    assert dataclasses.replace(read, **change, **same) == dataclasses.replace(plain, **change)


# ---- what is refused


REFUSED = [
    ("unet", {"use_linear_projection": True}, "use_linear_projection=True, which minisd does not know"),
    ("unet", {"time_cond_proj_dim": 256}, "time_cond_proj_dim=256, which minisd does not know"),
    ("unet", {"addition_embed_type": "text_time"}, "addition_embed_type"),
    ("unet", {"transformer_layers_per_block": [1, 2, 10]}, "minisd builds only 1"),
    ("unet", {"flip_sin_to_cos": False}, "flip_sin_to_cos=False, but minisd builds only True"),
    ("unet", {"freq_shift": 1}, "freq_shift=1"),
    ("unet", {"mid_block_scale_factor": 2}, "mid_block_scale_factor=2, but minisd builds only 1 or 1.0"),
    ("unet", {"resnet_out_scale_factor": 2.0}, "resnet_out_scale_factor=2.0"),
    ("unet", {"dropout": 1.0}, "dropout=1.0"),
    ("unet", {"dropout": 1}, "dropout=1,"),
    ("unet", {"freq_shift": False}, "freq_shift=False"),
    ("unet", {"act_fn": ["silu"]}, None),
    ("unet", {"_class_name": "ControlNetModel"}, "of a 'ControlNetModel', expected UNet2DConditionModel"),
    ("unet", {"block_out_channels": [320, 640]}, "down_block_types must be 2 out of"),
    ("unet", {"block_out_channels": []}, "a list of 1 to 8"),
    ("unet", {"block_out_channels": [320, 640, 1280, 1281]}, "32 groups .* can't share 1281 channels evenly"),
    ("unet", {"block_out_channels": [320] * 9}, "a list of 1 to 8"),
    ("unet", {"down_block_types": ["AttnDownBlock2D"] * 4}, "down_block_types must be 4 out of"),
    ("unet", {"attention_head_dim": 7}, "7 attention heads can't share a width of 320 evenly"),
    ("unet", {"attention_head_dim": [8, 8]}, None),
    ("unet", {"attention_head_dim": [5, 10, 20, 20, 20]}, "5 numbers of heads for 4 levels"),
    (
        "unet",
        {"norm_num_groups": 3, "block_out_channels": [3, 3, 3, 3], "attention_head_dim": 1},
        "must be even",
    ),
    (
        "unet",
        {"layers_per_block": 10**9},
        "layers_per_block must be a whole number from 1 to 32, got 1000000000",
    ),
    ("unet", {"layers_per_block": [1, 2, 2, 2]}, "layers_per_block must be a whole number"),
    ("unet", {"cross_attention_dim": "768"}, "must be a whole number from 1 to 16384, got '768'"),
    ("unet", {"norm_eps": float("nan")}, "norm_eps must be a number above 0 and at most 1e.06, got nan"),
    ("unet", {"norm_eps": 0}, "norm_eps must be a number above 0"),
    ("unet", {"in_channels": True}, "in_channels must be a whole number"),
    ("vae", {"block_out_channels": [128, 256]}, "down_block_types must be 2 times 'DownEncoderBlock2D'"),
    (
        "vae",
        {"scaling_factor": float("nan")},
        "scaling_factor must be a number above 0 and at most 1e.06, got nan",
    ),
    ("vae", {"scaling_factor": float("inf")}, "scaling_factor must be a number above 0"),
    ("vae", {"scaling_factor": -0.18}, "scaling_factor must be a number above 0"),
    ("vae", {"shift_factor": 0.1159}, "shift_factor=0.1159, which minisd does not know"),
    ("vae", {"use_quant_conv": False}, "use_quant_conv=False, but minisd builds only True"),
    ("vae", {"_class_name": "AutoencoderTiny"}, "of a 'AutoencoderTiny', expected AutoencoderKL"),
    ("vae", {"norm_num_groups": 48}, "48 groups .* can't share 128 channels evenly"),
    ("text_encoder", {"hidden_act": "relu"}, "hidden_act must be one of quick_gelu, gelu, got 'relu'"),
    ("text_encoder", {"num_attention_heads": 7}, "7 attention heads can't share a width of 768 evenly"),
    ("text_encoder", {"vocab_size": 2**31}, "vocab_size must be a whole number from 1 to 1048576"),
    ("text_encoder", {"num_hidden_layers": 0}, "num_hidden_layers must be a whole number from 1 to 64"),
    ("text_encoder", {"layer_norm_eps": "1e-5"}, "layer_norm_eps must be a number above 0"),
    ("text_encoder", {"new_key": {"a": 1}}, "new_key={'a': 1}, which minisd does not know"),
]


@pytest.mark.parametrize("part, change, words", [row for row in REFUSED if row[2]], ids=str)
def test_what_we_do_not_build_is_refused_by_name(part, change, words):
    with pytest.raises(ValueError, match=words) as caught:
        KINDS[part].from_dict(SD15[part] | change)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_the_middle_blocks_heads_are_checked_too():
    flat = {
        "down_block_types": ["DownBlock2D"] * 4,
        "up_block_types": ["UpBlock2D"] * 4,
        "attention_head_dim": 7,
    }
    with pytest.raises(ValueError, match="7 attention heads can't share a width of 1280"):
        UNetConfig.from_dict(SD15["unet"] | flat)


def test_an_image_needs_room_for_one_patch():
    with pytest.raises(ValueError, match="a picture of 16 pixels holds no patch of 32"):
        ImageConfig.from_dict({"image_size": 16})


def test_towers_share_their_checks():
    assert issubclass(TextConfig, TowerConfig) and issubclass(ImageConfig, TowerConfig)
    with pytest.raises(ValueError, match="image encoder: hidden_size must be"):
        CLIPConfig.from_dict({"vision_config": {"hidden_size": []}})
    with pytest.raises(ValueError, match="a config is a dictionary, got 3"):
        CLIPConfig.from_dict({"text_config": 3})


# ---- any config at all


ODD = [
    10**400,
    [1, [2]],
    None,
    True,
    False,
    0,
    -1,
    1,
    2.5,
    10**9,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "silu",
    "\ud800",
    [],
    [1],
    [None],
    [[1]],
    [1, "a"],
    {},
    {"a": {}},
    "x" * 5000,
    [2] * 1000,
    [8, "8"],
    b"bytes",
    {1: 2},
    object(),
]


def deep(levels: int = 300):
    value: list = []
    for _ in range(levels):
        value = [value]
    return value


def damaged(config: dict, rng: random.Random) -> dict:
    """A config with one to three values changed, removed, or added."""
    config = copy.deepcopy(config)
    for _ in range(rng.randint(1, 3)):
        key = rng.choice([*config, "unknown", 7, None, ("a",)])
        if rng.random() < 0.2 and key in config:
            del config[key]
        else:
            config[key] = rng.choice([*ODD, deep()])
    return config


@pytest.mark.parametrize("part", KINDS)
def test_of_two_thousand_damaged_configs_each_is_read_or_refused_in_one_line(part):
    rng, refused = random.Random(part), 0
    for _ in range(2000):
        try:
            config = KINDS[part].from_dict(damaged(SD15[part], rng))
            assert KINDS[part].from_dict(config.to_dict()) == config
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 400
    assert refused > 1000


def test_of_two_thousand_damaged_scheduler_configs_each_is_read_or_refused(tmp_path):
    from minisd import SAMPLERS

    rng, refused = random.Random(0), 0
    for _ in range(2000):
        config = damaged(SD15["scheduler"], rng)
        try:
            schedule = schedule_of(config)
            for sampler in SAMPLERS.values():
                sampler.way(schedule, 1, **sampler.settings(config))
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 500


def test_a_bad_config_names_its_file(tmp_path):
    import shutil

    shutil.copytree(TINY, tmp_path / "model")
    path = tmp_path / "model/unet/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"layers_per_block": 10**9}))
    with pytest.raises(ValueError, match=r"unet.config\.json: U-Net: layers_per_block must be"):
        load(tmp_path / "model", "cpu")


# ---- limits, and checks that only some configs reach


@pytest.mark.parametrize(
    "kind, key, most",
    [
        (TextConfig, "vocab_size", 2**20),
        (TextConfig, "max_position_embeddings", 2**16),
        (TextConfig, "num_hidden_layers", 64),
        (UNetConfig, "layers_per_block", 32),
        (UNetConfig, "cross_attention_dim", 2**14),
        (VAEConfig, "scaling_factor", 1e6),
    ],
)
def test_a_size_up_to_its_limit_is_read_and_one_more_is_not(kind, key, most):
    assert getattr(kind.from_dict({key: most}), key) == most
    with pytest.raises(ValueError, match=f"{key} must be"):
        kind.from_dict({key: most + 1})


def test_without_attention_in_the_levels_the_lowest_ones_heads_count_alone():
    """They are the middle block's."""
    flat = {"down_block_types": ["DownBlock2D"] * 4, "up_block_types": ["UpBlock2D"] * 4}
    UNetConfig.from_dict(flat | {"attention_head_dim": [7, 7, 7, 8]})
    with pytest.raises(ValueError, match="7 attention heads can't share a width of 1280"):
        UNetConfig.from_dict(flat | {"attention_head_dim": [8, 8, 8, 7]})


def test_the_heads_of_a_level_that_attends_on_the_way_up_alone_are_checked():
    blocks = {"down_block_types": ["DownBlock2D"] * 4, "attention_head_dim": [7, 8, 8, 8]}
    UNetConfig.from_dict(blocks | {"up_block_types": ["UpBlock2D"] * 4})
    with pytest.raises(ValueError, match="7 attention heads can't share a width of 320"):
        UNetConfig.from_dict(blocks | {"up_block_types": ["UpBlock2D"] * 3 + ["CrossAttnUpBlock2D"]})


def test_a_seed_above_the_largest_would_paint_another_seeds_picture():
    def drawn(seed):
        return torch.randn(8, generator=torch.Generator().manual_seed(seed))

    bits = next(k for k in range(64) if torch.equal(drawn(2**k), drawn(0)))
    assert 2**bits - 1 == LARGEST_SEED


@pytest.mark.parametrize("kind", [ImageConfig, CLIPConfig])
@pytest.mark.parametrize("key", ["bos_token_id", "eos_token_id", "pad_token_id"])
def test_token_ids_are_nothing_to_an_image_encoder(kind, key):
    assert kind.from_dict({key: 49407}) == kind()


def test_an_image_encoders_heads_and_activation_are_checked():
    with pytest.raises(ValueError, match="image encoder: 7 attention heads can't share a width of 768"):
        ImageConfig.from_dict({"num_attention_heads": 7})
    with pytest.raises(ValueError, match="image encoder: hidden_act must be"):
        ImageConfig.from_dict({"hidden_act": "relu"})


def test_the_samplers_have_one_list_of_names():
    from minisd import SAMPLERS
    from minisd.commands.picture_file import SAMPLERS_ELSEWHERE
    from minisd.config import SAMPLER_NAMES

    assert list(SAMPLERS) == list(SAMPLER_NAMES) == [s.name for s in SAMPLERS.values()]
    assert set(SAMPLERS_ELSEWHERE) == set(SAMPLERS)


def test_configs_that_diffusers_writes_in_full_are_read():
    """Every key of its classes, with its default."""
    widths = {"block_out_channels": (32, 64, 64, 64), "sample_size": 8}
    unet = dict(diffusers.UNet2DConditionModel(**widths).config)
    assert UNetConfig.from_dict(unet).block_out_channels == (32, 64, 64, 64)
    assert VAEConfig.from_dict(dict(diffusers.AutoencoderKL().config)) == VAEConfig()
    for key, fixed in UNetConfig.FIXED.items():  # and each in all its spellings
        for value in fixed if isinstance(fixed, tuple) else (fixed,):
            UNetConfig.from_dict({key: value})


@pytest.mark.parametrize(
    "kind, key, words",
    [
        (TextConfig, "hidden_act", "hidden_act must be a text, got 3"),
        (UNetConfig, "norm_eps", "norm_eps must be a number above 0 and at most 1e"),
    ],
)
def test_an_error_says_what_kind_of_value_is_wanted(kind, key, words):
    with pytest.raises(ValueError, match=words):
        kind.from_dict({key: 3 if key == "hidden_act" else "3"})

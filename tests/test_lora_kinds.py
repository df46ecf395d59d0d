"""LoRA's kin and the folders they come in, against PEFT and diffusers, or by hand where those have none."""

import copy
import json
import pickle
import shutil

import peft
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from minisd import UNet
from minisd.lora import Change, LoRA, LowRank, difference, kronecker
from minisd.lora_files import one_name
from test_lora import (
    SCALE,
    assert_same_outputs,
    changes,
    copied,
    differ,
    kohya,
    original,
    outputs,
    peft_key,
    spelt,
)

TARGETS = {
    "unet": ["to_q", "to_out.0", "ff.net.2", "conv1", "conv_shortcut"],
    "text_encoder": ["q_proj", "fc1"],
}


@pytest.fixture(scope="module")
def their_original(tmp_path_factory):
    import diffusers

    path = tmp_path_factory.mktemp("model")
    original().save_pretrained(path)
    return diffusers.StableDiffusionPipeline.from_pretrained(path)


@pytest.fixture
def theirs(their_original):
    return copied(their_original)


@pytest.fixture
def pipe():
    return copied(original())


def randomised(net):
    """All of an adapter's tensors random: PEFT begins with a zero in each product."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if value.requires_grad:
                size = 1 if "magnitude" in name else value[0].numel() ** 0.5
                value.copy_(torch.randn(value.shape, generator=generator) / size)
    return net


CONFIGS = {
    "lora": lambda targets: peft.LoraConfig(r=4, lora_alpha=6, target_modules=targets),
    "patterns": lambda targets: peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=targets,
        rank_pattern={"conv1": 2, "q_proj": 3},
        alpha_pattern={"mid_block.resnets.0.conv1": 5, "^text_model.encoder.layers.1.mlp.fc1": 3, "to_q": 1},
    ),
    "rslora": lambda targets: peft.LoraConfig(r=4, lora_alpha=3, use_rslora=True, target_modules=targets),
    "dora": lambda targets: peft.LoraConfig(r=4, lora_alpha=6, use_dora=True, target_modules=targets),
    "loha": lambda targets: peft.LoHaConfig(r=3, alpha=5, target_modules=targets),
    "loha, tucker": lambda targets: peft.LoHaConfig(
        r=3, alpha=5, target_modules=targets, use_effective_conv2d=True
    ),
    "lokr": lambda targets: peft.LoKrConfig(r=2, alpha=3, target_modules=targets, decompose_factor=4),
    "lokr, both thin": lambda targets: peft.LoKrConfig(
        r=1, alpha=3, target_modules=targets, decompose_both=True, decompose_factor=4
    ),
    "lokr, tucker": lambda targets: peft.LoKrConfig(
        r=2, alpha=3, target_modules=targets, use_effective_conv2d=True, decompose_factor=2
    ),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_adapters_that_peft_saves_equal_peft(kind, pipe, theirs, tmp_path):
    before = outputs(pipe)
    for part, targets in TARGETS.items():
        net = peft.get_peft_model(getattr(theirs, part), CONFIGS[kind](targets))
        randomised(net).save_pretrained(tmp_path / part)
        setattr(theirs, part, net.base_model.model)
    expected = outputs(theirs)
    assert differ(expected, before) == [True, True]
    lora = LoRA.from_file(tmp_path).attach(pipe)  # the folder with the two
    assert_same_outputs(outputs(pipe), expected)
    lora.save(tmp_path / "again.safetensors")
    lora.remove()
    for part in TARGETS:  # one by one, as folder and as file
        place = tmp_path / part
        LoRA.from_file(place if part == "unet" else place / "adapter_model.safetensors").merge(pipe)
    assert_same_outputs(outputs(pipe), expected)
    again = copied(original())
    LoRA.from_file(tmp_path / "again.safetensors").attach(again)
    assert_same_outputs(outputs(again), expected)


def test_a_dora_at_another_strength_equals_peft(pipe, theirs, tmp_path):
    net = peft.get_peft_model(theirs.unet, CONFIGS["dora"](TARGETS["unet"]))
    randomised(net).save_pretrained(tmp_path)
    for module in net.modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            module.scale_layer(SCALE)
    theirs.unet = net.base_model.model
    LoRA.from_file(tmp_path).attach(pipe, SCALE)
    assert_same_outputs(outputs(pipe)[:1], outputs(theirs)[:1])


def test_a_file_without_its_settings_is_taken_as_it_stands_with_a_note(pipe, tmp_path):
    tensors = spelt(changes(only="to_q"), peft_key("A"), peft_key("B"))
    bare = {f"base_model.model.{key.removeprefix('unet.')}": tensor for key, tensor in tensors.items()}
    save_file(bare, tmp_path / "mine.safetensors")
    with pytest.warns(UserWarning, match="has no adapter_config.json beside it"):
        lora = LoRA.from_file(tmp_path / "mine.safetensors")
    assert len(lora.layers) == 8 and all(low.factor == 1 for low in lora.layers.values())
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 1, "use_rslora": False}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    lora = LoRA.from_file(tmp_path / "mine.safetensors")
    assert all(low.factor == 1 / len(low.down) for low in lora.layers.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no JSON object"),
        ("\x80", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ({"peft_type": "IA3"}, "of the kind IA3"),
        ({"peft_type": 7}, "of the kind 7"),
        ({"lora_alpha": "8"}, "sets lora_alpha to '8'"),
        ({"lora_alpha": True}, "sets lora_alpha to True"),
        ({"lora_alpha": [1]}, r"sets lora_alpha to \[1\]"),
        ({"lora_alpha": 1e999}, "sets lora_alpha to inf"),
        ({"r": 0}, "sets r to 0"),
        ({"alpha_pattern": [1]}, "has the alpha_pattern"),
        ({"alpha_pattern": {"to_q": "x"}}, "sets to_q to 'x'"),
        ({"alpha_pattern": {"(to_q": 1}}, "names no layer"),
        ({"alpha_pattern": {"(a+)+$": 1}}, "names no layer"),
        ({"init_lora_weights": "pissa_niter_4"}, "changes the model's own weights"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
    ],
)
def test_damaged_settings(settings, message, tmp_path):
    save_file(
        {"base_model.model.conv_in.lora_A.weight": torch.ones(1, 4, 3, 3)},
        tmp_path / "adapter_model.safetensors",
    )
    text = settings if isinstance(settings, str) else json.dumps(settings)
    (tmp_path / "adapter_config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=message) as error:
        LoRA.from_file(tmp_path)
    assert "\n" not in str(error.value) and "adapter_config.json" in str(error.value)


def test_folders(tmp_path, pipe):
    tensors = kohya(changes(only="to_q"), lambda *_: 1.0)
    save_file(tensors, tmp_path / "any.safetensors")
    torch.save({"optimizer": 1}, tmp_path / "optimizer.ckpt")
    LoRA.from_file(tmp_path).attach(pipe).remove()
    torch.save(tensors | {"global_step": torch.tensor(3)}, tmp_path / "pytorch_lora_weights.bin")
    LoRA.from_file(tmp_path).attach(pipe).remove()
    save_file(tensors, tmp_path / "other.safetensors")
    (tmp_path / "pytorch_lora_weights.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"without adapter_model.safetensors or pytorch_lora"):
        LoRA.from_file(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"absent is missing: give a LoRA's file"):
        LoRA.from_file(tmp_path / "absent")


def hand_made(pipe, deltas):
    """A copy of the model with differences added to its weights: {(part, name): difference}."""
    pipe = copy.deepcopy(pipe)
    with torch.no_grad():
        for (part, name), delta in deltas.items():
            getattr(pipe, part).get_parameter(name).add_(delta)
    return pipe


def test_three_matrices_are_three_layers(pipe, tmp_path):
    layer, generator = pipe.unet.conv_in, torch.Generator().manual_seed(0)
    down, mid, up = (
        torch.randn(shape, generator=generator) for shape in ((3, 4, 1, 1), (3, 3, 3, 3), (16, 3, 1, 1))
    )
    key = "lora_unet_conv_in"
    tensors = {f"{key}.lora_{n}.weight": t for n, t in (("down", down), ("mid", mid), ("up", up))}
    save_file(tensors | {f"{key}.alpha": torch.tensor(6)}, tmp_path / "a.safetensors")
    x = torch.randn(2, 4, 8, 8, generator=generator)
    with torch.no_grad():
        expected = layer(x) + 0.5 * 6 / 3 * F.conv2d(F.conv2d(F.conv2d(x, down), mid, padding=1), up)
        LoRA.from_file(tmp_path / "a.safetensors").attach(pipe, 0.5)
        assert (layer(x) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_full_differences_of_weights_biases_and_norms(pipe, tmp_path):
    names = {
        "lora_unet_conv_in.diff": ("unet", "conv_in.weight"),
        "lora_unet_conv_in.diff_b": ("unet", "conv_in.bias"),
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_norm1.w_norm": (
            "unet",
            "mid_block.attentions.0.transformer_blocks.0.norm1.weight",
        ),
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_norm1.b_norm": (
            "unet",
            "mid_block.attentions.0.transformer_blocks.0.norm1.bias",
        ),
        "lora_unet_conv_norm_out.w_norm": ("unet", "conv_norm_out.weight"),
        "lora_te_text_model_encoder_layers_0_mlp_fc1.diff": (
            "text_encoder",
            "text_model.encoder.layers.0.mlp.fc1.weight",
        ),
    }
    generator = torch.Generator().manual_seed(0)
    deltas = {
        place: torch.randn(getattr(pipe, place[0]).get_parameter(place[1]).shape, generator=generator)
        for place in names.values()
    }
    save_file({key: deltas[place] for key, place in names.items()}, tmp_path / "a.safetensors")
    expected = outputs(hand_made(pipe, {place: 0.5 * delta for place, delta in deltas.items()}))
    lora = LoRA.from_file(tmp_path / "a.safetensors").attach(pipe, 0.5)
    assert_same_outputs(outputs(pipe), expected)
    lora.save(tmp_path / "b.safetensors")
    lora.remove()
    LoRA.from_file(tmp_path / "b.safetensors").merge(pipe, 0.5)
    assert_same_outputs(outputs(pipe), expected)


def test_dora_over_columns_as_lycoris_of_2024(pipe, tmp_path):
    weight = pipe.unet.conv_in.weight.detach().clone()
    generator = torch.Generator().manual_seed(0)
    down, up = torch.randn(2, 4, 3, 3, generator=generator), torch.randn(16, 2, 1, 1, generator=generator)
    lengths = torch.rand(1, 4, 1, 1, generator=generator)
    key = "lora_unet_conv_in"
    tensors = {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.dora_scale": lengths}
    save_file(tensors, tmp_path / "a.safetensors")
    changed = weight + torch.einsum("or,rihw->oihw", up.flatten(1), down)
    changed *= lengths / changed.square().sum(dim=(0, 2, 3), keepdim=True).sqrt()
    LoRA.from_file(tmp_path / "a.safetensors").merge(pipe)
    assert (pipe.unet.conv_in.weight - changed).abs().max() < 1e-5 * changed.abs().max()


# ---- more spellings of the same layers

SPELLINGS = {
    "lora_unet.mid_block.attentions.0.proj_in": "unet_mid_block_attentions_0_proj_in",
    "lycoris_mid_block_attentions_0_proj_in": "unet_mid_block_attentions_0_proj_in",
    "lycoris_unet_mid_block_attentions_0_proj_in": "unet_mid_block_attentions_0_proj_in",
    "unet.base_model.model.mid_block.attentions.0.proj_in": "unet_mid_block_attentions_0_proj_in",
    "base_model.model.mid_block.attentions.0.proj_in": "unet_mid_block_attentions_0_proj_in",
    "mid_block.attentions.0.proj_in": "unet_mid_block_attentions_0_proj_in",
    "lora_te.text_model.encoder.layers.0.mlp.fc1": "text_encoder_encoder_layers_0_mlp_fc1",
    "text_encoder.encoder.layers.0.mlp.fc1": "text_encoder_encoder_layers_0_mlp_fc1",
    "base_model.model.text_model.encoder.layers.0.mlp.fc1": "text_encoder_encoder_layers_0_mlp_fc1",
    "text_encoder.base_model.model.encoder.layers.0.mlp.fc1": "text_encoder_encoder_layers_0_mlp_fc1",
    "text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1": (
        "text_encoder_encoder_layers_0_mlp_fc1"
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_one_name_for_many(spelling):
    assert one_name(spelling) == SPELLINGS[spelling]


def test_names_of_the_single_file_layout(tmp_path):
    with torch.device("meta"):
        unet = UNet({"cross_attention_dim": 768})
    pipe = type("Pipe", (), {"unet": unet, "text_encoder": original().text_encoder})
    names = {
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q": (
            unet.down_blocks[1].attentions[0].transformer_blocks[0].attn1.to_q
        ),
        "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_out.0": (
            unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2.to_out[0]
        ),
        "lora_unet_input_blocks_1_0_in_layers_2": unet.down_blocks[0].resnets[0].conv1,
        "lora_unet_output_blocks_3_1_proj_in": unet.up_blocks[1].attentions[0].proj_in,
        "lora_unet_middle_block_1_proj_out": unet.mid_block.attentions[0].proj_out,
        "lora_unet_time_embed_0": unet.time_embedding.linear_1,
        "lora_unet_out_2": unet.conv_out,
    }
    tensors = {}
    for name, layer in names.items():
        tensors |= {
            f"{name}.lora_down.weight": torch.ones(1, *layer.weight.shape[1:]),
            f"{name}.lora_up.weight": torch.ones(len(layer.weight), 1, *[1] * (layer.weight.ndim - 2)),
        }
    save_file(tensors, tmp_path / "a.safetensors")
    lora = LoRA.from_file(tmp_path / "a.safetensors").attach(pipe)
    assert all(len(layer._forward_hooks) == 1 for layer in names.values())
    lora.remove()
    name = "lora_unet_mid_block_attentions_0_proj_out"
    more = {key.replace("lora_unet_middle_block_1_proj_out", name): t.clone() for key, t in tensors.items()}
    save_file(tensors | more, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="a layer twice"):
        LoRA.from_file(tmp_path / "b.safetensors").attach(pipe)


def test_two_spellings_of_one_layer_in_a_file(tmp_path):
    made = changes(only="conv_in")
    save_file(
        kohya(changes(only="conv_in"), lambda *_: 1.0) | spelt(made, peft_key("A"), peft_key("B")),
        tmp_path / "a.safetensors",
    )
    with pytest.raises(ValueError, match="twice, under two spellings"):
        LoRA.from_file(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "damage",
    [
        {"lora_down.weight": torch.ones(0, 16, 3, 3), "lora_up.weight": torch.ones(4, 0, 1, 1)},  # rank 0
        {"lora_down.weight": torch.tensor(1.0)},
        {"lora_up.weight": torch.tensor(1.0)},
        {"lora_down.weight": torch.ones(4, 16, 3, 3, dtype=torch.int8)},
        {"lora_down.weight": torch.ones(4, 16, 3, 3, dtype=torch.complex64)},
        {"lora_down.weight": torch.ones(4, 16, 3, 3, dtype=torch.bool)},
        {"lora_mid.weight": torch.ones(3, 3, 3, 3)},
        {"alpha": torch.ones(2)},
        {"alpha": torch.ones(0)},
        {"alpha": torch.tensor(1 + 1j)},
        {"alpha": torch.tensor(torch.inf)},
        {"dora_scale": torch.tensor(torch.nan)},
        {"hada_w1_a": torch.ones(2, 2)},
        {"diff": torch.ones(4, 16, 3, 3)},
    ],
    ids=lambda damage: "-".join(f"{key} {tuple(t.shape)} {t.dtype}" for key, t in damage.items()),
)
def test_damaged_tensors(damage, tmp_path):
    whole = {"lora_down.weight": torch.ones(4, 16, 3, 3), "lora_up.weight": torch.ones(4, 4, 1, 1)}
    save_file(
        {f"lora_unet_conv_out.{key}": t for key, t in (whole | damage).items()}, tmp_path / "a.safetensors"
    )
    with pytest.raises(ValueError, match="no whole LoRA, with .*unet_conv_out") as error:
        LoRA.from_file(tmp_path / "a.safetensors")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_precisions(dtype, pipe, tmp_path):
    made = [(part, name, down.to(dtype), up.to(dtype)) for part, name, down, up in changes(only="to_q")]
    save_file(kohya(made, lambda *_: 1), tmp_path / "a.safetensors")
    exact = [(part, name, down.float(), up.float()) for part, name, down, up in made]
    save_file(kohya(exact, lambda *_: 1), tmp_path / "b.safetensors")
    results = []
    for name in ("a", "b"):
        lora = LoRA.from_file(tmp_path / f"{name}.safetensors").attach(pipe)
        results.append(outputs(pipe))
        lora.remove()
    assert_same_outputs(*results)


def test_what_a_trainer_leaves_in_a_file(tmp_path):
    tensors = kohya(changes(only="to_q"), lambda *_: 1.0)
    rest = {
        "optimizer.state.0.exp_avg": torch.ones(2),
        "global_step": torch.tensor(5),
        "epoch": torch.tensor(1),
    }
    save_file(tensors | rest, tmp_path / "a.safetensors")
    assert len(LoRA.from_file(tmp_path / "a.safetensors").layers) == 8


def test_bundled_words_are_named_and_the_rest_is_used(pipe, tmp_path):
    tensors = kohya(changes(only="to_q"), lambda *_: 1.0)
    save_file(tensors | {"bundle_emb.mytok.string_to_param.*": torch.ones(2, 16)}, tmp_path / "a.safetensors")
    with pytest.warns(UserWarning, match="learned words as well: mytok; .*--embedding"):
        lora = LoRA.from_file(tmp_path / "a.safetensors")
    lora.attach(pipe)


def test_a_pipeline_with_a_lora_attached_can_be_pickled(pipe, tmp_path):
    save_file(kohya(changes(only="to_q"), lambda *_: 1.0), tmp_path / "a.safetensors")
    before = outputs(pipe)
    lora = LoRA.from_file(tmp_path / "a.safetensors").attach(pipe, SCALE)
    again, again_lora = pickle.loads(pickle.dumps((pipe, lora)))
    assert_same_outputs(outputs(again), outputs(pipe), 0)
    again_lora.remove()
    assert_same_outputs(outputs(again), before, 0)
    shutil.rmtree(tmp_path)


def test_alpha_over_the_rank():
    down, up = torch.randn(4, 3), torch.randn(2, 4)
    for alpha, factor in ((None, 1.0), (4.0, 1.0), (2.0, 0.5), (8.0, 2.0)):
        change = LowRank(down, up, alpha).delta(torch.zeros(2, 3), SCALE)
        torch.testing.assert_close(change, SCALE * factor * up @ down)


def test_the_rank_of_a_kronecker_product_whose_first_factor_alone_is_thin():
    tensors = {"lokr_w1_a": torch.ones(2, 3), "lokr_w1_b": torch.ones(3, 2), "lokr_w2": torch.ones(4, 4)}
    assert Change(tensors, kronecker).rank == 3
    assert Change({"diff": torch.ones(4, 4)}, difference).rank is None


@pytest.mark.parametrize("bias, fits", [(torch.ones(2), True), (torch.ones(3), False)])
def test_a_change_of_the_bias_must_have_its_length(bias, fits):
    change = Change({"diff": torch.ones(2, 3), "diff_b": bias}, difference)
    assert change.fits(torch.nn.Linear(3, 2)) is fits
    assert change.fits(torch.nn.Linear(3, 2, bias=False)) is False


def test_dora_lengths_must_be_the_rows_or_the_columns():
    for shape, fits in (((2, 1), True), ((1, 3), True), ((3, 1), False), ((2,), False)):
        change = Change({"diff": torch.ones(2, 3), "magnitude": torch.ones(shape)}, difference)
        assert change.fits(torch.nn.Linear(3, 2)) is fits

"""LoRA and textual inversion against diffusers and PEFT, on small random models; half a minute at most."""

import copy
import json
import os
import re
from functools import cache

import diffusers
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from minisd import StableDiffusion, TextEncoder, UNet
from minisd.lora import LoRA, add_embedding, layers_of, one_name
from small import SENTENCES, assert_same, small_pipeline

SCALE = 0.7


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    original().save_pretrained(path)
    return path


def copied(pipe):
    """A pipeline of ours or of diffusers with parts of its own, but for the VAE, which no test touches."""
    return copy.deepcopy(pipe, {id(pipe.vae): pipe.vae})


@pytest.fixture
def pipe():
    return copied(original())


@pytest.fixture(scope="module")
def their_original(folder):
    return diffusers.StableDiffusionPipeline.from_pretrained(folder)


@pytest.fixture
def theirs(their_original):
    return copied(their_original)


@cache
def original():
    """The small model, made once; nothing may change it."""
    return small_pipeline()


@torch.no_grad()
def outputs(pipe):
    """What U-Net and text encoder of ours or of diffusers make of the same inputs."""
    generator = torch.Generator().manual_seed(5)
    z, context = (torch.randn(shape, generator=generator) for shape in ((2, 4, 8, 8), (2, 77, 16)))
    ids = original().tokenizer(SENTENCES[:2])
    noise, words = pipe.unet(z, 500, context), pipe.text_encoder(ids)
    return (noise, words) if isinstance(noise, torch.Tensor) else (noise.sample, words[0])


def assert_same_outputs(ours, theirs, tolerance=1e-5):
    for a, b in zip(ours, theirs, strict=True):
        assert_same(a, b, tolerance)


def differ(ours, theirs):
    """By more than a hundredth, in the U-Net and in the text encoder."""
    return [(a - b).abs().max().item() > 1e-2 * b.abs().max().item() for a, b in zip(ours, theirs)]


# ---- files, made up for every layer of the small model; the ranks differ from layer to layer


def changes(seed=0, rank=lambda i: 2 + i % 3, only=""):
    """(part, name, down, up) for all layers, or for those whose names match."""
    generator, made = torch.Generator().manual_seed(seed), []
    for part in ("unet", "text_encoder"):
        for name, layer in getattr(original(), part).named_modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)) and re.search(only, name):
                weight, r = layer.weight, rank(len(made))
                down = torch.randn(r, *weight.shape[1:], generator=generator) / weight[0].numel() ** 0.5
                up = torch.randn(len(weight), r, *[1] * (weight.ndim - 2), generator=generator) / r**0.5
                made.append((part, name, down, up))
    assert made
    return made


def kohya(made, alpha):
    """`alpha` is a function of part and name."""
    tensors = {}
    for part, name, down, up in made:
        key = {"unet": "lora_unet_", "text_encoder": "lora_te_"}[part] + name.replace(".", "_")
        tensors |= {
            f"{key}.lora_down.weight": down,
            f"{key}.lora_up.weight": up,
            f"{key}.alpha": torch.tensor(alpha(part, name)),
        }
    return tensors


def spelt(made, down_key, up_key):
    """Tensors under the keys that two functions of part and name give."""
    return {
        key(part, name): tensor
        for part, name, down, up in made
        for key, tensor in ((down_key, down), (up_key, up))
    }


def peft_key(side):
    return lambda part, name: f"{part}.{name}.lora_{side}.weight"


def diffusers_key(side):
    kinds = {"unet": "lora", "text_encoder": "lora_linear_layer"}
    return lambda part, name: f"{part}.{name}.{kinds[part]}.{side}.weight"


def diffusers_2023_key(side):
    def key(part, name):
        head, last = name.removesuffix(".0").rsplit(".", 1)
        if part == "unet":
            return f"unet.{head}.processor.{last}_lora.{side}.weight"
        return f"text_encoder.{head}.to_{last.removesuffix('_proj')}_lora.{side}.weight"

    return key


def two_alphas(part, name):
    """Convolutions have one of their own, as in many LoCon files; but see test_an_alpha_for_each_layer."""
    return 0.5 if "conv" in name else 1.5


FILES = {
    "kohya": lambda: kohya(changes(), two_alphas),
    "kohya, text encoder alone": lambda: {
        key: tensor for key, tensor in kohya(changes(), lambda *_: 3.0).items() if key.startswith("lora_te_")
    },
    "kohya without alphas": lambda: {
        key: tensor for key, tensor in kohya(changes(), two_alphas).items() if not key.endswith(".alpha")
    },
    "PEFT": lambda: spelt(changes(), peft_key("A"), peft_key("B")),
    "diffusers": lambda: spelt(changes(), diffusers_key("down"), diffusers_key("up")),
    "diffusers of 2023": lambda: spelt(
        changes(only=r"attn"), diffusers_2023_key("down"), diffusers_2023_key("up")
    ),
}


@pytest.mark.parametrize("spelling", FILES)
def test_attached_and_merged_equal_diffusers(spelling, pipe, theirs, tmp_path):
    before = outputs(pipe)
    assert_same_outputs(before, outputs(theirs))
    save_file(FILES[spelling](), tmp_path / "lora.safetensors")
    theirs.load_lora_weights(tmp_path, weight_name="lora.safetensors", adapter_name="a")
    theirs.set_adapters(["a"], [SCALE])
    expected = outputs(theirs)
    assert differ(expected, before) == ["alone" not in spelling, True]
    weights = copy.deepcopy((pipe.unet.state_dict(), pipe.text_encoder.state_dict()))

    lora = LoRA.from_file(tmp_path / "lora.safetensors")
    lora.attach(pipe, scale=SCALE)
    assert_same_outputs(outputs(pipe), expected)
    for net, kept in zip((pipe.unet, pipe.text_encoder), weights):
        assert net.state_dict().keys() == kept.keys()
        assert all(torch.equal(tensor, kept[name]) for name, tensor in net.state_dict().items())
    lora.remove()
    assert_same_outputs(outputs(pipe), before, 0)

    lora.merge(pipe, scale=SCALE)
    assert_same_outputs(outputs(pipe), expected)


def test_alpha_in_the_metadata_that_diffusers_writes(pipe, theirs, tmp_path):
    made = changes(rank=lambda i: 4)
    tensors = spelt(made, peft_key("A"), peft_key("B"))
    settings = {}
    for part, alpha in (("unet", 3), ("text_encoder", 9)):
        names = [name.removeprefix("text_model.") for p, name, *_ in made if p == part]
        settings |= {
            f"{part}.r": 4,
            f"{part}.lora_alpha": alpha,
            f"{part}.target_modules": names,
            f"{part}.use_dora": False,
            f"{part}.alpha_pattern": {},
        }
    save_file(tensors, tmp_path / "lora.safetensors", {"lora_adapter_metadata": json.dumps(settings)})
    theirs.load_lora_weights(tmp_path, weight_name="lora.safetensors", adapter_name="a")
    theirs.set_adapters(["a"], [SCALE])
    LoRA.from_file(tmp_path / "lora.safetensors").attach(pipe, SCALE)
    assert_same_outputs(outputs(pipe), outputs(theirs))

    more = settings | {"unet.alpha_pattern": {"conv_in": 2}, "text_encoder.use_rslora": True}
    save_file(tensors, tmp_path / "lora.safetensors", {"lora_adapter_metadata": json.dumps(more)})
    layers = LoRA.from_file(tmp_path / "lora.safetensors").layers
    assert [layers[name].factor for name in ("unet_conv_in", "unet_conv_out")] == [2 / 4, 3 / 4]
    assert layers["text_encoder_encoder_layers_0_mlp_fc1"].factor == 9 / 2


def test_what_diffusers_saves_of_a_unet_alone(pipe, theirs, tmp_path):
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=["to_q", "to_out.0", "conv1"], init_lora_weights=False
    )
    theirs.unet.add_adapter(config, "a")
    theirs.unet.save_lora_adapter(tmp_path, adapter_name="a")
    theirs.set_adapters(["a"], [SCALE])
    LoRA.from_file(tmp_path / "pytorch_lora_weights.safetensors").attach(pipe, SCALE)
    ours, before = outputs(pipe), outputs(original())
    assert differ(ours, before) == [True, False]
    assert_same_outputs(ours, outputs(theirs))


def test_an_alpha_for_each_layer(pipe, tmp_path):
    # Diffusers 0.42.1 is no oracle for these: of a kohya file's alphas it keeps the most frequent one for
    # the attention layers and the text encoder, and PEFT warns that it "ignored" the others.
    made = changes()
    alphas = {name: 0.25 + i % 5 for i, (_, name, *_) in enumerate(made)}
    save_file(kohya(made, lambda part, name: alphas[name]), tmp_path / "lora.safetensors")
    by_hand = copy.deepcopy(pipe)
    with torch.no_grad():
        for part, name, down, up in made:
            weight = getattr(by_hand, part).get_submodule(name).weight
            weight += SCALE * alphas[name] / len(down) * torch.einsum("or,ri...->oi...", up.flatten(1), down)
    LoRA.from_file(tmp_path / "lora.safetensors").attach(pipe, SCALE)
    assert_same_outputs(outputs(pipe), outputs(by_hand))


def test_two_at_a_time_and_their_scales(pipe, theirs, tmp_path):
    loras = []
    for name, seed in (("a", 0), ("b", 1)):
        save_file(kohya(changes(seed, only="attn"), lambda *_: 1.5), tmp_path / f"{name}.safetensors")
        theirs.load_lora_weights(tmp_path, weight_name=f"{name}.safetensors", adapter_name=name)
        loras.append(LoRA.from_file(tmp_path / f"{name}.safetensors").attach(pipe))
    for scales in ((1.0, 1.0), (0.3, -0.5)):
        theirs.set_adapters(["a", "b"], list(scales))
        for lora, scale in zip(loras, scales, strict=True):
            lora.scale = scale
        assert_same_outputs(outputs(pipe), outputs(theirs))
    loras[0].remove()
    theirs.set_adapters(["b"], [-0.5])
    assert_same_outputs(outputs(pipe), outputs(theirs))
    with pytest.raises(ValueError, match="attached already"):
        loras[1].attach(pipe)
    loras[0].attach(pipe, 0.3)  # once removed, it can come back


def test_a_pickle_and_a_file_without_prefix(pipe, theirs, tmp_path):
    tensors = spelt(changes(only="attn1"), diffusers_2023_key("down"), diffusers_2023_key("up"))
    tensors = {key: tensor for key, tensor in tensors.items() if key.startswith("unet.")}
    torch.save(tensors, tmp_path / "lora.bin")
    save_file({key.removeprefix("unet."): t for key, t in tensors.items()}, tmp_path / "lora.safetensors")
    theirs.load_lora_weights(tmp_path, weight_name="lora.bin", use_safetensors=False)
    for name in ("lora.bin", "lora.safetensors"):
        lora = LoRA.from_file(tmp_path / name).attach(pipe)
        assert_same_outputs(outputs(pipe), outputs(theirs))
        lora.remove()


def test_1x1_convolutions_and_linear_layers_are_kept_for_one_another(pipe, tmp_path):
    made = changes(only="proj_in|to_q|fc1")
    save_file(kohya(made, lambda *_: 2.0), tmp_path / "a.safetensors")
    turned = [
        (part, name, *(t.flatten(1) if t.ndim == 4 else t[:, :, None, None] for t in pair))
        for part, name, *pair in made
    ]
    save_file(kohya(turned, lambda *_: 2.0), tmp_path / "b.safetensors")
    results = []
    for name in ("a", "b"):
        lora = LoRA.from_file(tmp_path / f"{name}.safetensors").attach(pipe)
        results.append(outputs(pipe))
        lora.remove()
    LoRA.from_file(tmp_path / "b.safetensors").merge(pipe)
    assert_same_outputs(results[1], results[0], 0)
    assert_same_outputs(outputs(pipe), results[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype, folder, tmp_path):
    # one rounding of each merged weight, and no other
    pipe = StableDiffusion.from_pretrained(folder, device="cpu", dtype=dtype)
    made = changes()
    save_file(kohya(made, lambda *_: 2.0), tmp_path / "lora.safetensors")
    expected = {}
    for part, name, down, up in made:
        weight = getattr(pipe, part).get_submodule(name).weight.detach().float()
        change = SCALE * 2.0 / len(down) * torch.einsum("or,ri...->oi...", up.flatten(1), down)
        expected[part, name] = (weight + change).to(dtype)
    LoRA.from_file(tmp_path / "lora.safetensors").attach(pipe, SCALE).remove()
    LoRA.from_file(tmp_path / "lora.safetensors").merge(pipe, SCALE)
    for (part, name), weight in expected.items():
        merged = getattr(pipe, part).get_submodule(name).weight
        assert_same(merged, weight, torch.finfo(dtype).eps)
        assert (
            merged != weight
        ).float().mean() < 0.01  # a float32 sum in another order may round the other way
    apart = StableDiffusion.from_pretrained(folder, device="cpu", dtype=dtype)
    LoRA.from_file(tmp_path / "lora.safetensors").attach(apart, SCALE)
    ids = apart.tokenizer(SENTENCES)
    assert_same(apart.text_encoder(ids), pipe.text_encoder(ids), 16 * torch.finfo(dtype).eps)


def test_merging_leaves_the_models_files_alone_and_can_be_undone(folder, tmp_path):
    pipe = StableDiffusion.from_pretrained(folder, device="cpu")
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    content, before = path.read_bytes(), outputs(pipe)
    save_file(FILES["kohya"](), tmp_path / "lora.safetensors")
    lora = LoRA.from_file(tmp_path / "lora.safetensors")
    lora.merge(pipe, SCALE)
    assert path.read_bytes() == content
    assert_same_outputs(outputs(StableDiffusion.from_pretrained(folder, device="cpu")), before, 0)
    pipe.save_pretrained(tmp_path / "merged")
    assert_same_outputs(
        outputs(StableDiffusion.from_pretrained(tmp_path / "merged", device="cpu")), outputs(pipe), 0
    )
    lora.merge(pipe, -SCALE)
    assert_same_outputs(outputs(pipe), before)


def test_every_layer_of_sd15_has_a_name_of_its_own():
    with torch.device("meta"):
        unet = UNet({"cross_attention_dim": 768})
        text = TextEncoder({"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12})
    layers = layers_of(type("Pipe", (), {"unet": unet, "text_encoder": text}))
    modules = [*unet.named_modules(), *text.named_modules()]
    kinds = {kind: sum(isinstance(layer, kind) for _, layer in modules) for kind in (nn.Linear, nn.Conv2d)}
    assert sum(kinds.values()) == 354
    assert sum(isinstance(layer, (nn.Linear, nn.Conv2d)) for layer in layers.values()) == 354
    assert (
        layers[one_name("lora_unet_mid_block_attentions_0_proj_in")] is unet.mid_block.attentions[0].proj_in
    )
    last = text.text_model.encoder.layers[11]
    assert layers[one_name("lora_te_text_model_encoder_layers_11_mlp_fc2")] is last.mlp.fc2


# ---- what is refused, in one line


def one_line(error):
    text = str(error.value)
    assert "\n" not in text and len(text) < 400
    return text


BAD = [  # what a file may hold besides LoRA, or alone
    ({"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": 1}, "made for SDXL"),
    ({"lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": 1}, "made for SDXL"),
    ({"text_encoder_2.text_model.encoder.layers.0.mlp.fc1.lora_A.weight": 1}, "made for SDXL"),
    ({"lora_unet_down_blocks_1_attentions_0_transformer_blocks_9_attn2_to_k.alpha": 1}, "made for SDXL"),
    ({"lora_unet_input_blocks_7_1_transformer_blocks_2_ff_net_2.alpha": 1}, "made for SDXL"),
    ({"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": 1}, "made for FLUX"),
    ({"lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": 1}, "made for FLUX"),
    ({"diffusion_model.joint_blocks.0.x_block.attn.qkv.lora_A.weight": 1}, "made for Stable Diffusion 3"),
    ({"diffusion_model.blocks.0.self_attn.q.lora_A.weight": 1}, "made for Wan"),
    ({"lora_unet_blocks_0_cross_attn_k.lora_down.weight": 1}, "made for Wan"),
    ({"transformer.transformer_blocks.3.attn.to_q.lora_A.weight": 1}, "made for a later model"),
    ({"lora_transformer_single_blocks_0.lora_down.weight": 1}, "made for FLUX"),
    ({"unet.down_blocks.0.motion_modules.0.proj_in.lora_A.weight": 1}, "a motion LoRA"),
    ({"image_proj.proj.weight": 1}, "an IP-Adapter"),
    ({"lora_unet_conv_in.oft_blocks": 1}, "an OFT or BOFT"),
    ({"lora_unet_conv_in.oft_diag": 1}, "an OFT or BOFT"),
    ({"base_model.model.conv_in.oft_R.weight": 1}, "an OFT or BOFT"),
    ({"lora_unet_conv_in.a1.weight": 1}, "a GLoRA"),
    ({"lora_unet_conv_in.weight": 1, "lora_unet_conv_in.on_input": 1}, "an (IA)^3"),
    ({"base_model.model.conv_in.ia3_l": 1}, "an (IA)^3"),
    ({"model.diffusion_model.conv_in.weight": 1}, "--model"),
    ({"emb_params": 1}, "an embedding, to be given with --embedding"),
    ({"clip_g": 1}, "an embedding, to be given with --embedding"),
    ({"lora_unet_conv_in.hada_w1_a": 1}, "no whole LoRA, with unet_conv_in of"),
    ({"lora_unet_conv_in.lokr_w1_a": 1}, "no whole LoRA, with unet_conv_in of"),
    ({"lora_unet_conv_2.lora_mid.weight": 1}, "no whole LoRA, with unet_conv_2 of mid"),
    ({"lora_unet_conv_2.dora_scale": 1}, "no whole LoRA, with unet_conv_2 of dora_scale"),
    ({"unet.conv_2.lora_magnitude_vector": 1}, "no whole LoRA, with unet_conv_2 of lora_mag"),
    ({"lora_unet_conv_2.diff_b": 1}, "no whole LoRA, with unet_conv_2 of diff_b"),
    ({"lora_unet_conv_2.lora_down.weight": 1}, "no whole LoRA, with unet_conv_2 of down"),
    ({"lora_unet_conv_2.alpha": 1}, "no whole LoRA, with unet_conv_2 of alpha"),
    ({"lora_unet_conv_in.lora_down.bias": 1}, "no whole LoRA, with lora_unet_conv_in.lora_down.bias"),
]


@pytest.mark.parametrize(("more", "message"), BAD, ids=[next(iter(more)) for more, _ in BAD])
def test_more_than_a_lora(more, message, tmp_path):
    more = {key: torch.ones(() if key.endswith("alpha") else (4, 4)) for key in more}
    for tensors in (more, FILES["kohya"]() | more):
        save_file(tensors, tmp_path / "lora.safetensors")
        with pytest.raises(ValueError, match="minisd reads LoRA") as error:
            LoRA.from_file(tmp_path / "lora.safetensors")
        assert message in one_line(error)


def test_no_lora_at_all(tmp_path):
    save_file({}, tmp_path / "empty.safetensors")
    (tmp_path / "text.safetensors").write_text("<!doctype html>")
    torch.save({"x": os.system}, tmp_path / "code.pt")
    for name, message in (("empty", "nothing"), ("text", "text.safetensors is")):
        with pytest.raises(ValueError, match=message) as error:
            LoRA.from_file(tmp_path / f"{name}.safetensors")
        one_line(error)
    with pytest.raises(ValueError, match="code") as error:
        LoRA.from_file(tmp_path / "code.pt")
    one_line(error)
    with pytest.raises(FileNotFoundError, match="absent.safetensors is missing"):
        LoRA.from_file(tmp_path / "absent.safetensors")


@pytest.mark.parametrize(
    ("key", "down", "up"),
    [
        (
            "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k",
            (4, 1024),
            (32, 4),
        ),  # SD 2's words
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", (4, 16), (640, 4)),
        ("lora_unet_input_blocks_14_1_proj_in", (4, 32), (32, 4)),
        ("lora_te_text_projection", (4, 16), (16, 4)),
        ("lora_unet_conv_in", (4, 4, 1, 1), (16, 4, 1, 1)),  # it is a 3x3 convolution
        ("lora_unet_conv_in", (4, 12, 1, 3), (16, 4, 1, 1)),
        ("lora_te_text_model_encoder_layers_22_mlp_fc1", (4, 16), (32, 4)),
        ("lora_unet_conv_norm_out", (4, 16), (16, 4)),  # a norm is no layer that a LoRA can change
    ],
)
def test_another_models_lora_changes_nothing(key, down, up, pipe, tmp_path):
    before = outputs(pipe)
    tensors = {f"{key}.lora_down.weight": torch.ones(down), f"{key}.lora_up.weight": torch.ones(up)}
    save_file(kohya(changes(only="to_q"), lambda *_: 1.0) | tensors, tmp_path / "lora.safetensors")
    lora = LoRA.from_file(tmp_path / "lora.safetensors")
    for use in (lora.merge, lora.attach):
        with pytest.raises(ValueError, match="made for another model") as error:
            use(pipe)
        assert one_name(key) in one_line(error)
    assert_same_outputs(outputs(pipe), before, 0)


@pytest.mark.parametrize(
    "damage",
    [
        {"lora_up.weight": torch.ones(4, 8, 1, 1)},
        {"lora_up.weight": torch.ones(4)},
        {"alpha": torch.tensor(torch.nan)},
        {"lora_up.weight": torch.full((4, 4, 1, 1), torch.inf)},
    ],
)
def test_damaged_tensors(damage, tmp_path):
    whole = {"lora_down.weight": torch.ones(4, 16, 3, 3), "lora_up.weight": torch.ones(4, 4, 1, 1)}
    for tensors, fine in ((whole, True), (whole | damage, False)):
        save_file(
            {f"lora_unet_conv_out.{key}": t for key, t in tensors.items()}, tmp_path / "lora.safetensors"
        )
        if fine:
            assert [*LoRA.from_file(tmp_path / "lora.safetensors").layers] == ["unet_conv_out"]
        else:
            with pytest.raises(ValueError, match="no whole LoRA, with .*unet_conv_out"):
                LoRA.from_file(tmp_path / "lora.safetensors")


# ---- training one


def test_a_new_one_is_trained_saved_and_read_by_diffusers(pipe, theirs, tmp_path):
    before = outputs(pipe)
    lora = LoRA.new(pipe, rank=2, targets=("to_q", "to_out_0", "fc1", "conv_in"), seed=3)
    assert len(lora.layers) == 8 + 8 + 2 + 1
    lora.attach(pipe)
    assert_same_outputs(outputs(pipe), before, 0)  # up is zero

    pipe.unet.requires_grad_(False)
    pipe.text_encoder.requires_grad_(False)
    z, target = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    ids, losses = pipe.tokenizer(SENTENCES[:2]), []
    optimiser = torch.optim.Adam(lora.parameters(), lr=1e-2)
    for _ in range(8):
        optimiser.zero_grad()
        loss = (pipe.unet(z, 500, pipe.text_encoder(ids)) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert all(low.down.grad.abs().max() > 0 and low.up.grad.abs().max() > 0 for low in lora.layers.values())
    trained = outputs(pipe)
    assert differ(trained, before) == [True, True]

    lora.save(tmp_path / "lora.safetensors")
    lora.remove()
    assert_same_outputs(outputs(pipe), before, 0)
    LoRA.from_file(tmp_path / "lora.safetensors").attach(pipe)
    assert_same_outputs(outputs(pipe), trained, 1e-6)
    theirs.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    assert_same_outputs(trained, outputs(theirs))


def test_saving_keeps_alphas(tmp_path):
    save_file(FILES["kohya"](), tmp_path / "a.safetensors")
    LoRA.from_file(tmp_path / "a.safetensors").save(tmp_path / "b.safetensors")
    a, b = load_file(tmp_path / "a.safetensors"), load_file(tmp_path / "b.safetensors")
    assert a.keys() == b.keys()
    for key in a:
        assert_same(b[key], a[key], 1e-6)


def test_new_one_starts_as_diffusers_gaussian(pipe):
    lora = LoRA.new(pipe, rank=8)
    assert all(name.endswith(("to_q", "to_k", "to_v", "to_out_0")) for name in lora.layers)
    downs = torch.cat([low.down.flatten() for low in lora.layers.values()])
    assert abs(downs.std().item() * 8 - 1) < 0.03 and abs(downs.mean().item()) < 0.005
    assert all((low.up == 0).all() and low.factor == 1 for low in lora.layers.values())
    for seed, same in ((0, True), (1, False)):
        again = LoRA.new(pipe, rank=8, seed=seed).layers
        assert again.keys() == lora.layers.keys()
        assert all(torch.equal(again[name].down, low.down) == same for name, low in lora.layers.items())


# ---- textual inversion


def vectors(count, width=16):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(count))


def a1111(tensor, name="style"):
    """What AUTOMATIC1111's web interface saves while it trains."""
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": tensor.clone().requires_grad_()},
        "name": name,
        "step": 499,
        "sd_checkpoint": "81761151",
        "sd_checkpoint_name": "v1-5-pruned",
    }


LEARNED = {  # name of a file -> its content, the word in it
    "one.bin": ({"<cat-toy>": vectors(1)[0]}, "<cat-toy>"),
    "one-row.bin": ({"<cat-toy>": vectors(1)}, "<cat-toy>"),
    "learned_embeds.safetensors": ({"<Cat-Toy>": vectors(3)}, "<Cat-Toy>"),
    "web.pt": (a1111(vectors(2), "Ünï style"), "Ünï style"),
    "bad_prompt.pt": (a1111(vectors(8), "bad_prompt"), "bad_prompt"),
    "easyneg.safetensors": ({"emb_params": vectors(4)}, "easyneg"),
}


def write(folder, name, content):
    (save_file if name.endswith("safetensors") else torch.save)(content, folder / name)
    return folder / name


@pytest.mark.parametrize("name", LEARNED)
def test_learned_words_equal_diffusers(name, pipe, theirs, tmp_path):
    content, word = LEARNED[name]
    path = write(tmp_path, name, content)
    assert add_embedding(pipe, path) == word
    theirs.load_textual_inversion(tmp_path, weight_name=name, token=word)
    assert len(pipe.tokenizer) == pipe.text_encoder.config.vocab_size == len(theirs.tokenizer)
    plain = [
        f"a {word} house",
        f"{word}, {word}!in the{word}snow",
        word,
        f"x{word}x",
        "a red house",
        "",
        "sand " * 70 + f"{word} {word} car",
        "sand " * 75 + word,
    ]
    count = len(pipe.tokenizer) - len(original().tokenizer)
    prompts = [
        text.replace(word, " ".join([word, *(f"{word}_{i}" for i in range(1, count))])) for text in plain
    ]
    # Of a word with capitals diffusers 0.42.1 reads the first vector alone: it looks for the small letters
    # that transformers gives it and doesn't find them. We read all its vectors.
    if word == word.lower():
        assert theirs.maybe_convert_prompt(plain, theirs.tokenizer) == prompts
    ids = theirs.tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
    ours = pipe.tokenizer(plain)
    assert torch.equal(ours, ids)
    assert (ours >= len(original().tokenizer)).any(dim=1).tolist() == [True] * 4 + [False] * 2 + [True, False]
    with torch.no_grad():
        assert_same(pipe.text_encoder(ours), theirs.text_encoder(ids)[0])
        assert_same(pipe.encode_prompt(plain[:6]), theirs.text_encoder(ids[:6])[0])
    assert pipe.tokenizer.encode(word.upper()) == pipe.tokenizer.encode(word)


def test_a_second_word_and_a_name_of_ones_own(pipe, theirs, tmp_path):
    first, second = (
        write(tmp_path, "a.bin", {"<a>": vectors(2)}),
        write(tmp_path, "b.bin", {"<a>": vectors(1)}),
    )
    add_embedding(pipe, first)
    assert add_embedding(pipe, second, token="<a b>") == "<a b>"
    theirs.load_textual_inversion(tmp_path, weight_name="a.bin")
    theirs.load_textual_inversion(tmp_path, weight_name="b.bin", token="<a b>")
    prompts = ["<a> <a b> <a", "<a b><a>"]
    ids = theirs.tokenizer(
        theirs.maybe_convert_prompt(prompts, theirs.tokenizer), padding="max_length", return_tensors="pt"
    ).input_ids
    assert torch.equal(pipe.tokenizer(prompts), ids)
    with torch.no_grad():
        assert_same(pipe.text_encoder(ids), theirs.text_encoder(ids)[0])


@pytest.mark.parametrize("trained", [True, False])
def test_the_table_keeps_its_precision(trained, folder, tmp_path):
    pipe = StableDiffusion.from_pretrained(folder, device="cpu", dtype=torch.float16)
    table = pipe.text_encoder.text_model.embeddings.token_embedding
    before = table.weight.detach().clone()
    table.requires_grad_(trained)
    add_embedding(pipe, write(tmp_path, "a.bin", {"<a>": vectors(2)}))
    assert_same(table.weight, torch.cat([before, vectors(2).half()]), 0)
    assert table.weight.requires_grad == trained
    assert (table.num_embeddings, *table.weight.shape) == (len(before) + 2, len(before) + 2, 16)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("two.pt", {"<a>": vectors(1, 1024)}, "made for SD 2"),
        ("xl.safetensors", {"<a>": vectors(2, 1280)}, "made for SDXL"),
        ("mine.bin", {"<a>": vectors(2, 17)}, "made for another model"),
        ("three.bin", {"<a>": torch.zeros(1, 2, 16)}, r"\(1, 2, 16\)"),
        ("number.bin", {"<a>": torch.tensor(1.0)}, "has 16 numbers"),
        ("none.bin", {"<a>": torch.zeros(0, 16)}, "no vectors of a learned word"),
        ("nan.bin", {"<a>": torch.full((2, 16), float("nan"))}, "NaN"),
        (
            "xl2.safetensors",
            {"clip_l": vectors(2, 768), "clip_g": vectors(2, 1280)},
            "made for SDXL",
        ),
        (
            "lora.safetensors",
            {"unet.conv_in.lora_A.weight": vectors(2), "unet.conv_in.lora_B.weight": vectors(2)},
            "is a LoRA",
        ),
        ("list.pt", [vectors(2)], "no vectors of a learned word"),
        ("other.pt", {"<a>": "text"}, "no vectors of a learned word"),
        ("wordless.pt", {"string_to_param": {}, "name": "a"}, "no vectors of a learned word"),
        ("code.pt", {"<a>": os.system}, "could run any code"),
        ("known.bin", {"Night": vectors(1)}, "'Night' is a token already"),
        ("piece.bin", {"h": vectors(1)}, "'h' is a token already"),
        ("special.bin", {"<|endoftext|>": vectors(1)}, "is a token already"),
        ("empty.bin", {" ": vectors(1)}, "or empty"),
    ],
)
def test_learned_words_that_are_refused_change_nothing(name, content, message, pipe, tmp_path):
    before = outputs(pipe)
    with pytest.raises(ValueError, match=message) as error:
        add_embedding(pipe, write(tmp_path, name, content))
    one_line(error)
    assert len(pipe.tokenizer) == pipe.text_encoder.config.vocab_size == len(original().tokenizer)
    assert_same_outputs(outputs(pipe), before, 0)


def test_the_same_word_twice_a_damaged_file_and_saving(pipe, tmp_path):
    path = write(tmp_path, "a.bin", {"<Toy>": vectors(2)})
    add_embedding(pipe, path)
    for token in (None, "<toy>", "<TOY>"):
        with pytest.raises(ValueError, match="is a token already"):
            add_embedding(pipe, path, token)
    pipe.save_pretrained(tmp_path / "model")
    again = StableDiffusion.from_pretrained(tmp_path / "model", device="cpu")
    assert again.tokenizer.added == {"<toy>": again.tokenizer.encode("a <toy>")[1:]}
    assert_same_outputs(outputs(again), outputs(pipe), 0)
    clip = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "model")
    assert len(clip.tokenizer) == len(again.tokenizer) == clip.text_encoder.config.vocab_size
    (tmp_path / "half.bin").write_bytes(path.read_bytes()[:-200])
    (tmp_path / "page.bin").write_text("<!doctype html>")
    (tmp_path / "zero.bin").write_bytes(b"")
    for name, message in (("half", "not a whole file"), ("page", "a web page"), ("zero", "is empty")):
        name = f"{name}.bin"
        with pytest.raises(ValueError, match=message) as error:
            add_embedding(pipe, tmp_path / name)
        one_line(error)
    with pytest.raises(FileNotFoundError, match="absent.pt"):
        add_embedding(pipe, tmp_path / "absent.pt")

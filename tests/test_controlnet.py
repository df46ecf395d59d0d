"""ControlNet against diffusers: the network, its files, the whole pipeline; and what is refused."""

import json
import shutil

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from minisd import ControlNet, StableDiffusion, UNet, cli
from minisd.checkpoint import WEIGHTS, save_model
from minisd.config import ControlNetConfig, UNetConfig
from minisd.pictures import prepare
from minisd.sd15 import CONTROLNET, SD15, published_shapes
from minisd.single_file import CONTROL, control_name, load_controlnet, unet_name
from small import SCHEDULER, assert_same, randomise, small_pipeline

CROSS, PLAIN = "CrossAttn", ""
HOUSE, TENT = "a red house in the snow", "two yellow tents at night"
HINTS = [4, 6, 8, 12]


def config(widths, layout, heads, layers=1, groups=4, hints=HINTS, **more):
    return {
        "block_out_channels": widths,
        "attention_head_dim": heads,
        "layers_per_block": layers,
        "norm_num_groups": groups,
        "cross_attention_dim": 16,
        "conditioning_embedding_out_channels": hints,
        "down_block_types": [f"{kind}DownBlock2D" for kind in layout],
        **more,
    }


CONTROLNETS = {
    "one level": config([8], [CROSS], 2),
    "the layout of tiny": config([8, 16], [PLAIN, CROSS], 4),
    "the layout of SD 1.5": config([8, 16, 32, 32], [CROSS] * 3 + [PLAIN], 8, layers=2),
    "heads for each level": config([8, 16, 32], [CROSS] * 3, [2, 4, 8]),
    "three layers, no cross-attention": config([12, 24], [PLAIN, PLAIN], 3, layers=3, groups=6),
    "one halving of a grey picture": config(
        [8, 16], [CROSS, PLAIN], 2, hints=[4, 8], conditioning_channels=1
    ),
    "nine channels, another epsilon": config([8, 16], [CROSS, PLAIN], 2, in_channels=9, norm_eps=1e-3),
}


def rand(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def inputs(c, batch=2, high=8, wide=12):
    """Latents, timesteps, context and a picture for a ControlNet."""
    factor, channels = (
        2 ** (len(c["conditioning_embedding_out_channels"]) - 1),
        c.get("conditioning_channels", 3),
    )
    picture = rand(batch, channels, factor * high, factor * wide, seed=2).sigmoid()
    z, context = rand(batch, c.get("in_channels", 4), high, wide), rand(batch, 7, 16)
    return z, torch.tensor([981, 3])[:batch], context, picture


def pair(c):
    """Our ControlNet and diffusers', of the same random weights."""
    ours, theirs = randomise(ControlNet(c)), diffusers.ControlNetModel(**c).eval()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


# ---- the network


@pytest.mark.parametrize("c", CONTROLNETS.values(), ids=CONTROLNETS)
def test_controlnet_equals_diffusers(c):
    ours, theirs = pair(c)
    with torch.no_grad():
        for scale in (1.0, 0.6):
            down, mid = ours(*inputs(c), scale)
            expected = theirs(*inputs(c), conditioning_scale=scale)
            assert len(down) == len(expected.down_block_res_samples)
            for a, b in zip((*down, mid), (*expected.down_block_res_samples, expected.mid_block_res_sample)):
                assert_same(a, b)


@pytest.mark.parametrize("name", ["the layout of tiny", "the layout of SD 1.5"])
def test_the_unet_takes_the_residuals_as_diffusers_does(name):
    c = CONTROLNETS[name]
    types = [kind.replace("Down", "Up") for kind in reversed(c["down_block_types"])]
    shared = {key: value for key, value in c.items() if key in UNetConfig().to_dict()}
    unet = randomise(UNet({**shared, "up_block_types": types}))
    their_unet = diffusers.UNet2DConditionModel(**unet.config.to_dict())
    their_unet.load_state_dict(unet.state_dict())
    ours, theirs = pair(c)
    z, t, context, picture = inputs(c)
    with torch.no_grad():
        down, mid = theirs(z, t, context, picture, return_dict=False)
        expected = their_unet(
            z, t, context, down_block_additional_residuals=down, mid_block_additional_residual=mid
        ).sample
        steered, free = unet(z, t, context, *ours(z, t, context, picture)), unet(z, t, context)
        assert_same(steered, expected)
        assert (steered - free).abs().max() > 0.1
        assert torch.equal(unet(z, t, context, *ours(z, t, context, picture, 0.0)), free)


def test_residuals_of_another_size_are_refused():
    unet = small_pipeline().unet
    controlnet = ControlNet.from_unet(unet, HINTS)
    z, context = rand(1, 4, 8, 8), rand(1, 7, 16)
    down, mid = controlnet(z, 5, context, rand(1, 3, 64, 64))
    with pytest.raises(ValueError, match="the U-Net's features have the shapes .* the residuals"):
        unet(rand(1, 4, 6, 8), 5, context, down, mid)
    with pytest.raises(ValueError, match="residuals"):
        unet(z, 5, context, down[:-1], mid)
    with pytest.raises(ValueError, match="residuals"):
        unet(z, 5, context, down, mid.repeat(2, 1, 1, 1))


@pytest.mark.parametrize(
    "shape", [(1, 3, 64, 96), (2, 3, 64, 64), (2, 1, 64, 96), (2, 3, 8, 12), (3, 64, 96)]
)
def test_a_picture_of_another_shape_is_refused(shape):
    c = CONTROLNETS["the layout of tiny"]
    z, t, context, _ = inputs(c)
    with pytest.raises(ValueError, match=r"has the shape \(.*, expected \(2, 3, 64, 96\) for latents"):
        ControlNet(c)(z, t, context, rand(*shape))


def test_a_new_one_is_the_unet_and_adds_nothing():
    unet = small_pipeline().unet
    net = ControlNet.from_unet(unet, HINTS)
    theirs = diffusers.ControlNetModel.from_unet(
        diffusers.UNet2DConditionModel(**unet.config.to_dict()), conditioning_embedding_out_channels=HINTS
    )
    assert net.config.to_dict().items() <= {**theirs.config, **lists(theirs.config)}.items()
    assert net.state_dict().keys() == theirs.state_dict().keys()
    own = unet.state_dict()
    shared = net.state_dict().keys() & own.keys()
    assert len(shared) == len(
        [name for name in own if not name.startswith(("up_blocks", "conv_norm", "conv_out"))]
    )
    assert all(torch.equal(net.state_dict()[name], own[name]) for name in shared)
    down, mid = net(rand(2, 4, 8, 8), 7, rand(2, 7, 16), rand(2, 3, 64, 64))
    assert not any(residual.any() for residual in (*down, mid))
    net.conv_in.weight.data.zero_()
    assert unet.conv_in.weight.any()  # the weights are copies


def test_a_new_one_sees_the_picture():
    """What the encoder makes of pictures differs like the pictures do, not by the 1e-5 of torch's weights."""
    torch.manual_seed(0)
    encoder = ControlNet.from_unet(small_pipeline().unet).controlnet_cond_embedding
    encoder.conv_out = torch.nn.Identity()
    with torch.no_grad():
        pictures = rand(8, 3, 64, 64).sigmoid()
        seen = encoder(pictures).std(dim=0).mean() / pictures.std(dim=0).mean()
    assert 0.1 < seen < 10


def lists(config):
    return {key: list(value) for key, value in config.items() if isinstance(value, tuple)}


def test_gradients_pass_the_zero_convolutions_step_by_step():
    """At first only the zero convolutions have a gradient, then what stands before them (section 3.1)."""
    pipe = small_pipeline()
    unet, net = pipe.unet.requires_grad_(False), ControlNet.from_unet(pipe.unet, HINTS).requires_grad_(True)
    z, context, picture = rand(2, 4, 8, 8), rand(2, 7, 16), rand(2, 3, 64, 64).sigmoid()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    moved = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = (
            (unet(z, 300, context, *net(z, 300, context, picture)) - rand(2, 4, 8, 8, seed=9)).square().mean()
        )
        loss.backward()
        moved.append({name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()})
        optimizer.step()
    zeros = {name for name in net.state_dict() if name.startswith(("controlnet_down", "controlnet_mid"))}
    last = {f"controlnet_cond_embedding.conv_out.{kind}" for kind in ("weight", "bias")}
    assert moved[0] == zeros
    assert {"conv_in.weight", "mid_block.resnets.0.conv1.weight"} | last <= moved[1]
    assert "controlnet_cond_embedding.conv_in.weight" not in moved[1]
    assert moved[2] >= set(net.state_dict()) and not any(p.grad is not None for p in unet.parameters())


def test_the_full_size_has_diffusers_names_and_shapes():
    with torch.device("meta"):
        ours, theirs = ControlNet(CONTROLNET), diffusers.ControlNetModel(**CONTROLNET)
    shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    assert (len(shapes), sum(p.numel() for p in ours.parameters())) == (340, 361_279_120)
    with torch.device("meta"):
        assert ControlNet.from_unet(UNet(SD15["unet"])).config == ours.config


# ---- files


@pytest.fixture(scope="module")
def parts():
    """A small pipeline and a ControlNet for it, with random weights."""
    pipe = small_pipeline()
    return pipe, randomise(ControlNet.from_unet(pipe.unet, HINTS))


@pytest.fixture
def folder(parts, tmp_path):
    save_model(parts[1], tmp_path / "canny", WEIGHTS, "ControlNetModel", torch.float32)
    return tmp_path / "canny"


def assert_loaded(net, expected):
    assert net.config == expected.config
    for name, tensor in expected.state_dict().items():
        assert torch.equal(net.state_dict()[name], tensor)


def test_diffusers_opens_what_we_save_and_we_what_diffusers_saves(parts, folder, tmp_path):
    theirs, info = diffusers.ControlNetModel.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    theirs.save_pretrained(tmp_path / "theirs", variant="fp16")
    assert_loaded(load_controlnet(tmp_path / "theirs", "cpu", torch.float32), parts[1])
    half = load_controlnet(folder, "cpu", torch.float16)
    assert {p.dtype for p in half.parameters()} == {torch.float16}


PUBLISHED = {  # lllyasviel/control_v11p_sd15_canny, but for its sizes
    "_class_name": "ControlNetModel",
    "_diffusers_version": "0.16.0.dev0",
    "_name_or_path": "lllyasviel/canny",
    "act_fn": "silu",
    "class_embed_type": None,
    "controlnet_conditioning_channel_order": "rgb",
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "global_pool_conditions": False,
    "mid_block_scale_factor": 1,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "projection_class_embeddings_input_dim": None,
    "resnet_time_scale_shift": "default",
    "upcast_attention": False,
    "use_linear_projection": False,
}


def test_a_published_config_is_read(parts):
    read = ControlNetConfig.from_dict({**PUBLISHED, **parts[1].config.to_dict()})
    assert read == parts[1].config
    newest = {
        **diffusers.ControlNetModel(**parts[1].config.to_dict()).config,
        "_class_name": "ControlNetModel",
    }
    assert ControlNetConfig.from_dict(newest) == parts[1].config
    assert ControlNetConfig.from_dict(CONTROLNET).cross_attention_dim == 768


def test_the_defaults_are_diffusers():
    with torch.device("meta"):
        theirs = diffusers.ControlNetModel().config
    own = ControlNetConfig().to_dict()
    assert own == {key: list(theirs[key]) if isinstance(theirs[key], tuple) else theirs[key] for key in own}


@pytest.mark.parametrize(
    "change, said",
    [
        ({"_class_name": "UNet2DConditionModel"}, "ControlNet: the config is of a 'UNet2DConditionModel'"),
        ({"global_pool_conditions": True}, "global_pool_conditions=True, .* not a plain ControlNet"),
        ({"controlnet_conditioning_channel_order": "bgr"}, "minisd builds only 'rgb'"),
        ({"addition_embed_type": "text_time"}, "addition_embed_type"),
        ({"use_linear_projection": True}, "use_linear_projection"),
        ({"conditioning_embedding_out_channels": []}, "must be a list of 1 to 8"),
        ({"conditioning_channels": 0}, "conditioning_channels must be a whole number from 1"),
        ({"down_block_types": ["DownBlock2D"]}, "ControlNet: down_block_types must be 2 out of"),
        ({"norm_num_groups": 7}, "ControlNet: 7 groups"),
        ({"attention_head_dim": 5}, "ControlNet: 5 attention heads"),
    ],
)
def test_configs_that_are_refused(parts, folder, change, said):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=f"config.json: .*{said}"):
        load_controlnet(folder, "cpu", torch.float32)


def published_names():
    """The names of lllyasviel's single files, as far as they follow from those of the U-Net's file."""
    names = {name.removeprefix("model.diffusion_model.") for name in published_shapes("single-file")}
    return {name for name in names if name.startswith(("time_embed.", "input_blocks.", "middle_block."))}


def test_the_single_files_names():
    with torch.device("meta"):
        net = ControlNet(CONTROLNET)
    names = [control_name(name, net.config) for name in net.state_dict()]
    kinds = [".weight", ".bias"]
    expected = published_names()
    expected |= {f"zero_convs.{i}.0{kind}" for i in range(12) for kind in kinds}
    expected |= {f"input_hint_block.{i}{kind}" for i in range(0, 15, 2) for kind in kinds}
    expected |= {f"middle_block_out.0{kind}" for kind in kinds}
    assert len(names) == len(set(names)) == 340 and set(names) == expected


def single(net, prefix=CONTROL):
    return {prefix + control_name(name, net.config): tensor for name, tensor in net.state_dict().items()}


@pytest.mark.parametrize("prefix", [CONTROL, ""])
def test_the_single_file_is_read(parts, tmp_path, prefix):
    pipe, net = parts
    tensors = single(net, prefix)
    if prefix:  # control_sd15_canny.pth has the whole model beside it
        tensors |= {
            "model.diffusion_model." + unet_name(n, pipe.unet.config): w
            for n, w in pipe.unet.state_dict().items()
        }
    torch.save({"state_dict": tensors}, tmp_path / "control.pth")
    (tmp_path / "config.json").write_text(
        json.dumps({**net.config.to_dict(), "_class_name": "ControlNetModel"})
    )
    assert_loaded(load_controlnet(tmp_path / "control.pth", "cpu", torch.float32), net)


def test_diffusers_reads_the_same_of_the_single_file(tmp_path):
    """Our names for the original layout against diffusers' own reader of it."""
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

    net = randomise(ControlNet(CONTROLNETS["the layout of SD 1.5"]))
    found = convert_controlnet_checkpoint(single(net), {"layers_per_block": 2})
    assert found.keys() == net.state_dict().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("c", CONTROLNETS.values(), ids=CONTROLNETS)
def test_sizes_are_read_off_a_single_file_without_a_config(c, tmp_path):
    net = randomise(ControlNet({**c, "attention_head_dim": 2, "norm_num_groups": 4, "norm_eps": 1e-5}))
    save_file(single(net), tmp_path / "control.safetensors")
    with pytest.warns(UserWarning, match="brings no config"):
        read = load_controlnet(tmp_path / "control.safetensors", "cpu", torch.float32)
    same = ControlNetConfig.from_dict(
        {
            **net.config.to_dict(),
            **{key: getattr(read.config, key) for key in ("attention_head_dim", "norm_num_groups")},
        }
    )
    assert read.config == same


@pytest.mark.parametrize("prefix", ["module.control_model.", "state_dict.control_model.", "controlnet."])
def test_words_that_tools_put_before_the_names(parts, tmp_path, prefix):
    config = {**parts[1].config.to_dict(), "_class_name": "ControlNetModel"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(single(parts[1], prefix), tmp_path / "control.safetensors")
    assert_loaded(load_controlnet(tmp_path / "control.safetensors", "cpu", torch.float32), parts[1])


def test_a_controlnet_for_sdxl_is_named(parts, tmp_path):
    tensors = {**single(parts[1]), "control_model.label_emb.0.0.weight": torch.zeros(4, 4)}
    save_file(tensors, tmp_path / "xl.safetensors")
    with pytest.raises(ValueError, match="xl.safetensors is a ControlNet for SDXL; give one for"):
        load_controlnet(tmp_path / "xl.safetensors", "cpu", torch.float32)


def test_a_file_of_the_folder_layout_alone_is_read(parts, folder, tmp_path):
    assert_loaded(load_controlnet(folder / WEIGHTS, "cpu", torch.float32), parts[1])


DAMAGES = {
    "missing": (lambda tensors: tensors.pop("controlnet_mid_block.bias"), "lacks controlnet_mid_block.bias"),
    "more": (lambda tensors: tensors.update(spare=torch.zeros(1)), "has more than the model: spare"),
    "misshapen": (
        lambda tensors: tensors.update({"conv_in.bias": torch.zeros(3)}),
        "does not fit: conv_in.bias",
    ),
    "nan": (
        lambda tensors: tensors["conv_in.bias"].fill_(torch.nan),
        "holds NaN or infinity in conv_in.bias",
    ),
}


@pytest.mark.parametrize("damage, said", DAMAGES.values(), ids=DAMAGES)
def test_damaged_weights_are_one_line(folder, damage, said):
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / WEIGHTS).items()}
    damage(tensors)
    save_file(tensors, folder / WEIGHTS)
    for source in (folder, folder / WEIGHTS):
        with pytest.raises(ValueError, match=said) as caught:
            load_controlnet(source, "cpu", torch.float32)
        assert WEIGHTS in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_no_controlnet(parts, saved, folder, tmp_path):
    with pytest.raises(ValueError, match="holds no ControlNet: it has conv_in.bias"):
        load_controlnet(saved / "unet" / WEIGHTS, "cpu", torch.float32)
    with pytest.raises(ValueError, match="config is of a 'UNet2DConditionModel', expected ControlNetModel"):
        load_controlnet(saved / "unet", "cpu", torch.float32)
    with pytest.raises(FileNotFoundError, match="has no config.json: it is no ControlNet"):
        load_controlnet(saved, "cpu", torch.float32)
    (folder / WEIGHTS).write_bytes(b"not weights")
    with pytest.raises((ValueError, OSError), match=WEIGHTS):
        load_controlnet(folder, "cpu", torch.float32)
    with pytest.raises(FileNotFoundError, match="no ControlNet at .*nowhere: give its folder or its file"):
        StableDiffusion.from_pretrained(saved, controlnet=tmp_path / "nowhere")
    shutil.copytree(saved, tmp_path / "two")
    for name in ("controlnet", "controlnet_1"):
        save_model(parts[1], tmp_path / "two" / name, WEIGHTS, "ControlNetModel", torch.float32)
    with pytest.raises(ValueError, match="has several ControlNets; give the folder of one"):
        load_controlnet(tmp_path / "two", "cpu", torch.float32)


# ---- the whole pipeline


@pytest.fixture(scope="module")
def saved(parts, tmp_path_factory):
    """A model without a ControlNet."""
    folder = tmp_path_factory.mktemp("small") / "model"
    parts[0].save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def steered(parts, tmp_path_factory):
    """A saved model with a ControlNet."""
    p = parts[0]
    folder = tmp_path_factory.mktemp("small") / "steered"
    pipe = StableDiffusion(p.tokenizer, p.text_encoder, p.unet, p.vae, SCHEDULER, controlnet=parts[1])
    pipe.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ours(steered):
    return StableDiffusion.from_pretrained(steered, device="cpu")


@pytest.fixture(scope="module")
def theirs(steered):
    pipe = diffusers.DiffusionPipeline.from_pretrained(steered)
    assert type(pipe) is diffusers.StableDiffusionControlNetPipeline
    return pipe


def diffusers_paints(kind, pipe, prompts, seed=5, **options):
    painter = getattr(diffusers, f"StableDiffusionControlNet{kind}Pipeline")(
        **pipe.components, requires_safety_checker=False
    )
    painter.set_progress_bar_config(disable=True)
    count = len(prompts) * options.get("num_images_per_prompt", 1)
    generators = [torch.Generator().manual_seed(seed + i) for i in range(count)]
    return painter(prompts, generator=generators, output_type="np", **options).images


def assert_same_picture(a, b):
    assert a.shape == b.shape and np.abs(a - b).max() <= 1e-4 and b.std() > 0.02


def picture(height=64, width=64, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(pixels).resize((width, height))


@pytest.mark.parametrize("scale", [1, 7.5])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_a_controlled_picture_equals_diffusers(ours, theirs, scale, strength):
    options = {"num_inference_steps": 4, "guidance_scale": scale}
    options |= {} if scale == 1 else {"negative_prompt": [TENT]}
    options["controlnet_conditioning_scale"] = strength
    a = ours([HOUSE], seed=5, output_type="np", control_image=picture(), **options)
    assert_same_picture(a, diffusers_paints("", theirs, [HOUSE], image=picture(), **options))
    assert np.abs(a - ours([HOUSE], seed=5, output_type="np", **options)).max() > 0.02


def test_a_batch_with_pictures_of_its_own_equals_diffusers(ours, theirs):
    options = {"num_inference_steps": 3, "num_images_per_prompt": 2}
    pictures = [picture(seed=1), picture(seed=2)]
    a = ours([HOUSE, TENT], seed=5, output_type="np", control_image=pictures, **options)
    assert_same_picture(a, diffusers_paints("", theirs, [HOUSE, TENT], image=pictures, **options))


@pytest.mark.parametrize("sampler", ["ddpm", "euler", "dpmpp_2m"])
def test_samplers_that_scale_their_latents_control_as_diffusers_does(ours, theirs, sampler):
    classes = {"ddpm": "DDPM", "euler": "EulerDiscrete", "dpmpp_2m": "DPMSolverMultistep"}
    scheduler = getattr(diffusers, f"{classes[sampler]}Scheduler").from_config(SCHEDULER)
    pipe = diffusers.StableDiffusionControlNetPipeline(
        **{**theirs.components, "scheduler": scheduler}, requires_safety_checker=False
    )
    a = ours(
        [HOUSE], seed=5, output_type="np", control_image=picture(), num_inference_steps=4, sampler=sampler
    )
    assert_same_picture(a, diffusers_paints("", pipe, [HOUSE], image=picture(), num_inference_steps=4))


@pytest.mark.parametrize("size", [(70, 41), (32, 72)])
@pytest.mark.parametrize("kind", ["pil", "np", "tensor"])
def test_control_pictures_are_read_as_diffusers_does(ours, theirs, kind, size):
    given = picture(*size)
    if kind != "pil":
        given = np.asarray(given, np.float32)[None] / 255
    if kind == "tensor":
        given = torch.from_numpy(given).movedim(-1, 1)
    theirs_read = theirs.control_image_processor.preprocess(given, height=None, width=None)
    assert torch.equal(prepare(given, "control_image", 1, None, None, 8), theirs_read)
    a = ours([HOUSE], seed=5, output_type="np", control_image=given, num_inference_steps=2)
    assert a.shape == (1, size[0] // 8 * 8, size[1] // 8 * 8, 3)
    assert_same_picture(a, diffusers_paints("", theirs, [HOUSE], image=given, num_inference_steps=2))


def test_painting_over_a_picture_with_control_equals_diffusers(ours, theirs):
    options = {"num_inference_steps": 6, "strength": 0.5, "control_image": [picture(seed=4)]}
    options |= {"image": [picture(seed=3)], "controlnet_conditioning_scale": 1.0}
    a = ours([HOUSE], seed=8, output_type="np", **options)
    assert_same_picture(a, diffusers_paints("Img2Img", theirs, [HOUSE], 8, **options))
    mask = Image.fromarray(np.kron([[255, 0], [0, 255]], np.ones((32, 32))).astype(np.uint8))
    a = ours([HOUSE], seed=8, output_type="np", mask_image=mask, paste_back=False, **options)
    b = diffusers_paints("Inpaint", theirs, [HOUSE], 8, mask_image=mask, height=64, width=64, **options)
    assert_same_picture(a, b)


def test_an_inpainting_unet_with_control_equals_diffusers(parts, tmp_path):
    """The ControlNet reads the four channels of the latents, the U-Net all nine."""
    p = parts[0]
    unet = randomise(UNet({**p.unet.config.to_dict(), "in_channels": 9}))
    ours = StableDiffusion(p.tokenizer, p.text_encoder, unet, p.vae, SCHEDULER, controlnet=parts[1])
    ours.save_pretrained(tmp_path / "nine")
    theirs = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "nine")
    assert type(theirs) is diffusers.StableDiffusionControlNetInpaintPipeline
    mask = Image.fromarray(np.kron([[255, 0], [0, 255]], np.ones((32, 32))).astype(np.uint8))
    options = {"num_inference_steps": 4, "strength": 1.0, "control_image": [picture(seed=4)]}
    options |= {"image": [picture(seed=3)], "mask_image": mask, "controlnet_conditioning_scale": 1.0}
    a = ours([HOUSE], seed=8, output_type="np", paste_back=False, **options)
    assert_same_picture(a, diffusers_paints("Inpaint", theirs, [HOUSE], 8, height=64, width=64, **options))


def test_a_model_with_a_controlnet_comes_back_whole(parts, saved, steered, folder, tmp_path):
    pipe = StableDiffusion.from_pretrained(steered, device="cpu")
    assert_loaded(pipe.controlnet, parts[1])
    assert StableDiffusion.from_pretrained(saved).controlnet is None
    for source in (folder, folder / WEIGHTS, steered):
        assert_loaded(StableDiffusion.from_pretrained(saved, controlnet=source).controlnet, parts[1])
    with pytest.raises(ValueError, match="x.safetensors can't hold the model's ControlNet"):
        pipe.save_pretrained(tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()
    pipe.controlnet = None
    pipe.save_pretrained(tmp_path / "x.safetensors")
    pipe.save_pretrained(tmp_path / "plain")
    assert not (tmp_path / "plain" / "controlnet").exists()


def test_a_model_saved_without_a_controlnet_over_one_with_it_has_none(parts, steered, tmp_path):
    shutil.copytree(steered, tmp_path / "again")
    parts[0].save_pretrained(tmp_path / "again")
    assert StableDiffusion.from_pretrained(tmp_path / "again").controlnet is None


def test_a_controlnet_of_the_notebook_is_put_in_by_hand(saved, parts, ours):
    pipe = StableDiffusion.from_pretrained(saved, device="cpu")
    pipe.controlnet = parts[1]
    assert StableDiffusion.from_pretrained(saved, controlnet=parts[1]).controlnet is parts[1]
    options = {"num_inference_steps": 2, "control_image": picture(), "output_type": "np"}
    assert np.array_equal(pipe(HOUSE, **options), ours(HOUSE, **options))
    free = pipe(HOUSE, **{**options, "controlnet_conditioning_scale": 0})
    pipe.controlnet = None
    assert np.array_equal(pipe(HOUSE, num_inference_steps=2, output_type="np"), free)


def test_it_paints_in_half_precision(steered):
    pipe = StableDiffusion.from_pretrained(steered, device="cpu", dtype=torch.bfloat16)
    assert pipe(HOUSE, num_inference_steps=1, control_image=picture())[0].size == (64, 64)


OTHERS = {
    "words": ({"cross_attention_dim": 24}, "words of 24 numbers, this model has 16"),
    "levels": ({"block_out_channels": [16, 16]}, r"levels of \(16, 16\) channels, this model has \(16, 32\)"),
    "layers": ({"layers_per_block": 2}, "levels of 2 layers, this model has 1"),
    "latents": ({"in_channels": 9}, "latents of 9 channels, this model has 4"),
    "grey": ({"conditioning_channels": 1}, "pictures of 1 channels, this model has 3"),
    "halvings": (
        {"conditioning_embedding_out_channels": [4, 8]},
        "latents 2 times smaller than the picture, .* 8",
    ),
}


@pytest.mark.parametrize("change, said", OTHERS.values(), ids=OTHERS)
def test_a_controlnet_for_another_model_is_refused(parts, saved, tmp_path, change, said):
    other = ControlNet({**parts[1].config.to_dict(), **change})
    save_model(other, tmp_path / "other", WEIGHTS, "ControlNetModel", torch.float32)
    with pytest.raises(ValueError, match=f"the ControlNet is made for {said}"):
        StableDiffusion.from_pretrained(saved, controlnet=tmp_path / "other")
    pipe = StableDiffusion.from_pretrained(saved)
    pipe.controlnet = other
    with pytest.raises(ValueError, match=f"the ControlNet is made for {said}"):
        pipe(HOUSE, control_image=picture())


@pytest.mark.parametrize(
    "options, said",
    [
        ({"control_image": [picture()] * 3}, "control_image holds 3 pictures for 2 prompts"),
        ({"control_image": "canny.png"}, "control_image must be a PIL image, .* got str"),
        ({"control_image": np.zeros((64, 64), np.float32)}, "control_image must be a PIL image"),
        (
            {"control_image": torch.full((1, 3, 64, 64), -1.0)},
            r"control_image must be .* in \[0, 1\] as a tensor",
        ),
        (
            {"control_image": picture(), "controlnet_conditioning_scale": "much"},
            "must be a number, got 'much'",
        ),
        ({"control_image": picture(), "controlnet_conditioning_scale": np.nan}, "must be a finite number"),
        ({"control_image": picture(), "height": 60}, "height must be a multiple of 8"),
        ({"control_image": picture(), "latents": torch.zeros(2, 4, 4, 4)}, "latents have shape"),
    ],
)
def test_what_can_not_be_controlled(ours, options, said):
    with pytest.raises(ValueError, match=said):
        ours([HOUSE, TENT], **options)


def test_a_controlnet_of_another_library_is_refused(parts, saved):
    theirs = diffusers.ControlNetModel(**parts[1].config.to_dict())
    pipe = StableDiffusion.from_pretrained(saved)
    pipe.controlnet = theirs
    with pytest.raises(ValueError, match="must be a minisd.ControlNet, got a ControlNetModel"):
        pipe(HOUSE, control_image=picture())


def test_a_control_image_needs_a_controlnet(parts):
    with pytest.raises(ValueError, match="this model has none: load one with controlnet=FOLDER"):
        parts[0](HOUSE, control_image=picture())


# ---- the command


@pytest.fixture
def paint(saved, capsys, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    picture(seed=6).save("plan.png")

    def command(*words, model=saved):
        words = ["paint", HOUSE, "--model", model, "--steps", 2, "--out", "a.png", *words]
        capsys.readouterr()
        return cli.main([*map(str, words)]), *capsys.readouterr()

    return command


def test_the_command_paints_with_control(paint, folder, ours, steered):
    words = ["--control-image", "plan.png", "--control-scale", 0.5]
    expected = ours(
        HOUSE, num_inference_steps=2, control_image=picture(seed=6), controlnet_conditioning_scale=0.5
    )
    for more in (["--controlnet", folder], ["--controlnet", folder / WEIGHTS], ["--model", steered]):
        assert paint(*words, *more)[0] == 0
        with Image.open("a.png") as found:
            assert np.array_equal(np.asarray(found), np.asarray(expected[0]))
            assert "ControlNet: " in found.text["parameters"] and " at 0.5" in found.text["parameters"]
    facts = json.loads(paint(*words, "--controlnet", folder, "--json")[1])
    assert (facts["controlnet"], facts["control_image"]) == (str(folder), "plan.png")
    assert facts["controlnet_conditioning_scale"] == 0.5
    facts = json.loads(paint("--json")[1])
    assert facts["controlnet"] is facts["control_image"] is facts["controlnet_conditioning_scale"] is None


def test_export_leaves_the_controlnet_out_and_says_so(steered, saved, tmp_path, capsys):
    assert cli.main(["export", str(steered), str(tmp_path / "one.safetensors")]) == 0
    assert "note: the model's ControlNet is left out" in capsys.readouterr().err
    one = StableDiffusion.from_pretrained(tmp_path / "one.safetensors", tokenizer=saved / "tokenizer")
    assert one.controlnet is None


@pytest.mark.parametrize(
    "words, said",
    [
        (["--controlnet", "CANNY"], "--controlnet has no meaning without --control-image"),
        (["--control-scale", "1"], "--control-scale has no meaning without --control-image"),
        (["--control-image", "plan.png"], "this model has none: load one with controlnet=FOLDER"),
        (["--controlnet", "nowhere", "--control-image", "plan.png"], "no ControlNet at nowhere"),
        (["--controlnet", "here", "--control-image", "plan.png"], "no ControlNet at here"),
        (["--controlnet", ".", "--control-image", "plan.png"], "has no config.json"),
        (["--controlnet", "plan.png", "--control-image", "plan.png"], "plan.png"),
        (
            ["--controlnet", "CANNY", "--control-image", "notes.txt"],
            "--control-image notes.txt could not be read",
        ),
        (["--controlnet", "CANNY", "--control-image", "."], "--control-image . could not be read"),
        (
            ["--controlnet", "CANNY", "--control-image", "plan.png", "--control-scale", "nan"],
            "--control-scale",
        ),
    ],
)
def test_commands_that_do_not_fit(paint, folder, tmp_path, words, said):
    (tmp_path / "here" / "notes.txt").write_text("no picture")
    code, out, err = paint(*[str(folder) if word == "CANNY" else word for word in words])
    assert (code, out) == (2, "") and err.count("\n") == 1 and err.startswith("minisd: error: ")
    assert said in err and not (tmp_path / "here" / "a.png").exists()

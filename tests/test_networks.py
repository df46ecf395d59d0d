"""The networks against transformers and diffusers: one saved folder, opened by both, the same numbers."""

import diffusers
import pytest
import torch
import transformers
from safetensors.torch import load_file

from minisd import CLIP, AutoencoderKL, ImageEncoder, TextEncoder, UNet
from minisd.checkpoint import TEXT_WEIGHTS, WEIGHTS, load_model, save_model
from minisd.clip import contrastive_loss
from small import assert_same, randomise, small_pipeline

OURS = {
    "text": (TextEncoder, TEXT_WEIGHTS, transformers.CLIPTextModel),
    "image": (ImageEncoder, TEXT_WEIGHTS, transformers.CLIPVisionModelWithProjection),
    "clip": (CLIP, TEXT_WEIGHTS, transformers.CLIPModel),
    "vae": (AutoencoderKL, WEIGHTS, diffusers.AutoencoderKL),
    "unet": (UNet, WEIGHTS, diffusers.UNet2DConditionModel),
}


def save_ours(kind, config, folder):
    build, weights, reference = OURS[kind]
    save_model(randomise(build(config)), folder, weights, reference.__name__, torch.float32)


def save_theirs(kind, config, folder):
    reference = OURS[kind][2]
    if kind in ("vae", "unet"):
        net = reference.from_config(config)
    else:
        net = reference(reference.config_class(**config))
    randomise(net).save_pretrained(folder)


def open_both(kind, folder):
    build, weights, reference = OURS[kind]
    return load_model(build, folder, weights, "cpu", torch.float32), reference.from_pretrained(folder).eval()


@pytest.fixture(params=[save_ours, save_theirs], ids=["saved by minisd", "saved by the other library"])
def open_saved(request, tmp_path):
    """Save a random network of a config and open the folder with both libraries: (ours, theirs)."""

    def save_and_open(kind, config):
        request.param(kind, config, tmp_path)
        return open_both(kind, tmp_path)

    return save_and_open


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def rand(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


# ---- the text encoder, the image encoder, CLIP


def text_config(width, inner, layers, heads, places=77, act="quick_gelu", eps=1e-5, vocab=90):
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "hidden_act": act,
        "num_attention_heads": heads,
        "max_position_embeddings": places,
        "layer_norm_eps": eps,
        "vocab_size": vocab,
        "bos_token_id": vocab - 2,
        "eos_token_id": vocab - 1,
        "pad_token_id": vocab - 1,
        "projection_dim": 24,
        "model_type": "clip_text_model",
    }


def image_config(width, inner, layers, heads, size=32, patch=8, act="quick_gelu", channels=3, projection=24):
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "hidden_act": act,
        "num_attention_heads": heads,
        "image_size": size,
        "patch_size": patch,
        "num_channels": channels,
        "projection_dim": projection,
        "model_type": "clip_vision_model",
    }


TEXTS = {
    "one layer, one head": text_config(16, 32, 1, 1),
    "two layers, heads of 8": text_config(32, 128, 2, 4),
    "deep and narrow": text_config(8, 24, 6, 2),
    "gelu": text_config(32, 64, 2, 2, act="gelu"),
    "short sentences": text_config(24, 96, 3, 3, places=9),
    "another epsilon": text_config(16, 64, 2, 8, eps=1e-3),
    "another vocabulary": text_config(48, 40, 1, 6, vocab=514),
}

IMAGES = {
    "one layer, one head": image_config(16, 32, 1, 1),
    "two layers, heads of 8": image_config(32, 128, 2, 4),
    "deep and narrow": image_config(8, 24, 6, 2),
    "gelu": image_config(32, 64, 2, 2, act="gelu"),
    "small patches": image_config(24, 96, 3, 3, size=20, patch=4),
    "a patch that leaves a margin": image_config(16, 64, 2, 8, size=30, patch=8),
    "grey pictures": image_config(48, 40, 1, 6, channels=1, projection=7),
}


@pytest.mark.parametrize("config", TEXTS.values(), ids=TEXTS)
def test_text_encoder_equals_transformers(open_saved, config):
    ours, theirs = open_saved("text", config)
    ids = torch.randint(0, config["vocab_size"], (3, config["max_position_embeddings"]))
    assert_same(ours(ids), theirs(ids).last_hidden_state)
    assert_same(ours(ids[:, :5]), theirs(ids[:, :5]).last_hidden_state)


@pytest.mark.parametrize("config", IMAGES.values(), ids=IMAGES)
def test_image_encoder_equals_transformers(open_saved, config):
    ours, theirs = open_saved("image", config)
    images = rand(2, config["num_channels"], config["image_size"], config["image_size"])
    assert_same(ours(images), theirs(images).image_embeds)


@pytest.mark.parametrize("text, image", list(zip(TEXTS.values(), IMAGES.values())), ids=TEXTS)
def test_clip_and_its_loss_equal_transformers(open_saved, text, image):
    config = {"text_config": text, "vision_config": image, "projection_dim": 12, "model_type": "clip"}
    ours, theirs = open_saved("clip", config)
    ids = torch.randint(0, text["vocab_size"] - 2, (3, text["max_position_embeddings"]))
    ids[:, 4:] = text["eos_token_id"]  # sentences end before the row does
    images = rand(3, image["num_channels"], image["image_size"], image["image_size"])
    reference = theirs(input_ids=ids, pixel_values=images, return_loss=True)
    assert_same(ours.encode_text(ids), reference.text_embeds)
    assert_same(ours.encode_image(images), reference.image_embeds)
    assert_same(ours(ids, images), reference.logits_per_image)
    assert_same(contrastive_loss(ours(ids, images)), reference.loss)


def test_text_encoder_keeps_the_published_names_whoever_saved(tmp_path):
    config = TEXTS["one layer, one head"]
    save_ours("text", config, tmp_path / "ours")
    save_theirs("text", config, tmp_path / "theirs")
    ours = load_model(TextEncoder, tmp_path / "theirs", TEXT_WEIGHTS, "cpu", torch.float32)
    save_model(ours, tmp_path / "again", TEXT_WEIGHTS, "CLIPTextModel", torch.float32)
    assert "embeddings.token_embedding.weight" in load_file(tmp_path / "theirs" / TEXT_WEIGHTS)
    names = set(load_file(tmp_path / "again" / TEXT_WEIGHTS))
    assert names == set(load_file(tmp_path / "ours" / TEXT_WEIGHTS))
    assert all(name.startswith("text_model.") for name in names)


@pytest.mark.parametrize("saver", [save_ours, save_theirs])
def test_transformers_finds_nothing_to_complain_of_in_a_text_encoder(tmp_path, saver, caplog):
    saver("text", TEXTS["two layers, heads of 8"], tmp_path)
    with caplog.at_level("WARNING"):
        transformers.utils.logging.enable_propagation()
        net, info = transformers.CLIPTextModel.from_pretrained(tmp_path, output_loading_info=True)
        transformers.utils.logging.disable_propagation()
    assert not any(info.values()) and not caplog.messages
    assert net.config.architectures == ["CLIPTextModel"]


def test_text_encoder_refuses_a_row_longer_than_its_places():
    with pytest.raises(ValueError, match="10 tokens, but this encoder reads 9 at most; cut them"):
        TextEncoder(TEXTS["short sentences"])(torch.zeros(1, 10, dtype=torch.long))


def test_a_word_changes_nothing_before_itself():
    net = randomise(TextEncoder(TEXTS["two layers, heads of 8"]))
    a = torch.randint(0, 90, (1, 77))
    b = a.clone()
    b[0, 40] = (b[0, 40] + 1) % 90
    changed = (net(a) - net(b)).abs().amax(dim=-1)[0] > 0
    assert not changed[:40].any() and changed[40:].all()


# ---- the VAE


def vae_config(widths, layers=1, groups=4, latents=4, channels=3, **more):
    n = len(widths)
    return {
        "block_out_channels": widths,
        "layers_per_block": layers,
        "norm_num_groups": groups,
        "act_fn": "silu",
        "down_block_types": ["DownEncoderBlock2D"] * n,
        "up_block_types": ["UpDecoderBlock2D"] * n,
        "latent_channels": latents,
        "in_channels": channels,
        "out_channels": channels,
        "sample_size": 32,
        **more,
    }


VAES = {
    "one level": (vae_config([8]), (9, 12)),
    "two levels": (vae_config([8, 16]), (16, 16)),
    "SD's four levels and two layers": (vae_config([8, 16, 32, 32], layers=2), (32, 48)),
    "three layers": (vae_config([12, 24], layers=3, groups=6), (12, 20)),
    "narrowing": (vae_config([32, 16, 8], groups=8), (24, 8)),
    "grey pictures, two latent channels": (vae_config([8, 8, 16], latents=2, channels=1), (28, 16)),
    "odd sizes": (vae_config([8, 16, 16], groups=2, scaling_factor=0.5), (13, 27)),
    "one group": (vae_config([6, 10], groups=1, force_upcast=False), (8, 8)),
}


@pytest.mark.parametrize("config, size", VAES.values(), ids=VAES)
def test_vae_equals_diffusers(open_saved, config, size):
    ours, theirs = open_saved("vae", config)
    x = rand(2, config["in_channels"], *size)
    a, b = ours.encode(x), theirs.encode(x).latent_dist
    assert_same(a.mean, b.mean)
    assert_same(a.std, b.std)
    assert_same(a.mode(), b.mode())
    assert_same(a.kl(), b.kl())
    assert_same(ours.decode(b.mean), theirs.decode(b.mean).sample)
    assert ours.scaling_factor == theirs.config.scaling_factor


def test_posterior_sample_is_diffusers_sample_of_the_same_generator(open_saved):
    ours, theirs = open_saved("vae", VAES["two levels"][0])
    a, b = ours.encode(rand(2, 3, 16, 16)), theirs.encode(rand(2, 3, 16, 16)).latent_dist
    assert_same(a.sample(torch.Generator().manual_seed(7)), b.sample(torch.Generator().manual_seed(7)))


def test_posterior_sample_repeats_with_the_generator_and_differs_with_another():
    posterior = randomise(AutoencoderKL(VAES["two levels"][0])).encode(rand(1, 3, 8, 8))
    a, b, c = (posterior.sample(torch.Generator().manual_seed(seed)) for seed in (7, 7, 8))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_log_variance_is_kept_within_its_bounds(open_saved):
    ours, theirs = open_saved("vae", VAES["two levels"][0])
    for net in (ours, theirs):
        net.quant_conv.bias[4:6] = torch.tensor([1e4, -1e4])
    a, b = ours.encode(rand(2, 3, 16, 16)), theirs.encode(rand(2, 3, 16, 16)).latent_dist
    assert (a.logvar.min(), a.logvar.max()) == (-30, 20)
    assert_same(a.logvar, b.logvar)


# ---- the U-Net

CROSS, PLAIN = "CrossAttn", ""


def unet_config(widths, layout, heads, layers=1, groups=4, context=16, **more):
    """`layout` says for every level, from the top, whether it has cross-attention."""
    return {
        "block_out_channels": widths,
        "attention_head_dim": heads,
        "layers_per_block": layers,
        "norm_num_groups": groups,
        "cross_attention_dim": context,
        "sample_size": 8,
        "down_block_types": [f"{kind}DownBlock2D" for kind in layout],
        "up_block_types": [f"{kind}UpBlock2D" for kind in reversed(layout)],
        **more,
    }


UNETS = {
    "one level": (unet_config([8], [CROSS], 2), (8, 8)),
    "the layout of tiny": (unet_config([8, 16], [PLAIN, CROSS], 4, context=12), (16, 16)),
    "the layout of SD 1.5": (unet_config([8, 16, 32, 32], [CROSS] * 3 + [PLAIN], 8, layers=2), (16, 8)),
    "heads for each level": (unet_config([8, 16, 32], [CROSS] * 3, [2, 4, 8]), (8, 16)),
    "heads for each level, one plain": (unet_config([8, 16, 24], [CROSS, PLAIN, CROSS], [1, 2, 6]), (12, 8)),
    "three layers": (unet_config([12, 24], [CROSS, PLAIN], 3, layers=3, groups=6, context=20), (8, 4)),
    "no cross-attention but in the middle": (unet_config([8, 8], [PLAIN, PLAIN], 1, groups=2), (8, 8)),
    "narrowing": (unet_config([32, 16], [CROSS, CROSS], 2, groups=8, context=8), (6, 10)),
    "odd sizes, two levels": (unet_config([8, 16], [CROSS, CROSS], 2), (7, 9)),
    "odd sizes, four levels": (unet_config([8, 8, 16, 16], [PLAIN, CROSS, CROSS, PLAIN], 4), (13, 21)),
    "multiple of two, not of eight": (
        unet_config([8, 8, 8, 8], [CROSS] * 3 + [PLAIN], 1, layers=2),
        (10, 14),
    ),
    "another epsilon": (unet_config([8, 16], [CROSS, PLAIN], 2, norm_eps=1e-3), (8, 8)),
    "other channels": (unet_config([8, 16], [CROSS, PLAIN], 2, in_channels=9, out_channels=3), (8, 8)),
}


@pytest.mark.parametrize("config, size", UNETS.values(), ids=UNETS)
def test_unet_equals_diffusers(open_saved, config, size):
    ours, theirs = open_saved("unet", config)
    z, t = rand(2, config.get("in_channels", 4), *size), torch.tensor([981, 3])
    context = rand(2, 7, config["cross_attention_dim"])
    assert_same(ours(z, t, context), theirs(z, t, context).sample)


def faint(net):
    """Features of about a hundredth, where a norm's epsilon of 1e-5 or 1e-6 makes a difference."""
    for name, value in net.named_parameters():
        if any(part in name for part in ("conv_in", "conv2", "conv_shortcut", "downsamplers")):
            value.mul_(0.01)
    return net


def test_the_epsilon_of_every_norm_in_the_unet_is_diffusers(open_saved):
    ours, theirs = (faint(net) for net in open_saved("unet", UNETS["heads for each level"][0]))
    z, t, context = rand(2, 4, 8, 8), torch.tensor([981, 3]), rand(2, 7, 16)
    assert_same(ours(z, t, context), theirs(z, t, context).sample)


def test_the_epsilon_of_every_norm_in_the_vae_is_diffusers(open_saved):
    ours, theirs = (faint(net) for net in open_saved("vae", VAES["two levels"][0]))
    assert_same(ours.encode(rand(2, 3, 16, 16)).mean, theirs.encode(rand(2, 3, 16, 16)).latent_dist.mean)
    assert_same(ours.decode(rand(2, 4, 8, 8)), theirs.decode(rand(2, 4, 8, 8)).sample)


@pytest.mark.parametrize("t", [0, 1, 500, 999])
def test_a_whole_batch_can_share_one_timestep(t):
    net = randomise(UNet(UNETS["the layout of tiny"][0]))
    z, context = rand(3, 4, 8, 8), rand(3, 7, 12)
    assert_same(net(z, t, context), net(z, torch.full((3,), t), context), 0)


@pytest.mark.parametrize("kind, config", [("vae", VAES["two levels"][0]), ("unet", UNETS["three layers"][0])])
@pytest.mark.parametrize("saver", [save_ours, save_theirs])
def test_diffusers_finds_every_tensor_in_its_place(tmp_path, saver, kind, config):
    saver(kind, config, tmp_path)
    _, info = OURS[kind][2].from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())


@pytest.mark.parametrize(
    "kind, config", [("text", TEXTS["gelu"]), ("vae", VAES["one level"][0]), ("unet", UNETS["one level"][0])]
)
def test_half_precision_on_disk_comes_back_as_asked(tmp_path, kind, config):
    build, weights, reference = OURS[kind]
    net = randomise(build(config))
    save_model(net, tmp_path, weights, reference.__name__, torch.float16)
    back = load_model(build, tmp_path, weights, "cpu", torch.float32)
    assert {tensor.dtype for tensor in load_file(tmp_path / weights).values()} == {torch.float16}
    for name, tensor in back.state_dict().items():
        assert_same(tensor, net.state_dict()[name].half().float(), 0)


# ---- the U-Net's two halves, as a ControlNet needs them


def test_the_halves_take_a_controlnets_residuals_as_diffusers_does():
    """Something is added to every skip and to the middle's features: diffusers' additional residuals."""
    config = small_pipeline().unet.config
    ours = randomise(UNet(config))
    theirs = diffusers.UNet2DConditionModel(**config.to_dict())
    theirs.load_state_dict(ours.state_dict())
    generator = torch.Generator().manual_seed(1)
    z, context = (torch.randn(2, *s, generator=generator) for s in ((4, 8, 8), (7, 16)))
    with torch.no_grad():
        emb = ours.embed_time(501, z)
        h, skips = ours.down(ours.enter(z), emb, context)
        h = ours.mid_block(h, emb, context)
        assert_same(ours.up(h, emb, context, skips), ours(z, 501, context), 0)
        added = [torch.randn(skip.shape, generator=generator) for skip in (*skips, h)]
        steered = ours.up(h + added[-1], emb, context, [a + b for a, b in zip(skips, added)])
        expected = theirs(
            z,
            501,
            context,
            down_block_additional_residuals=tuple(added[:-1]),
            mid_block_additional_residual=added[-1],
        ).sample
    assert_same(steered, expected)
    assert len(skips) == len(added) - 1  # `up` took them from a list of its own


# ---- precisions


def test_the_noise_of_a_posterior_is_drawn_in_float32_whatever_the_network_computes_in():
    """So that a seed means the same in half precision."""
    from minisd.vae import Posterior

    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        posterior = Posterior(torch.zeros(1, 4, 8, 8, dtype=dtype), torch.zeros(1, 4, 8, 8, dtype=dtype))
        drawn = posterior.sample(torch.Generator().manual_seed(3))
        expected = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3)).to(dtype)
        assert drawn.dtype == dtype and torch.equal(drawn, expected)


def test_new_tokens_are_rows_behind_the_old_ones():
    net = randomise(TextEncoder(small_pipeline().text_encoder.config))
    old, size = net.text_model.embeddings.token_embedding.weight.detach().clone(), net.config.vocab_size
    net.add_tokens(torch.full((2, 16), 0.5))
    table = net.text_model.embeddings.token_embedding
    assert net.config.vocab_size == table.num_embeddings == size + 2
    assert torch.equal(table.weight[:size], old) and (table.weight[size:] == 0.5).all()
    assert table.weight.requires_grad
    with torch.no_grad():
        assert net(torch.tensor([[size + 1]])).isfinite().all()
    frozen = randomise(TextEncoder(net.config)).requires_grad_(False)
    frozen.add_tokens(torch.zeros(1, 16))
    assert not frozen.text_model.embeddings.token_embedding.weight.requires_grad

"""What several test files share: random weights, a small pipeline, a comparison that NaN fails."""

import json

import torch

from minisd import AutoencoderKL, StableDiffusion, TextEncoder, UNet
from minisd.tokenizer import BPE

TOLERANCE = 1e-5  # of the largest number in the reference output


def assert_same(ours, theirs, tolerance=TOLERANCE):
    """Shape, dtype and every number; a NaN on either side fails, since it makes the comparison false."""
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    assert (ours - theirs).abs().max().item() <= tolerance * theirs.abs().max().item()


def randomise(net):
    """Every tensor random, norms and biases too: what starts at 0 or 1 would hide a swap."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in net.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if value.ndim < 2:
                value.copy_(0.2 * noise + (1.0 if name.endswith("weight") or value.ndim == 0 else 0.0))
            else:
                value.copy_(noise / value[0].numel() ** 0.5)
    return net.eval()


SENTENCES = [
    "a red house and a yellow tent in the snow at night",
    "two blue cars left of a green tree",
    "a small rocket on the sand by day",
    "an orange balloon right of a white mushroom at sunset",
]

SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "trained_betas": None,
}


def small_pipeline():
    """A whole Stable Diffusion with random weights, about 1e5 of them: pictures 64x64, latents 8x8."""
    tokenizer = BPE.train(SENTENCES, 560)
    text = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "hidden_act": "quick_gelu",
        "max_position_embeddings": 77,
        "layer_norm_eps": 1e-5,
        "projection_dim": 16,
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos,
        "eos_token_id": tokenizer.eos,
        "pad_token_id": tokenizer.eos,
        "model_type": "clip_text_model",
    }
    unet = {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [16, 32],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "cross_attention_dim": 16,
        "attention_head_dim": 4,
    }
    vae = {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": [8, 8, 8, 16],
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "act_fn": "silu",
        "sample_size": 64,
        "scaling_factor": 0.4,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
    }
    return StableDiffusion(
        tokenizer,
        randomise(TextEncoder(text)),
        randomise(UNet(unet)),
        randomise(AutoencoderKL(vae)),
        SCHEDULER,
    )


def write_configs(folder, configs):
    """The files that tell diffusers, without a network, what a single file holds."""
    classes = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "scheduler": "PNDMScheduler"}
    for part, config in configs.items():
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        (folder / part).mkdir(parents=True)
        (folder / part / name).write_text(json.dumps({**config, "_class_name": classes.get(part)}))
    index = {
        "_class_name": "StableDiffusionPipeline",
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        **{part: ["diffusers", name] for part, name in classes.items()},
    }
    (folder / "model_index.json").write_text(json.dumps(index))

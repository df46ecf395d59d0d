"""Stable Diffusion 1.5 on paper: the configs of its three networks and of its scheduler, and all its tensors'
shapes.

The configs are those of the published config.json files, less the keys that begin with "_". The tables in
keys/ list every tensor of the published files, a line each: name, tab, shape.
"""

from pathlib import Path

KEYS = Path(__file__).with_name("keys")

SD15 = {
    "unet": {
        "sample_size": 64,
        "in_channels": 4,
        "out_channels": 4,
        "center_input_sample": False,
        "block_out_channels": [320, 640, 1280, 1280],
        "layers_per_block": 2,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,  # the number of heads, whatever the key says
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "act_fn": "silu",
        "norm_num_groups": 32,
        "norm_eps": 1e-5,
        "downsample_padding": 1,
        "mid_block_scale_factor": 1,
    },
    "vae": {
        "sample_size": 512,
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "act_fn": "silu",
        "norm_num_groups": 32,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
    },
    "text_encoder": {
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "projection_dim": 768,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,  # sic: the tokenizer knows the true ones
    },
    "scheduler": {
        "_class_name": "PNDMScheduler",
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "trained_betas": None,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "set_alpha_to_one": False,
        "clip_sample": False,
    },
}

# ControlNet 1.0 and 1.1 for Stable Diffusion 1.5 (Zhang et al. 2023): its way down is the U-Net's.
OF_THE_UNET_ALONE = ("sample_size", "out_channels", "center_input_sample", "up_block_types")
CONTROLNET = {
    **{key: value for key, value in SD15["unet"].items() if key not in OF_THE_UNET_ALONE},
    "conditioning_channels": 3,
    "conditioning_embedding_out_channels": [16, 32, 96, 256],
    "controlnet_conditioning_channel_order": "rgb",
}


def published_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape in a published file: "unet", "vae", "text_encoder" or "single-file"."""
    lines = (KEYS / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
    return {key: tuple(map(int, shape.split("x"))) for key, shape in (line.split("\t") for line in lines)}

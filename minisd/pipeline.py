"""Stable Diffusion, whole: a sentence in, a picture out."""

import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from .checkpoint import TEXT_WEIGHTS, WEIGHTS, load_model, read_json, save_model, write_json
from .clip import TextEncoder
from .samplers import SAMPLERS, PredictNoise, Step, leading_timesteps
from .schedule import NoiseSchedule
from .tokenizer import BPE
from .unet import UNet
from .vae import AutoencoderKL

TINY = Path(__file__).with_name("tiny")
LARGEST_SEED = 2**32 - 1  # torch's CPU generator reads 32 bits: seed 2**32 would paint seed 0's picture
GUIDANCE_SCALE = 7.5  # Stable Diffusion's customary scale; a model_index.json may name its own
OUTPUT_TYPES = ("pil", "np", "latent")
# What our samplers compute; a scheduler_config.json that asks for anything else is refused.
SCHEDULER = {"prediction_type": "epsilon", "trained_betas": None, "set_alpha_to_one": False, "clip_sample": False,
             "thresholding": False, "rescale_betas_zero_snr": False, "timestep_spacing": "leading"}  # fmt: skip


def guide(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """e_u + s (e_c - e_u): classifier-free guidance (Ho and Salimans 2022, eq. 6, with s = 1 + w)."""
    return unconditional + scale * (conditional - unconditional)


def schedule_of(config: dict) -> NoiseSchedule:
    """The noise schedule that a scheduler_config.json describes; ValueError for one we don't build."""
    for key, value in SCHEDULER.items():
        if config.get(key, value) != value:
            raise ValueError(f"the scheduler config asks for {key}={config[key]!r}; minisd samples with {value!r} only")
    for key in ("beta_start", "beta_end", "num_train_timesteps"):
        if key not in config:
            raise ValueError(f"the scheduler config lacks {key}: fetch scheduler_config.json again")
    kinds = {"scaled_linear": NoiseSchedule.scaled_linear, "linear": NoiseSchedule.linear}
    kind = config.get("beta_schedule", "linear")
    if kind not in kinds:
        raise ValueError(f"the scheduler config asks for beta_schedule={kind!r}; minisd knows {', '.join(kinds)}")
    return kinds[kind](config["beta_start"], config["beta_end"], config["num_train_timesteps"])


class StableDiffusion:
    """Tokenizer, text encoder, U-Net and VAE at work together (Rombach et al. 2022, figure 3)."""

    def __init__(
        self,
        tokenizer: BPE,
        text_encoder: TextEncoder,
        unet: UNet,
        vae: AutoencoderKL,
        scheduler_config: dict,
        guidance_scale: float = GUIDANCE_SCALE,
    ):
        self.tokenizer, self.text_encoder = tokenizer, text_encoder.eval()
        self.unet, self.vae = unet.eval(), vae.eval()
        self.scheduler_config, self.schedule = dict(scheduler_config), schedule_of(scheduler_config)
        self.guidance_scale = guidance_scale
        if len(tokenizer) != text_encoder.vocab_size:
            raise ValueError(f"the tokenizer has {len(tokenizer)} tokens, the text encoder knows "
                             f"{text_encoder.vocab_size}; take both from one model")  # fmt: skip
        if unet.context_dim != text_encoder.width:
            raise ValueError(f"the U-Net reads vectors of {unet.context_dim} numbers, the text encoder makes "
                             f"{text_encoder.width}; take both from one model")  # fmt: skip
        channels = vae.config.get("latent_channels", 4)
        if not channels == unet.in_channels == unet.conv_out.out_channels:
            raise ValueError(f"the U-Net reads {unet.in_channels} channels and predicts {unet.conv_out.out_channels}, "
                             f"the VAE's latents have {channels}: not a text-to-image model")  # fmt: skip

    @classmethod
    def from_pretrained(
        cls, model: str | Path = "tiny", device: str | None = None, dtype: torch.dtype | None = None
    ) -> "StableDiffusion":
        """Load "tiny", which ships with minisd, or a folder in diffusers layout.

        device: "cpu", "cuda", "mps"; by default CUDA where there is one, else the CPU. dtype: float32 by default.
        Raises FileNotFoundError or ValueError, in one line, for a folder that is not a whole model.
        """
        folder = TINY if str(model) == "tiny" else Path(model)
        if not folder.is_dir():
            raise FileNotFoundError(f"no model at {model}: give 'tiny' or a folder in diffusers layout")
        if not (folder / "model_index.json").is_file():
            raise FileNotFoundError(f"{folder} has no model_index.json: it is not a model folder in diffusers layout")
        index = read_json(folder / "model_index.json")
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = dtype or torch.float32
        return cls(
            BPE.from_files(folder / "tokenizer"),
            load_model(TextEncoder, folder / "text_encoder", TEXT_WEIGHTS, device, dtype),
            load_model(UNet, folder / "unet", WEIGHTS, device, dtype),
            load_model(AutoencoderKL, folder / "vae", WEIGHTS, device, dtype),
            read_json(folder / "scheduler" / "scheduler_config.json"),
            index.get("_guidance_scale", GUIDANCE_SCALE),
        )

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Write a folder in diffusers layout, which diffusers.StableDiffusionPipeline opens too."""
        folder = Path(folder)
        self.tokenizer.save(folder / "tokenizer")
        save_model(self.text_encoder, folder / "text_encoder", TEXT_WEIGHTS, "CLIPTextModel", dtype)
        save_model(self.unet, folder / "unet", WEIGHTS, "UNet2DConditionModel", dtype)
        save_model(self.vae, folder / "vae", WEIGHTS, "AutoencoderKL", dtype)
        write_json(self.scheduler_config, folder / "scheduler" / "scheduler_config.json")
        scheduler = self.scheduler_config.get("_class_name", "DDIMScheduler")
        write_json(
            {
                "_class_name": "StableDiffusionPipeline",
                "_guidance_scale": self.guidance_scale,
                "feature_extractor": [None, None],
                "image_encoder": [None, None],
                "requires_safety_checker": False,
                "safety_checker": [None, None],
                "scheduler": ["diffusers", scheduler],
                "text_encoder": ["transformers", "CLIPTextModel"],
                "tokenizer": ["transformers", "CLIPTokenizer"],
                "unet": ["diffusers", "UNet2DConditionModel"],
                "vae": ["diffusers", "AutoencoderKL"],
            },
            folder / "model_index.json",
        )

    @property
    def device(self) -> torch.device:
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.unet.parameters()).dtype

    def encode_prompt(self, prompts: list[str]) -> Tensor:
        """Context (batch, 77, width); a prompt that is too long is cut, with a warning that names the cut words."""
        for prompt in prompts:
            if cut := self.tokenizer.cut(prompt):
                warnings.warn(f"the prompt is too long; the model does not see its end: {cut!r}", stacklevel=3)
        return self.text_encoder(self.tokenizer(prompts).to(self.device))

    def noise_predictor(self, prompts: list[str], negative: list[str], scale: float) -> PredictNoise:
        """The U-Net with its words and its guidance fixed: a function of latents and timestep.

        At scale 1 guidance changes nothing, and the unconditional half is not computed.
        """
        context = self.encode_prompt(prompts)
        if scale == 1:
            return lambda latents, t: self.unet(latents, t, context)
        both = torch.cat([self.encode_prompt(negative), context])

        def predict(latents: Tensor, t: int) -> Tensor:
            return guide(*self.unet(torch.cat([latents, latents]), t, both).chunk(2), scale)

        return predict

    def stream(
        self,
        prompt: str | list[str],
        negative_prompt: str | list[str] | None = None,
        num_inference_steps: int = 50,
        guidance_scale: float | None = None,
        seed: int = 0,
        sampler: str = "ddim",
        eta: float = 0.0,
        height: int | None = None,
        width: int | None = None,
        latents: Tensor | None = None,
    ) -> Iterator[Step]:
        """Paint, yielding every step; `step.latents` of the last one are the finished latents.

        Picture i of the batch starts from noise drawn with seed + i, in float32 on the CPU, so that a
        seed means the same picture alone, in a batch, and on every device. `latents`, (batch, 4,
        height / 8, width / 8 in Stable Diffusion) of unit variance, replace that noise. guidance_scale None: the model's own.
        Raises ValueError for a size, sampler, number of steps or batch that can't be painted.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        if not prompts or not all(isinstance(p, str) for p in prompts):
            raise ValueError("prompt must be a string or a list of strings that is not empty")
        negative = "" if negative_prompt is None else negative_prompt
        negative = [negative] * len(prompts) if isinstance(negative, str) else list(negative)
        if len(negative) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts need one negative prompt or as many, got {len(negative)}")
        if sampler not in SAMPLERS:
            raise ValueError(f"unknown sampler {sampler!r}; choose one of {', '.join(SAMPLERS)}")
        if not 0 <= eta <= 1:
            raise ValueError(f"eta must be between 0 and 1, got {eta}")
        scale = self.guidance_scale if guidance_scale is None else guidance_scale
        if not math.isfinite(scale):
            raise ValueError(f"guidance_scale must be a finite number, got {scale}; 7.5 is customary, 1 turns it off")
        largest = LARGEST_SEED + 1 - len(prompts)
        if not 0 <= seed <= largest:
            raise ValueError(f"seed must be between 0 and {largest} for a batch of {len(prompts)}, got {seed}")
        offset = self.scheduler_config.get("steps_offset", 0)
        timesteps = leading_timesteps(num_inference_steps, self.schedule.steps, offset)
        shape = self._latent_shape(len(prompts), height, width)
        generators = [torch.Generator().manual_seed(seed + i) for i in range(len(prompts))]

        def draw() -> Tensor:
            noise = torch.cat([torch.randn(1, *shape[1:], generator=g) for g in generators])
            return noise.to(self.device, self.dtype)

        if latents is None:
            latents = draw()
        elif tuple(latents.shape) != shape:
            raise ValueError(f"latents have shape {tuple(latents.shape)}, expected {shape}")
        return self._run(SAMPLERS[sampler], prompts, negative, scale, latents, timesteps, eta, draw)

    def _run(self, sampler, prompts, negative, scale, latents, timesteps, eta, draw) -> Iterator[Step]:
        with torch.inference_mode():
            predict = self.noise_predictor(prompts, negative, scale)
            start = latents.to(self.device, self.dtype)
            yield from sampler(predict, start, self.schedule, timesteps, eta, draw)

    def _latent_shape(self, batch: int, height: int | None, width: int | None) -> tuple[int, int, int, int]:
        factor = self.vae.downsampling
        native = self.unet.sample_size * factor
        height = native if height is None else height
        width = native if width is None else width
        for name, value in (("height", height), ("width", width)):
            if value % factor or value <= 0:
                lower = max(value // factor, 1) * factor
                raise ValueError(f"{name} must be a multiple of {factor}, got {value}; try {lower} or {lower + factor}")
        return batch, self.unet.in_channels, height // factor, width // factor

    def decode(self, latents: Tensor) -> np.ndarray:
        """Latents as the samplers give them -> float pictures (batch, height, width, 3) in [0, 1]."""
        with torch.inference_mode():
            pictures = self.vae.decode(latents / self.vae.scaling_factor)
        return (pictures.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()

    def __call__(
        self, prompt: str | list[str], *, num_inference_steps: int = 50, output_type: str = "pil", **options
    ) -> list[Image.Image] | np.ndarray | Tensor:
        """Paint a prompt, or each of a list; `options` are those of `stream`.

        Returns PIL images ("pil"), an array (batch, height, width, 3) in [0, 1] ("np"), or latents ("latent").
        """
        if output_type not in OUTPUT_TYPES:
            raise ValueError(f"unknown output_type {output_type!r}; choose one of {', '.join(OUTPUT_TYPES)}")
        steps = self.stream(prompt, num_inference_steps=num_inference_steps, **options)
        for step in tqdm(steps, total=num_inference_steps, desc="painting", disable=None, leave=False):
            pass
        if output_type == "latent":
            return step.latents
        pictures = self.decode(step.latents)
        return to_pil(pictures) if output_type == "pil" else pictures


def to_pil(pictures: np.ndarray) -> list[Image.Image]:
    """Pictures in [0, 1], (batch, height, width, 3) -> PIL images, rounded to 8 bits."""
    return [Image.fromarray(picture) for picture in (pictures * 255).round().astype(np.uint8)]

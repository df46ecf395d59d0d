"""Stable Diffusion, whole: a sentence in, a picture out."""

import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from .checkpoint import TEXT_WEIGHTS, WEIGHTS, load_model, read_json, save_model, write_json
from .clip import TextEncoder
from .samplers import SAMPLERS, Draw, PredictNoise, Step
from .schedule import NoiseSchedule
from .sd15 import SD15
from .single_file import load_single_file
from .tokenizer import BPE
from .unet import UNet
from .vae import AutoencoderKL

TINY = Path(__file__).with_name("tiny")
HUB_ID = re.compile(r"\w[\w.-]*/(?!.*\.(safetensors|ckpt)$)\w[\w.-]*")  # owner/name, and no file's name
LARGEST_SEED = 2**32 - 1  # torch's CPU generator reads 32 bits: seed 2**32 would paint seed 0's picture
GUIDANCE_SCALE = 7.5  # Stable Diffusion's customary scale; a model_index.json may name its own
STRENGTH = 0.8  # diffusers' default: four fifths of the steps are taken
OUTPUT_TYPES = ("pil", "np", "latent")
Pictures = Image.Image | list[Image.Image] | np.ndarray | Tensor
# The networks: our class, the name of the weight file, the class in transformers or diffusers.
NETWORKS = {
    "text_encoder": (TextEncoder, TEXT_WEIGHTS, "CLIPTextModel"),
    "unet": (UNet, WEIGHTS, "UNet2DConditionModel"),
    "vae": (AutoencoderKL, WEIGHTS, "AutoencoderKL"),
}
# What our samplers compute; a scheduler_config.json that asks for anything else is refused.
SCHEDULER = {
    "prediction_type": "epsilon",
    "trained_betas": None,
    "set_alpha_to_one": False,
    "clip_sample": False,
    "thresholding": False,
    "rescale_betas_zero_snr": False,
    "skip_prk_steps": True,
}


def guide(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """e_u + s (e_c - e_u): classifier-free guidance (Ho and Salimans 2022, eq. 6, with s = 1 + w)."""
    return unconditional + scale * (conditional - unconditional)


def schedule_of(config: dict) -> NoiseSchedule:
    """The noise schedule that a scheduler_config.json describes; ValueError for one we don't build."""
    for key, value in SCHEDULER.items():
        if config.get(key, value) != value:
            raise ValueError(
                f"the scheduler config asks for {key}={config[key]!r}; minisd samples with {value!r} only"
            )
    if lacking := [key for key in ("beta_start", "beta_end", "num_train_timesteps") if key not in config]:
        raise ValueError(f"the scheduler config lacks {lacking[0]}: fetch scheduler_config.json again")
    kinds = {"scaled_linear": NoiseSchedule.scaled_linear, "linear": NoiseSchedule.linear}
    kind = config.get("beta_schedule", "linear")
    if kind not in kinds:
        raise ValueError(
            f"the scheduler config asks for beta_schedule={kind!r}; minisd knows {', '.join(kinds)}"
        )
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
        self.spacing = scheduler_config.get("timestep_spacing")  # None: every sampler its own
        self.guidance_scale = guidance_scale
        if len(tokenizer) != text_encoder.vocab_size:
            raise ValueError(
                f"the tokenizer has {len(tokenizer)} tokens, the text encoder knows "
                f"{text_encoder.vocab_size}; take both from one model"
            )
        if unet.context_dim != text_encoder.width:
            raise ValueError(
                f"the U-Net reads vectors of {unet.context_dim} numbers, the text encoder makes "
                f"{text_encoder.width}; take both from one model"
            )
        channels = self.latent_channels = vae.config.get("latent_channels", 4)
        self.inpaints = (
            unet.in_channels == 2 * channels + 1
        )  # it reads latents, mask, the masked image's latents
        if unet.conv_out.out_channels != channels or not (self.inpaints or unet.in_channels == channels):
            raise ValueError(
                f"the U-Net reads {unet.in_channels} channels and predicts {unet.conv_out.out_channels}, "
                f"the VAE's latents have {channels}: no text-to-image or inpainting model"
            )

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "tiny",
        device: str | None = None,
        dtype: torch.dtype | None = None,
        tokenizer: str | Path | None = None,
    ) -> "StableDiffusion":
        """Load "tiny", which ships with minisd; a folder in diffusers layout; a .safetensors or .ckpt file; a
        hub id.

        A hub id, "sd15" or "owner/name", is looked for in the hub's cache on this machine, else downloaded.
        device: "cpu", "cuda", "mps"; by default CUDA where there is one, else the CPU. dtype: float32 by
        default. tokenizer: a folder with merges.txt; by default the folder `tokenizer` of the model, or
        beside the one file. Raises FileNotFoundError or ValueError, in one line, for what is not a whole
        model.
        """
        path = TINY if str(model) == "tiny" else Path(model)
        if not path.exists():
            from .hub import PUBLISHED, fetch  # here, because importing it takes a while

            path = fetch(str(model)) if str(model) in PUBLISHED or HUB_ID.fullmatch(str(model)) else path
        if not path.exists():
            raise FileNotFoundError(
                f"no model at {model}: give 'tiny', a folder in diffusers layout, a .safetensors "
                "or .ckpt file, or a hub id such as owner/name"
            )
        single, folder = path.is_file(), path.parent if path.is_file() else path
        if not single and not (folder / "model_index.json").is_file():
            raise FileNotFoundError(
                f"{folder} has no model_index.json: it is not a model folder in diffusers layout"
            )
        words = Path(tokenizer or folder / "tokenizer")
        if single and not words.exists():
            raise FileNotFoundError(
                f"{path} holds no tokenizer, and there is none at {words}: give tokenizer=FOLDER, "
                "the tokenizer/ with merges.txt of any Stable Diffusion 1.x folder"
            )
        bpe, dtype = BPE.from_files(words), dtype or torch.float32
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        if single:
            return cls(bpe, *load_single_file(path, device, dtype), SD15["scheduler"])
        networks = [
            load_model(build, folder / name, weights, device, dtype)
            for name, (build, weights, _) in NETWORKS.items()
        ]
        return cls(
            bpe,
            *networks,
            read_json(folder / "scheduler" / "scheduler_config.json"),
            read_json(folder / "model_index.json").get("_guidance_scale", GUIDANCE_SCALE),
        )

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Write a folder in diffusers layout, which diffusers.StableDiffusionPipeline opens too."""
        folder = Path(folder)
        self.tokenizer.save(folder / "tokenizer")
        for name, (_, weights, class_name) in NETWORKS.items():
            save_model(getattr(self, name), folder / name, weights, class_name, dtype)
        write_json(self.scheduler_config, folder / "scheduler" / "scheduler_config.json")
        index = {
            "_class_name": f"StableDiffusion{'Inpaint' if self.inpaints else ''}Pipeline",
            "_diffusers_version": "0.42.1",  # diffusers opens no inpainting model that does not name one
            "_guidance_scale": self.guidance_scale,
            "requires_safety_checker": False,
            "feature_extractor": [None, None],
            "image_encoder": [None, None],
            "safety_checker": [None, None],
            "scheduler": ["diffusers", self.scheduler_config.get("_class_name", "DDIMScheduler")],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        }
        write_json(index, folder / "model_index.json")

    @property
    def device(self) -> torch.device:
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.unet.parameters()).dtype

    def encode_prompt(self, prompts: list[str]) -> Tensor:
        """Context (batch, 77, width); a prompt that is too long is cut, with a warning that names the cut
        words.
        """
        for prompt in prompts:
            if cut := self.tokenizer.cut(prompt):
                warnings.warn(
                    f"the prompt is too long; the model does not see its end: {cut!r}", stacklevel=3
                )
        return self.text_encoder(self.tokenizer(prompts).to(self.device))

    def noise_predictor(
        self, prompts: list[str], negative: list[str], scale: float, beside: Tensor | None = None
    ) -> PredictNoise:
        """The U-Net with its words and its guidance fixed: a function of latents and timestep.

        At scale 1 guidance changes nothing, and the unconditional half is not computed. `beside`, (batch, 5,
        height, width), is what an inpainting U-Net reads beside the latents: the mask and the masked image's
        latents.
        """
        context = self.encode_prompt(prompts)
        if scale != 1:
            context = torch.cat([self.encode_prompt(negative), context])

        def predict(latents: Tensor, t: float) -> Tensor:
            seen = latents if beside is None else torch.cat([latents, beside], dim=1)
            if scale == 1:
                return self.unet(seen, t, context)
            return guide(*self.unet(torch.cat([seen, seen]), t, context).chunk(2), scale)

        return predict

    def timesteps(
        self, num_inference_steps: int = 50, sampler: str = "ddim", strength: float = 1.0
    ) -> list[float]:
        """The timesteps that `stream` visits, largest first: the last int(num_inference_steps * strength)
        steps.

        ("pndm" asks the U-Net once more than it takes steps, and begins one entry earlier.) Raises ValueError
        for an unknown sampler, a number of steps that the schedule does not have, and a strength that is
        outside (0, 1] or leaves no step.
        """
        if sampler not in SAMPLERS:
            raise ValueError(f"unknown sampler {sampler!r}; choose one of {', '.join(SAMPLERS)}")
        if not 0 < strength <= 1:
            raise ValueError(f"strength must be above 0 and at most 1, got {strength}")
        offset = self.scheduler_config.get("steps_offset", 0)
        timesteps = SAMPLERS[sampler].timesteps(num_inference_steps, self.schedule, offset, self.spacing)
        if not (steps := int(num_inference_steps * strength)):
            least = math.ceil(1000 / num_inference_steps) / 1000
            raise ValueError(
                f"strength {strength} of {num_inference_steps} steps leaves none to take; "
                f"give a strength of at least {least} or more steps"
            )
        return timesteps[num_inference_steps - steps :]

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
        image: Pictures | None = None,
        strength: float = STRENGTH,
        mask_image: Pictures | None = None,
        num_images_per_prompt: int = 1,
    ) -> Iterator[Step]:
        """Paint, yielding every step; `step.latents` of the last one are the finished latents.

        Picture i of the batch is painted with noise drawn with seed + i, in float32 on the CPU, so that a
        seed means the same picture alone, in a batch, and on every device. `latents`, (batch, 4, height / 8,
        width / 8 in Stable Diffusion) of unit variance, replace the noise it starts from. The batch is prompt
        by prompt, `num_images_per_prompt` pictures of each. guidance_scale None: the model's own.

        image: paint over this one instead of from nothing. It is encoded, noised for the timestep at which
        the last int(num_inference_steps * strength) steps begin, and painted from there (SDEdit, Meng et al.
        2022). A PIL image, a list of them, an array (n, height, width, 3) in [0, 1] or a tensor (n, 3,
        height, width) in [-1, 1], where n is 1 or the number of prompts. `prepare` says how it is resized: to
        height and width, or where they are None to its own size, rounded down to multiples of 8.

        mask_image: repaint the image where this is white (at least 0.5) and keep it where it is black; like
        `image`, but arrays and tensors have one channel, in [0, 1]. An inpainting U-Net, of 9 channels, reads
        mask and masked image at every step; with any other the image's latents, noised for that step, replace
        what is outside the mask (RePaint, Lugmayr et al. 2022, eq. 8). With strength 1, diffusers' default
        for inpainting, it begins from noise alone.

        Raises ValueError for what can't be painted: a size, sampler, number of steps, batch, strength, image
        or mask.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        if not prompts or not all(isinstance(p, str) for p in prompts):
            raise ValueError("prompt must be a string or a list of strings that is not empty")
        negative = "" if negative_prompt is None else negative_prompt
        negative = [negative] * len(prompts) if isinstance(negative, str) else list(negative)
        if len(negative) != len(prompts):
            raise ValueError(
                f"{len(prompts)} prompts need one negative prompt or as many, got {len(negative)}"
            )
        if num_images_per_prompt < 1:
            raise ValueError(f"num_images_per_prompt must be at least 1, got {num_images_per_prompt}")
        timesteps = self.timesteps(num_inference_steps, sampler, 1.0 if image is None else strength)
        if not 0 <= eta <= 1:
            raise ValueError(f"eta must be between 0 and 1, got {eta}")
        scale = self.guidance_scale if guidance_scale is None else guidance_scale
        if not math.isfinite(scale):
            raise ValueError(
                f"guidance_scale must be a finite number, got {scale}; 7.5 is customary, 1 turns it off"
            )
        batch = len(prompts) * num_images_per_prompt
        largest = LARGEST_SEED + 1 - batch
        if not 0 <= seed <= largest:
            raise ValueError(f"seed must be between 0 and {largest} for a batch of {batch}, got {seed}")
        shape = self._latent_shape(batch, height, width)
        if (self.inpaints or mask_image is not None) and (image is None or mask_image is None):
            what = (
                "this model, whose U-Net reads 9 channels, is for" if self.inpaints else "mask_image asks for"
            )
            raise ValueError(f"{what} inpainting: give both image and mask_image")
        if image is not None:
            image = prepare(image, "image", len(prompts), height, width, self.vae.downsampling)
            shape = self._latent_shape(batch, *image.shape[2:])
        if mask_image is not None:
            mask_image = prepare(
                mask_image, "mask_image", len(prompts), *image.shape[2:], self.vae.downsampling
            )
        if latents is not None and tuple(latents.shape) != shape:
            raise ValueError(f"latents have shape {tuple(latents.shape)}, expected {shape}")
        generators = [torch.Generator().manual_seed(seed + i) for i in range(batch)]

        def draw() -> Tensor:
            noise = torch.cat([torch.randn(1, *shape[1:], generator=g) for g in generators])
            return noise.to(self.device, self.dtype)

        words = [
            [text for text in texts for _ in range(num_images_per_prompt)] for texts in (prompts, negative)
        ]
        return self._run(
            SAMPLERS[sampler], (*words, scale), timesteps, eta, draw, latents, image, mask_image, strength
        )

    @torch.inference_mode()  # as a decorator it is off while the caller looks at a step
    def _run(self, sampler, words, timesteps, eta, draw, latents, image, mask, strength) -> Iterator[Step]:
        """The work of `stream`. It draws in diffusers' order: for the image, for the start, for the masked
        image.
        """
        from_noise = image is None or (mask is not None and strength == 1)
        x0 = None if image is None or (self.inpaints and from_noise) else self._encode(image, draw)
        noise = draw() if latents is None else latents.to(self.device, self.dtype)
        beside = None
        if mask is not None:
            # diffusers draws for the masked image with any U-Net, though only one for inpainting reads it
            kept = self._encode(image * (1 - mask), draw) if self.inpaints else draw()
            mask = (
                F.interpolate(mask, noise.shape[2:])
                .to(noise)
                .repeat_interleave(len(noise) // len(mask), dim=0)
            )
            beside = torch.cat([mask, kept], dim=1) if self.inpaints else None
        start = (
            sampler.start(noise, self.schedule, timesteps, self.spacing)
            if from_noise
            else sampler.noised(x0, noise, self.schedule, timesteps[0])
        )
        predict = self.noise_predictor(*words, beside)
        for step in sampler.run(predict, start, self.schedule, timesteps, eta, draw):
            if mask is not None and not self.inpaints:
                later = timesteps[step.index + 1 :]
                outside = sampler.noised(x0, noise, self.schedule, later[0]) if later else x0
                step.latents.copy_(
                    (1 - mask) * outside + mask * step.latents
                )  # in place: the sampler goes on from it
            yield step

    def _encode(self, pictures: Tensor, draw: Draw) -> Tensor:
        """Pictures (n, 3, height, width) -> scaled latents of the whole batch, each drawn from its posterior."""
        posterior, fresh = self.vae.encode(pictures.to(self.device, self.dtype)), draw()
        times = len(fresh) // len(pictures)
        mean, std = (x.repeat_interleave(times, dim=0) for x in (posterior.mean, posterior.std))
        return self.vae.scaling_factor * (mean + std * fresh)

    def _latent_shape(self, batch: int, height: int | None, width: int | None) -> tuple[int, int, int, int]:
        factor, native = self.vae.downsampling, self.unet.sample_size
        for name, value in (("height", height), ("width", width)):
            if value is not None and (value % factor or value <= 0):
                lower = max(value // factor, 1) * factor
                raise ValueError(
                    f"{name} must be a multiple of {factor}, got {value}; try {lower} or {lower + factor}"
                )
        sides = (native if value is None else value // factor for value in (height, width))
        return batch, self.latent_channels, *sides

    def decode(self, latents: Tensor) -> np.ndarray:
        """Latents as the samplers give them -> float pictures (batch, height, width, 3) in [0, 1]."""
        with torch.inference_mode():
            pictures = self.vae.decode(latents / self.vae.scaling_factor)
        return (pictures.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()

    def __call__(
        self,
        prompt: str | list[str],
        *,
        num_inference_steps: int = 50,
        sampler: str = "ddim",
        image: Pictures | None = None,
        strength: float = STRENGTH,
        output_type: str = "pil",
        **options,
    ) -> list[Image.Image] | np.ndarray | Tensor:
        """Paint a prompt, or each of a list; the arguments, with `options`, are those of `stream`.

        Returns PIL images ("pil"), an array (batch, height, width, 3) in [0, 1] ("np"), or latents
        ("latent").
        """
        if output_type not in OUTPUT_TYPES:
            raise ValueError(f"unknown output_type {output_type!r}; choose one of {', '.join(OUTPUT_TYPES)}")
        total = len(self.timesteps(num_inference_steps, sampler, 1.0 if image is None else strength))
        steps = self.stream(
            prompt,
            num_inference_steps=num_inference_steps,
            sampler=sampler,
            image=image,
            strength=strength,
            **options,
        )
        for step in tqdm(steps, total=total, desc="painting", disable=None, leave=False):
            pass
        if output_type == "latent":
            return step.latents
        pictures = self.decode(step.latents)
        return to_pil(pictures) if output_type == "pil" else pictures


def to_pil(pictures: np.ndarray) -> list[Image.Image]:
    """Pictures in [0, 1], (batch, height, width, 3) -> PIL images, rounded to 8 bits."""
    return [Image.fromarray(picture) for picture in (pictures * 255).round().astype(np.uint8)]


def prepare(
    pictures: Pictures, name: str, prompts: int, height: int | None, width: int | None, factor: int
) -> Tensor:
    """The `image` or `mask_image` of `StableDiffusion.stream`, read and resized as diffusers'
    VaeImageProcessor does.

    PIL images are resized with Lanczos' filter, arrays and tensors take the nearest pixel. height or width
    None: the (first) picture's own, rounded down to a multiple of `factor`. Returns (n, 3, height, width) in
    [-1, 1] for an image, (n, 1, height, width) of zeros and ones for a mask. Raises ValueError, in one line,
    for anything else.
    """
    mask = name == "mask_image"
    channels, low = (1, 0) if mask else (3, -1)

    def size(own_height: int, own_width: int) -> tuple[int, int]:
        return tuple(
            wanted or max(own // factor, 1) * factor
            for wanted, own in ((height, own_height), (width, own_width))
        )

    given = [pictures] if isinstance(pictures, Image.Image) else pictures
    if isinstance(given, list) and given and all(isinstance(picture, Image.Image) for picture in given):
        high, wide = size(given[0].height, given[0].width)
        given = [picture if mask else picture.convert("RGB") for picture in given]
        given = [picture.resize((wide, high), Image.Resampling.LANCZOS) for picture in given]
        given = np.stack(
            [np.asarray(picture.convert("L" if mask else "RGB")) / np.float32(255) for picture in given]
        )
        given = given.reshape(-1, high, wide, channels)
    if isinstance(given, np.ndarray) and given.ndim == 4:
        given = torch.from_numpy(given.astype(np.float32)).movedim(-1, 1)
        given = given if mask else 2 * given - 1
    if not isinstance(given, Tensor) or given.ndim != 4 or given.shape[1] != channels or not given.numel():
        raise ValueError(
            f"{name} must be a PIL image, a list of them, an array (n, height, width, {channels}) or a "
            f"tensor (n, {channels}, height, width), got {getattr(pictures, 'shape', type(pictures))}"
        )
    if not (low <= given.min() and given.max() <= 1):
        raise ValueError(
            f"{name} must be in [0, 1] as an array, in [{low}, 1] as a tensor; divide bytes by 255"
        )
    if len(given) not in (1, prompts):
        raise ValueError(
            f"{name} holds {len(given)} pictures for {prompts} prompts; give one, or as many as prompts"
        )
    given = F.interpolate(given.to("cpu", torch.float32), size(*given.shape[2:]))
    return (given >= 0.5).float() if mask else given

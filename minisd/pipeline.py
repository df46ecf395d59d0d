"""Stable Diffusion, whole: a sentence in, a painting out."""

import math
import operator
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from tqdm.auto import tqdm

from .clip import TextEncoder
from .config import GUIDANCE_SCALE, LARGEST_SEED, STEPS, STRENGTH
from .controlnet import ControlNet
from .models import Parts, load, pick_device, save_file, save_folder
from .notes import note
from .pictures import Pictures, note_size, prepare, to_pil
from .samplers import SAMPLERS, Draw, Keep, PredictNoise, Step, Way
from .schedule import schedule_of
from .tokenizer import BPE, other_syntax
from .unet import UNet
from .vae import AutoencoderKL

OUTPUT_TYPES = ("pil", "np", "latent")
UNUSED = "no prompt has the learned word"


def guide(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """e_u + s (e_c - e_u): classifier-free guidance (Ho and Salimans 2022, eq. 6, with s = 1 + w)."""
    return unconditional + scale * (conditional - unconditional)


def rescale_guidance(guided: Tensor, conditional: Tensor, share: float) -> Tensor:
    """Bring the guided guess towards the spread of the one with words (Lin et al. 2024, eqs. 14 to 16).

    share 0 leaves it, share 1 gives each picture's guess the standard deviation of its conditional guess.
    """
    axes = tuple(range(1, guided.ndim))
    ratio = conditional.std(axes, keepdim=True) / guided.std(axes, keepdim=True)
    return share * ratio * guided + (1 - share) * guided


class StableDiffusion:
    """Tokenizer, text encoder, U-Net and VAE at work together (Rombach et al. 2022, figure 3).

    offload: the device to compute on, to which networks that rest on the CPU come when their turn is; None:
    all compute where they are.
    """

    def __init__(
        self,
        tokenizer: BPE,
        text_encoder: TextEncoder,
        unet: UNet,
        vae: AutoencoderKL,
        scheduler_config: Mapping[str, Any],
        guidance_scale: float = GUIDANCE_SCALE,
        controlnet: ControlNet | None = None,
        offload: torch.device | None = None,
    ):
        self.offload = offload
        self._working: tuple[nn.Module | None, ...] = ()  # what was brought to it
        self.tokenizer, self.text_encoder = tokenizer, text_encoder.eval()
        self.unet, self.vae = unet.eval(), vae.eval()
        self.scheduler_config, self.schedule = dict(scheduler_config), schedule_of(scheduler_config)
        self.guidance_scale, self.controlnet = guidance_scale, controlnet
        if len(tokenizer) != text_encoder.config.vocab_size:
            raise ValueError(
                f"the tokenizer has {len(tokenizer)} tokens, the text encoder knows "
                f"{text_encoder.config.vocab_size}; take both from one model"
            )
        if tokenizer.max_length > text_encoder.config.max_position_embeddings:
            raise ValueError(
                f"the tokenizer makes rows of {tokenizer.max_length} tokens, the text encoder reads "
                f"{text_encoder.config.max_position_embeddings}; take both from one model"
            )
        if unet.config.cross_attention_dim != text_encoder.config.hidden_size:
            raise ValueError(
                f"the U-Net reads vectors of {unet.config.cross_attention_dim} numbers, the text encoder "
                f"makes {text_encoder.config.hidden_size}; take both from one model"
            )
        channels, reads = vae.config.latent_channels, unet.config.in_channels
        self.inpaints = reads == 2 * channels + 1  # it reads latents, mask, the masked image's latents
        if unet.config.out_channels != channels or not (self.inpaints or reads == channels):
            raise ValueError(
                f"the U-Net reads {reads} channels and predicts {unet.config.out_channels}, the VAE's "
                f"latents have {channels}: no text-to-image or inpainting model"
            )
        if controlnet is not None:
            check_controlnet(controlnet, unet, vae)
            controlnet.eval()

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "tiny",
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        tokenizer: str | Path | None = None,
        vae: str | Path | None = None,
        controlnet: str | Path | ControlNet | None = None,
        offload: bool = False,
    ) -> "StableDiffusion":
        """Load "tiny", a folder in diffusers layout, a .safetensors or .ckpt file, or a model of the hub.

        A hub id, "sd15" or "owner/name", is looked for in the hub's cache on this machine, else downloaded.
        device: "cpu", "cuda", "mps"; by default CUDA where there is one, else the CPU. dtype: float32 by
        default. tokenizer: a folder with merges.txt; by default the folder `tokenizer` of the model, or
        beside the one file. vae: the folder or file of another VAE, for a model that has none or a poor one.
        controlnet: a ControlNet, the folder or file of one, or "tiny-plans", which reads maps and outlines
        and ships beside tiny; by default the model's own. Later, `pipe.controlnet = net` puts in another,
        and None takes it out. offload: keep all networks on the CPU, and each on the device only while it
        works: less memory there, and some time for each move (diffusers' `enable_model_cpu_offload`).

        On a CPU, float32 weights stay in their file, mapped, in its order. `pipe.unet.to(memory_format=
        torch.channels_last)`, and the same of `pipe.vae`, lays them out as convolutions read them: in Stable
        Diffusion, steps take 0.86 of the time and memory grows by half (benchmarks/fullsize.md). dtype=
        torch.bfloat16 takes 0.56 of a step's time where the processor has it, and changes pictures.

        Raises FileNotFoundError or ValueError, in one line, for what is not a whole model.
        """
        chosen = pick_device(device)
        if offload and chosen.type == "cpu":
            note("offload changes nothing here: the networks compute on the CPU, where they rest")
        parts = load(model, "cpu" if offload else chosen, dtype, tokenizer, vae, controlnet)
        return cls(**parts._asdict(), offload=chosen if offload else None)

    def save_pretrained(self, path: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Write a folder in diffusers layout, or one file if the name ends in .safetensors."""
        parts = Parts(
            self.tokenizer,
            self.text_encoder,
            self.unet,
            self.vae,
            self.scheduler_config,
            self.guidance_scale,
            self.controlnet,
        )
        save = save_file if Path(path).suffix == ".safetensors" else save_folder
        save(parts, Path(path), dtype)

    @property
    def device(self) -> torch.device:
        return self.offload or next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.unet.parameters()).dtype

    @property
    def default_sampler(self) -> str:
        """ddim, or where it can't follow the model's scheduler config, the sampler that the config names.

        If we don't have that one, it is the first that can.
        """
        own = self.scheduler_config.get("_class_name")
        named = [name for name, sampler in SAMPLERS.items() if sampler.class_name == own]
        for name in ("ddim", *named, "dpmpp_2m", *SAMPLERS):
            try:
                SAMPLERS[name].settings(self.scheduler_config)
            except ValueError:
                continue
            if SAMPLERS[name].fits(self.scheduler_config.get("timestep_spacing")):
                return name
        return "ddim"

    def bring(self, *networks: nn.Module | None) -> None:
        """With `offload`: these networks on the device, and those that were there back on the CPU."""
        if self.offload is None or networks == self._working:
            return
        resting, self._working = self._working, networks
        with torch.inference_mode(False):  # weights that were moved within it could never be trained again
            for place, group in (("cpu", resting), (self.offload, networks)):
                for network in group:
                    if network is not None:
                        network.to(place)

    @contextmanager
    def at_work(self, *networks: nn.Module | None) -> Iterator[None]:
        """`bring` these networks for the `with`; after it, or an error in it, none is left on the device."""
        try:
            self.bring(*networks)
            yield
        finally:
            self.bring()

    def compile(self, **options: Any) -> None:
        """Have the U-Net translated by torch.compile, with its options, when the first picture is painted.

        That takes minutes and needs a C++ compiler, or Triton on a GPU; then every step of pictures of that
        size and number saves what the translation gains (benchmarks/RESULTS.md). mode="reduce-overhead" uses
        CUDA graphs; nobody has run it on a GPU yet.
        """
        self.unet.compile(**options)

    def encode_prompt(self, prompts: Sequence[str], clip_skip: int = 0) -> Tensor:
        """Context (batch, 77, width). What the model does not see of a prompt, or can't use, is noted."""
        ids, rests = self.tokenizer.read(list(prompts))
        for prompt, rest in zip(prompts, rests, strict=True):
            if rest:
                note(f"the prompt is too long; the model does not see its end: {rest!r}")
            for remark in other_syntax(prompt):
                note(remark)
        with self.at_work(self.text_encoder):
            return self.text_encoder(ids.to(self.device), clip_skip)

    def unused_words(self, prompts: Sequence[str]) -> list[str]:
        """The learned words that none of these prompts has, in their first spelling."""
        said = {i for prompt in prompts for i in self.tokenizer.encode(prompt)}
        learned: dict[int, str] = {}  # a word's first id, and the word
        for word, ids in self.tokenizer.added.items():
            learned.setdefault(ids[0], word)
        return [word for i, word in learned.items() if i not in said]

    def noise_predictor(
        self,
        context: Tensor,
        scale: float,
        beside: Tensor | None = None,
        control: Tensor | None = None,
        control_scale: float = 1.0,
        rescale: float = 0.0,
        guided: tuple[float, float] = (-math.inf, math.inf),
    ) -> PredictNoise:
        """The U-Net with its words and its guidance fixed: a function of latents and timestep.

        context: as `encode_prompt` reads it, all the negative prompts before all the prompts; at scale 1,
        where guidance changes nothing, the prompts alone. `beside`, (batch, 5, height, width), is what an
        inpainting U-Net reads beside the latents: the mask and the masked image's latents. `control`, (batch,
        3, 8 height, 8 width) in [0, 1], is the picture that the ControlNet reads, for both halves alike.
        rescale: see `rescale_guidance`. guided: the smallest and the largest timestep with guidance; at the
        others the network is asked once, with the prompts.
        """

        def predict(latents: Tensor, t: float) -> Tensor:
            self.bring(self.unet, self.controlnet)
            seen = latents if beside is None else torch.cat([latents, beside], dim=1)
            guides = scale != 1 and guided[0] <= t <= guided[1]
            halves = 2 if guides else 1
            heard = context if guides else context[-len(seen) :]
            time = torch.as_tensor(t, device=seen.device)  # of a number, torch.compile would make a constant
            steered: tuple[Any, ...] = ()
            if self.controlnet is not None and control is not None:
                z, picture = torch.cat([latents] * halves), torch.cat([control] * halves)
                steered = self.controlnet(z, time, heard, picture, control_scale)
            noise = self.unet(torch.cat([seen] * halves), time, heard, *steered)
            if not guides:
                return noise
            unconditional, conditional = noise.chunk(2)
            noise = guide(unconditional, conditional, scale)
            return rescale_guidance(noise, conditional, rescale) if rescale else noise

        return predict

    def way(
        self,
        num_inference_steps: int = STEPS,
        sampler: str | None = None,
        strength: float = 1.0,
        eta: float = 0.0,
        use_karras_sigmas: bool | None = None,
    ) -> Way:
        """The way that `stream` follows: the last int(num_inference_steps * strength) of the steps.

        sampler None: `default_sampler`, which is ddim for most models.

        Raises ValueError for an unknown sampler, a number of steps that the schedule does not have, an eta
        that is not in [0, 1], a strength that is not in (0, 1] or leaves no step, and settings of the model's
        scheduler config that the sampler does not compute.
        """
        sampler = self.default_sampler if sampler is None else sampler
        if sampler not in list(SAMPLERS):
            raise ValueError(f"unknown sampler {sampler!r}; choose one of {', '.join(SAMPLERS)}")
        if not 0 < as_float("strength", strength) <= 1:
            raise ValueError(f"strength must be above 0 and at most 1, got {strength}")
        if not 0 <= as_float("eta", eta) <= 1:
            raise ValueError(f"eta must be between 0 and 1, got {eta}")
        wanted = as_int("num_inference_steps", num_inference_steps)
        options = SAMPLERS[sampler].settings(self.scheduler_config)
        if use_karras_sigmas is not None:
            options["use_karras_sigmas"] = use_karras_sigmas
        way = SAMPLERS[sampler].way(self.schedule, wanted, eta=eta, **options)
        if not (steps := int(wanted * strength)):
            least = math.ceil(1000 / wanted) / 1000
            raise ValueError(
                f"strength {strength} of {wanted} steps leaves none to take; "
                f"give a strength of at least {least} or more steps"
            )
        return way.last(steps)

    def stream(
        self,
        prompt: str | list[str],
        negative_prompt: str | list[str] | None = None,
        num_inference_steps: int = STEPS,
        guidance_scale: float | None = None,
        seed: int | None = 0,
        sampler: str | None = None,
        eta: float = 0.0,
        height: int | None = None,
        width: int | None = None,
        latents: Tensor | None = None,
        image: Pictures | None = None,
        strength: float = STRENGTH,
        mask_image: Pictures | None = None,
        num_images_per_prompt: int = 1,
        use_karras_sigmas: bool | None = None,
        clip_skip: int | None = None,
        paste_back: bool = True,
        control_image: Pictures | None = None,
        controlnet_conditioning_scale: float = 1.0,
        guidance_rescale: float = 0.0,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
    ) -> "Painting":
        """Read the prompt and plan a painting; iterate over it to paint, step by step.

        Picture i of the batch is painted with noise drawn with seed + i, in float32 on the CPU, so that a
        seed means the same picture alone, in a batch, and on every device; seed None draws one
        (`painting.seed`). `latents`, (batch, 4, height / 8, width / 8 in Stable Diffusion) of unit variance,
        replace the noise it starts from. The batch is prompt by prompt, `num_images_per_prompt` pictures of
        each. guidance_scale None: the model's own. use_karras_sigmas: the noise levels of Karras et al. 2022;
        None: as the model's scheduler config says. clip_skip: how many of the text encoder's last layers are
        left out.

        guidance_rescale: from 0, none, to 1: how far guided noise is brought back to the spread of the noise
        guessed with words (Lin et al. 2024, section 3.4, who use 0.7). guidance_interval: the first and the
        last of the guided steps as shares of all steps; outside it the prompt is read without guidance
        (Kynkäänniemi et al. 2024), and a step costs half. (0.2, 0.8) of 50 steps guides the 11th to the 40th.

        image: paint over this one instead of from nothing. It is encoded, noised for the timestep at which
        the last int(num_inference_steps * strength) steps begin, and painted from there (SDEdit, Meng et al.
        2022). A PIL image, a list of them, an array (n, height, width, 3) in [0, 1] or a tensor (n, 3,
        height, width) in [-1, 1], where n is 1 or the number of prompts. `prepare` says how it is resized: to
        height and width, or where they are None to its own size, rounded down to multiples of 8.

        mask_image: repaint the image where this is white (at least 0.5) and keep it where it is black; like
        `image`, but arrays and tensors have one channel, in [0, 1]. An inpainting U-Net, of 9 channels, reads
        mask and masked image at every step; with any other the image's latents, noised for that step, replace
        what is outside the mask (RePaint, Lugmayr et al. 2022, eq. 8). With strength 1, diffusers' default
        for inpainting, it begins from noise alone. paste_back: put the kept pixels back as they were at the
        end; diffusers leaves them as the VAE returns them.

        control_image: what the ControlNet reads at every step, an outline or a map. Like `image`, but tensors
        are in [0, 1], and it is resized to the image where there is one. controlnet_conditioning_scale: how
        much of what the ControlNet says is added, 0 for nothing.

        Raises ValueError for what can't be painted: a size, sampler, number of steps, batch, strength, image
        or mask, a control_image without a ControlNet.
        """
        way = self.way(
            num_inference_steps, sampler, 1.0 if image is None else strength, eta, use_karras_sigmas
        )
        prompts, negative = texts(prompt, negative_prompt)
        batch = len(prompts) * as_int("num_images_per_prompt", num_images_per_prompt, 1)
        scale = as_float("guidance_scale", self.guidance_scale if guidance_scale is None else guidance_scale)
        rescale = as_float("guidance_rescale", guidance_rescale)
        if not 0 <= rescale <= 1:
            raise ValueError(f"guidance_rescale must be between 0 and 1, got {guidance_rescale}")
        guided = guided_timesteps(way, guidance_interval)
        seed = pick_seed(seed, batch)
        picture, mask = self._pictures(image, mask_image, len(prompts), height, width)
        size = (height, width) if picture is None else picture.shape[2:]
        control = self._control(control_image, len(prompts), *size)
        size = size if control is None else control.shape[2:]
        shape = self._latent_shape(batch, *size)
        if latents is not None and tuple(latents.shape) != shape:
            raise ValueError(f"latents have shape {tuple(latents.shape)}, expected {shape}")
        context = self._read(prompts, negative, scale, num_images_per_prompt, clip_skip or 0)
        from_noise = picture is None or (mask is not None and strength == 1)
        return Painting(
            pipe=self,
            way=way,
            context=context,
            scale=scale,
            seed=seed,
            shape=shape,
            latents=latents,
            image=picture,
            mask=mask,
            from_noise=from_noise,
            paste_back=paste_back,
            control=control,
            control_scale=as_float("controlnet_conditioning_scale", controlnet_conditioning_scale),
            rescale=rescale,
            guided=guided,
        )

    def _read(
        self, prompts: list[str], negative: list[str], scale: float, each: int, clip_skip: int
    ) -> Tensor:
        """The context of the batch: every text read once, the negative prompts' first unless scale is 1."""
        if scale == 1 and any(negative):
            note("at guidance 1 the negative prompt has no effect: raise the guidance scale to use it")
        if unused := self.unused_words([*prompts, *negative]):
            note(f"{UNUSED} {', '.join(map(repr, unused))}: write it to use it")
        wanted = prompts if scale == 1 else [*negative, *prompts]
        with torch.inference_mode():
            return self.encode_prompt(wanted, clip_skip).repeat_interleave(each, dim=0)

    def _pictures(
        self,
        image: Pictures | None,
        mask_image: Pictures | None,
        prompts: int,
        height: int | None,
        width: int | None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Image and mask as `prepare` makes them; ValueError where one is missing."""
        if (self.inpaints or mask_image is not None) and (image is None or mask_image is None):
            what = (
                "this model, whose U-Net reads 9 channels, is for" if self.inpaints else "mask_image asks for"
            )
            raise ValueError(f"{what} inpainting: give both image and mask_image")
        self._check_size(height, width)
        if image is None:
            return None, None
        factor = self.vae.config.downsampling
        picture = prepare(image, "image", prompts, height, width, factor)
        if mask_image is None:
            return picture, None
        high, wide = picture.shape[2:]
        mask = prepare(mask_image, "mask_image", prompts, high, wide, factor)
        if not mask.any():
            note("the mask is black everywhere: nothing is repainted; white marks what to paint anew")
        return picture, mask

    def _control(
        self, control_image: Pictures | None, prompts: int, height: int | None, width: int | None
    ) -> Tensor | None:
        """The picture for the ControlNet as `prepare` makes it; ValueError where there is no ControlNet."""
        if control_image is None:
            return None
        if self.controlnet is None:
            raise ValueError(
                "control_image is for a ControlNet, and this model has none: load one with controlnet=FOLDER "
                '(--controlnet), for tiny "tiny-plans", or set pipe.controlnet'
            )
        check_controlnet(self.controlnet, self.unet, self.vae)
        return prepare(control_image, "control_image", prompts, height, width, self.vae.config.downsampling)

    def _latent_shape(self, batch: int, height: int | None, width: int | None) -> tuple[int, int, int, int]:
        self._check_size(height, width)
        factor, native = self.vae.config.downsampling, self.unet.config.sample_size
        high, wide = (native if value is None else value // factor for value in (height, width))
        note_size(high * factor, wide * factor, native * factor)
        return batch, self.vae.config.latent_channels, high, wide

    def _check_size(self, height: int | None, width: int | None) -> None:
        """ValueError for a side that is no multiple of 8."""
        factor = self.vae.config.downsampling
        for name, value in (("height", height), ("width", width)):
            if value is not None and (as_int(name, value) % factor or value <= 0):
                lower = max(value // factor, 1) * factor
                raise ValueError(
                    f"{name} must be a multiple of {factor}, got {value}; try {lower} or {lower + factor}"
                )

    def decode(self, latents: Tensor) -> np.ndarray:
        """Latents as the samplers give them -> float pictures (batch, height, width, 3) in [0, 1].

        Raises FloatingPointError where they, or the pictures, hold NaN or infinity.
        """
        if not latents.isfinite().all():
            raise FloatingPointError(
                "the latents went beyond what numbers can hold: give a smaller guidance scale; if that does "
                "not help, the U-Net's weights or a LoRA are damaged, or need float32"
            )
        with torch.inference_mode(), self.at_work(self.vae):
            pictures = self.vae.decode(latents / self.vae.scaling_factor).float()
        if not pictures.isfinite().all():
            raise FloatingPointError(
                "the VAE made a picture of NaN or infinity: its file is damaged (fetch it again, or give "
                "another with --vae), or it needs float32"
            )
        return (pictures / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()

    def __call__(
        self, prompt: str | list[str], *args: Any, output_type: str = "pil", **options: Any
    ) -> list[Image.Image] | np.ndarray | Tensor:
        """Paint a prompt, or each of a list; the arguments are those of `stream`.

        Returns PIL images ("pil"), an array (batch, height, width, 3) in [0, 1] ("np"), or latents
        ("latent").
        """
        if output_type not in OUTPUT_TYPES:
            raise ValueError(f"unknown output_type {output_type!r}; choose one of {', '.join(OUTPUT_TYPES)}")
        painting = self.stream(prompt, *args, **options)
        if options.get("seed", 0) is None:
            note(f"painted with seed {painting.seed}; give it again to have the same picture")
        for step in tqdm(painting, desc="painting", disable=None, leave=False):
            finished = step.latents
        if output_type == "latent":
            return finished
        pictures = painting.decode(finished)
        return to_pil(pictures) if output_type == "pil" else pictures


@dataclass(frozen=True)
class Painting:
    """A painting, planned and its prompt read: sized, and iterable for its steps, any number of times."""

    pipe: StableDiffusion
    way: Way
    context: Tensor  # of the negative prompts, then of the prompts; at scale 1 of the prompts alone
    scale: float
    seed: int
    shape: tuple[int, int, int, int]  # of the latents
    latents: Tensor | None  # to start from instead of drawn noise
    image: Tensor | None  # (n, 3, height, width) in [-1, 1]
    mask: Tensor | None  # (n, 1, height, width), 1 where it is repainted
    from_noise: bool  # or else from the noised image
    paste_back: bool
    rescale: float  # of the guided noise
    guided: tuple[float, float]  # the smallest and the largest timestep with guidance
    control: Tensor | None = None  # (n, 3, height, width) in [0, 1]
    control_scale: float = 1.0

    def __len__(self) -> int:
        return len(self.way)

    @torch.inference_mode()  # on a generator it is off while the caller looks at a step
    def __iter__(self) -> Iterator[Step]:
        """Paint. It draws in diffusers' order: for the image, for the start, for the masked image."""
        pipe, way, draw = self.pipe, self.way, self._dice()
        x0 = None
        if self.image is not None and not (pipe.inpaints and self.from_noise):
            x0 = self._encode(self.image, draw)
        noise = draw() if self.latents is None else self.latents.to(pipe.device, pipe.dtype)
        start = way.start(noise) if x0 is None or self.from_noise else way.noised(x0, noise)
        beside, keep = None, None
        if self.image is not None and self.mask is not None:
            mask = F.interpolate(self.mask, noise.shape[2:]).to(noise)
            mask = mask.repeat_interleave(len(noise) // len(mask), dim=0)
            # diffusers draws for the masked image with any U-Net, though only one for inpainting reads it
            kept = self._encode(self.image * (1 - self.mask), draw) if pipe.inpaints else draw()
            if pipe.inpaints:
                beside = torch.cat([mask, kept], dim=1)
            elif x0 is not None:
                keep = keep_outside(way, x0, noise, mask)
        control = self.control
        if control is not None:
            control = control.to(noise).repeat_interleave(len(noise) // len(control), dim=0)
        predict_noise = pipe.noise_predictor(
            self.context, self.scale, beside, control, self.control_scale, self.rescale, self.guided
        )
        with pipe.at_work():  # the first step brings the U-Net, and the end sends it home, a `break` too
            yield from way.walk(predict_noise, start, draw, keep)

    def decode(self, latents: Tensor) -> np.ndarray:
        """Latents of a step -> float pictures (batch, height, width, 3) in [0, 1], kept pixels included."""
        pictures = self.pipe.decode(latents)
        if self.mask is None or self.image is None or not self.paste_back:
            return pictures
        times = len(pictures) // len(self.image), len(pictures) // len(self.mask)
        image = (self.image / 2 + 0.5).repeat_interleave(times[0], dim=0).permute(0, 2, 3, 1).numpy()
        mask = self.mask.repeat_interleave(times[1], dim=0).permute(0, 2, 3, 1).numpy()
        return np.where(mask > 0, pictures, image)

    def _dice(self) -> Draw:
        """Fresh noise for the whole batch, each picture's from its own seed."""
        batch, *rest = self.shape
        generators = [torch.Generator().manual_seed(self.seed + i) for i in range(batch)]

        def draw() -> Tensor:
            drawn = [torch.randn(1, *rest, generator=g, dtype=torch.float32) for g in generators]
            return torch.cat(drawn).to(self.pipe.device, self.pipe.dtype)

        return draw

    def _encode(self, pictures: Tensor, draw: Draw) -> Tensor:
        """Pictures (n, 3, height, width) -> scaled latents of the batch, each drawn from its posterior."""
        pipe = self.pipe
        with pipe.at_work(pipe.vae):
            posterior = pipe.vae.encode(pictures.to(pipe.device, pipe.dtype))
        fresh = draw()
        times = len(fresh) // len(pictures)
        mean, std = (x.repeat_interleave(times, dim=0) for x in (posterior.mean, posterior.std))
        return pipe.vae.scaling_factor * (mean + std * fresh)


def keep_outside(way: Way, x0: Tensor, noise: Tensor, mask: Tensor) -> Keep:
    """What inpainting goes on from after each step: outside the mask x0, noised for it (RePaint, eq. 8)."""

    def keep(latents: Tensor, index: int) -> Tensor:
        last = index == len(way) - 1
        outside = x0 if last else way.noised(x0, noise, way.reached[index])
        return (1 - mask) * outside + mask * latents

    return keep


def guided_timesteps(way: Way, interval: Sequence[float]) -> tuple[float, float]:
    """The smallest and the largest timestep of the steps in an interval of shares (start, end) of the way.

    They are the steps number int(start * len(way)) to int(end * len(way)) - 1, as in diffusers' guiders. An
    interval that holds no step gives (inf, -inf), which holds no timestep.
    """
    if not isinstance(interval, Sequence) or isinstance(interval, str) or len(interval) != 2:
        raise ValueError(f"guidance_interval must be two shares such as (0.2, 0.8), got {interval!r}")
    start, end = (as_float("guidance_interval", share) for share in interval)
    if not 0 <= start <= end <= 1:
        raise ValueError(f"guidance_interval must be two rising shares from 0 to 1, got {interval!r}")
    inside = way.asked[int(start * len(way)) : int(end * len(way))]
    return min(inside, default=math.inf), max(inside, default=-math.inf)


# ---- what users give, checked


def check_controlnet(controlnet: ControlNet, unet: UNet, vae: AutoencoderKL) -> None:
    """ValueError, in one line, for a ControlNet that was made for another kind of model."""
    if not isinstance(controlnet, ControlNet):
        raise ValueError(f"controlnet must be a minisd.ControlNet, got a {type(controlnet).__name__}")
    own, theirs = controlnet.config, unet.config
    facts = {
        "latents of {} channels": (own.in_channels, vae.config.latent_channels),
        "pictures of {} channels": (own.conditioning_channels, 3),
        "latents {} times smaller than the picture": (own.downsampling, vae.config.downsampling),
        "words of {} numbers": (own.cross_attention_dim, theirs.cross_attention_dim),
        "levels of {} channels": (own.block_out_channels, theirs.block_out_channels),
        "levels of {} layers": (own.layers_per_block, theirs.layers_per_block),
    }
    for what, (made_for, here) in facts.items():
        if made_for != here:
            raise ValueError(
                f"the ControlNet is made for {what.format(made_for)}, this model has {here}: take a "
                "ControlNet that was trained for this kind of model"
            )


def as_int(name: str, value: Any, least: int | None = None) -> int:
    """A whole number, of Python or numpy; ValueError for anything else."""
    try:
        found = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, got {value!r}") from None
    if least is not None and found < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return found


def as_float(name: str, value: Any) -> float:
    """A finite number; ValueError for anything else."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, got {value!r}") from None
    if not math.isfinite(found):
        raise ValueError(f"{name} must be a finite number, got {value}")
    return found


def texts(prompt: Any, negative_prompt: Any) -> tuple[list[str], list[str]]:
    """Prompts and negative prompts, one for one."""
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, (list, tuple)) or not prompts or not all(isinstance(p, str) for p in prompts):
        raise ValueError("prompt must be a string or a list of strings that is not empty")
    negative = "" if negative_prompt is None else negative_prompt
    negative = [negative] * len(prompts) if isinstance(negative, str) else negative
    if not isinstance(negative, (list, tuple)) or not all(isinstance(n, str) for n in negative):
        raise ValueError("negative_prompt must be a string, a list of strings, or None")
    if len(negative) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts need one negative prompt or as many, got {len(negative)}")
    return list(prompts), list(negative)


def pick_seed(seed: Any, batch: int) -> int:
    """The seed of a batch's first picture; None draws one."""
    largest = LARGEST_SEED + 1 - batch
    if seed is None:
        return secrets.randbelow(largest + 1)
    if not 0 <= as_int("seed", seed) <= largest:
        raise ValueError(f"seed must be between 0 and {largest} for a batch of {batch}, got {seed}")
    return as_int("seed", seed)

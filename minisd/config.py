"""The networks' configs as frozen dataclasses, read from a config.json and checked; defaults that all share.

Nothing here needs torch, so the command line and a training recipe can look before anything heavy is loaded.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

DEVICES = ("cpu", "cuda", "mps")
LARGEST_SEED = 2**32 - 1  # torch's CPU generator reads 32 bits: seed 2**32 would paint seed 0's picture
GUIDANCE_SCALE = 7.5  # Stable Diffusion's customary scale; a model_index.json may name its own
STEPS = 30  # of ddim; more change nothing that we could count: benchmarks/steps.md; diffusers takes 50
STRENGTH = 0.8  # diffusers' default: four fifths of the steps are taken
SAMPLER_NAMES = ("ddpm", "ddim", "pndm", "euler", "euler_a", "lms", "dpmpp_2m")

# No Stable Diffusion 1.x comes near these; a damaged or hostile config would ask for all the memory there is.
MOST = {
    "vocab_size": 2**20,
    "layers_per_block": 32,
    "num_hidden_layers": 64,
    "max_position_embeddings": 2**16,
}
MOST_OTHERS, MOST_LEVELS, MOST_FLOAT = 2**14, 8, 1e6
LONGEST_NAME = 200  # characters of a name that an error shows; the longest of a tensor's have about a hundred
# What training tools leave in a network's config; it changes nothing about the network.
OF_TRAINING = frozenset(
    "decay min_decay optimization_step update_after_step use_ema_warmup inv_gamma power update_every".split()
)


@dataclass(frozen=True)
class Config:
    """What every network's config shares: reading, checking, writing."""

    NAME: ClassVar[str]  # in errors
    KIND: ClassVar[str] = "a Stable Diffusion 1.x model"  # what a config is not that asks for more
    CLASS: ClassVar[str | None] = None  # the network's in diffusers, where its configs name it
    FIXED: ClassVar[Mapping[str, Any]] = {}  # keys whose value our code computes; another is refused
    UNUSED: ClassVar[frozenset[str]] = frozenset()  # keys that a forward pass does not depend on
    WRITTEN: ClassVar[Mapping[str, Any]] = {}  # what readers of our files need besides the fields

    @classmethod
    def from_dict(cls, config: "Mapping[str, Any] | Config") -> Self:
        """The config that a config.json describes; a config of this class comes back as it is.

        Raises ValueError, in one line, for a value of the wrong kind or size and for a key that asks for what
        minisd does not build.
        """
        if isinstance(config, cls):
            return config
        if not isinstance(config, Mapping):
            raise ValueError(f"{cls.NAME}: a config is a dictionary, got {shown(config)}")
        own = {field.name: field.default for field in fields(cls)}
        if cls.CLASS and config.get("_class_name", cls.CLASS) != cls.CLASS:
            raise ValueError(
                f"{cls.NAME}: the config is of a {shown(config['_class_name'])}, expected {cls.CLASS}"
            )
        for key, value in config.items():
            if key not in own:
                cls._check_other(key, value)
        return cls(**{key: cls._read(key, config[key], own[key]) for key in own if key in config})

    def to_dict(self) -> dict[str, Any]:
        """The dictionary of a config.json: what `from_dict` and diffusers or transformers read."""
        values = {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }
        return values | dict(self.WRITTEN)

    @classmethod
    def _check_other(cls, key: Any, value: Any) -> None:
        """Refuse a key that is no field of ours, unless it changes nothing."""
        if not isinstance(key, str) or key.startswith("_") or key in cls.UNUSED | OF_TRAINING:
            return
        if key in cls.FIXED:
            allowed = cls.FIXED[key] if isinstance(cls.FIXED[key], tuple) else (cls.FIXED[key],)
            if not all(type(one) in (type(a) for a in allowed) and one in allowed for one in listed(value)):
                raise ValueError(
                    f"{cls.NAME}: the config asks for {key}={shown(value)}, but minisd builds only "
                    f"{' or '.join(map(repr, allowed))}; this is not {cls.KIND}"
                )
        elif not all(one is None or one is False for one in listed(value)):
            raise ValueError(
                f"{cls.NAME}: the config has {printed(key)}={shown(value)}, which minisd does not know; this "
                f"is not {cls.KIND}"
            )

    @classmethod
    def _read(cls, key: str, value: Any, default: Any) -> Any:
        """A field's value, of the kind its default has; a list of equal values stands for one of them."""
        if isinstance(default, tuple):
            if not isinstance(value, (list, tuple)) or not 1 <= len(value) <= MOST_LEVELS:
                raise ValueError(
                    f"{cls.NAME}: {key} must be a list of 1 to {MOST_LEVELS}, got {shown(value)}"
                )
            if any(isinstance(one, (list, tuple)) for one in value):
                raise ValueError(f"{cls.NAME}: {key} must be a plain list, got {shown(value)}")
            return tuple(cls._read(key, one, default[0]) for one in value)
        if isinstance(default, Config):
            return type(default).from_dict(value)
        plain = isinstance(value, (list, tuple)) and not any(isinstance(one, (list, dict)) for one in value)
        if plain and value and all(one == value[0] for one in value):
            value = value[0]
        if isinstance(default, str):
            right, wanted = isinstance(value, str), "a text"
        elif isinstance(default, float):
            right = (
                isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= MOST_FLOAT
            )
            wanted = f"a number above 0 and at most {MOST_FLOAT:g}"
        else:
            most = MOST.get(key, MOST_OTHERS)
            right = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most
            wanted = f"a whole number from 1 to {most}"
        if not right:
            raise ValueError(f"{cls.NAME}: {key} must be {wanted}, got {shown(value)}")
        return value


def shown(value: Any) -> str:
    """A value as an error shows it: no longer than part of a line."""
    try:
        text = " ".join(repr(value)[:200].split())
    except (RecursionError, ValueError):  # brackets in brackets; a number of thousands of digits
        text = f"a {type(value).__name__} beyond reason"
    return text if len(text) <= 60 else f"{text[:57]}..."


def printed(name: Any) -> str:
    """A name out of a file as an error shows it: as it stands, unless it is long, would not print, or is
    none.
    """
    fine = isinstance(name, str) and name.isprintable() and len(name) <= LONGEST_NAME
    return name if fine else shown(name)


def listed(value: Any) -> list[Any]:
    """The values of a list, or the one value: newer configs repeat some keys for every level."""
    return list(value) if isinstance(value, (list, tuple)) and len(value) else [value]


def check_groups(name: str, widths: tuple[int, ...], groups: int) -> None:
    """GroupNorm needs widths that the groups share evenly."""
    if odd := [width for width in widths if width % groups]:
        raise ValueError(f"{name}: {groups} groups (norm_num_groups) can't share {odd[0]} channels evenly")


def check_heads(name: str, width: int, heads: int) -> None:
    """Attention needs a width that its heads share evenly."""
    if width % heads:
        raise ValueError(f"{name}: {heads} attention heads can't share a width of {width} evenly")


@dataclass(frozen=True)
class DownPathConfig(Config):
    """What the configs of the U-Net and of a ControlNet share: the way down and the middle.

    `attention_head_dim` is the number of heads, at each level or at all of them, whatever its name says.
    """

    in_channels: int = 4
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    down_block_types: tuple[str, ...] = (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D")
    cross_attention_dim: int = 1280
    attention_head_dim: int | tuple[int, ...] = 8
    norm_num_groups: int = 32
    norm_eps: float = 1e-5

    PATHS: ClassVar[tuple[str, ...]] = ("down",)
    FIXED: ClassVar[Mapping[str, Any]] = {
        "act_fn": ("silu", "swish"),
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "downsample_padding": 1,
        "mid_block_scale_factor": (1, 1.0),
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "transformer_layers_per_block": 1,
        "time_embedding_type": "positional",
        "resnet_time_scale_shift": "default",
        "conv_in_kernel": 3,
        "conv_out_kernel": 3,
        "dropout": (0.0, 0),
        "attention_type": "default",
        "resnet_out_scale_factor": (1.0, 1),
        "addition_embed_type_num_heads": 64,
    }
    UNUSED = frozenset({"upcast_attention"})  # a precision, which the caller chooses here
    WRITTEN: ClassVar[Mapping[str, Any]] = {"flip_sin_to_cos": True, "freq_shift": 0, "act_fn": "silu"}

    @classmethod
    def _read(cls, key: str, value: Any, default: Any) -> Any:
        if key == "attention_head_dim" and isinstance(value, (list, tuple)):
            return super()._read(key, value, (default,))
        return super()._read(key, value, default)

    def __post_init__(self) -> None:
        levels = len(self.block_out_channels)
        for path in self.PATHS:
            kinds = (f"CrossAttn{path.title()}Block2D", f"{path.title()}Block2D")
            types = getattr(self, f"{path}_block_types")
            if len(types) != levels or not set(types) <= set(kinds):
                raise ValueError(
                    f"{self.NAME}: {path}_block_types must be {levels} out of {kinds[0]!r} and {kinds[1]!r}, "
                    f"got {shown(types)}"
                )
        if isinstance(self.attention_head_dim, tuple) and len(self.attention_head_dim) != levels:
            raise ValueError(
                f"{self.NAME}: {len(self.attention_head_dim)} numbers of heads for {levels} levels"
            )
        check_groups(self.NAME, self.block_out_channels, self.norm_num_groups)
        if self.block_out_channels[0] % 2:
            raise ValueError(
                f"{self.NAME}: the first of block_out_channels must be even, got {self.block_out_channels[0]}"
            )
        for i, (width, heads) in enumerate(zip(self.block_out_channels, self.heads, strict=True)):
            if self.attends(i) or i == levels - 1:  # the middle block attends whatever the lowest level does
                check_heads(self.NAME, width, heads)

    def attends(self, level: int) -> bool:
        """Whether there is a transformer at this level, counted from the picture down."""
        return "CrossAttn" in self.down_block_types[level]

    @property
    def heads(self) -> tuple[int, ...]:
        """The number of attention heads at each level, from the picture down."""
        if isinstance(self.attention_head_dim, tuple):
            return self.attention_head_dim
        return (self.attention_head_dim,) * len(self.block_out_channels)


@dataclass(frozen=True)
class UNetConfig(DownPathConfig):
    """unet/config.json (diffusers' UNet2DConditionModel); the defaults are the reference implementation's."""

    sample_size: int = 64
    out_channels: int = 4
    up_block_types: tuple[str, ...] = ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3)

    NAME = "U-Net"
    CLASS = "UNet2DConditionModel"
    PATHS = ("down", "up")

    def attends(self, level: int) -> bool:
        return super().attends(level) or "CrossAttn" in self.up_block_types[-1 - level]


@dataclass(frozen=True)
class ControlNetConfig(DownPathConfig):
    """A ControlNet's config.json (diffusers' ControlNetModel); the defaults are the reference
    implementation's.
    """

    conditioning_channels: int = 3
    conditioning_embedding_out_channels: tuple[int, ...] = (16, 32, 96, 256)

    NAME = "ControlNet"
    CLASS = "ControlNetModel"
    KIND = "a plain ControlNet for Stable Diffusion 1.x"
    FIXED: ClassVar[Mapping[str, Any]] = {
        **DownPathConfig.FIXED,
        "controlnet_conditioning_channel_order": "rgb",
    }

    @property
    def downsampling(self) -> int:
        """How many times smaller each side of the latents is than the condition's picture."""
        return 2 ** (len(self.conditioning_embedding_out_channels) - 1)


@dataclass(frozen=True)
class VAEConfig(Config):
    """vae/config.json (diffusers' AutoencoderKL); the defaults are the reference implementation's."""

    in_channels: int = 3
    out_channels: int = 3
    latent_channels: int = 4
    block_out_channels: tuple[int, ...] = (64,)
    layers_per_block: int = 1
    norm_num_groups: int = 32
    scaling_factor: float = 0.18215
    sample_size: int = 32
    down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",)

    NAME = "VAE"
    CLASS = "AutoencoderKL"
    FIXED: ClassVar[Mapping[str, Any]] = {
        "act_fn": ("silu", "swish"),
        "mid_block_add_attention": True,
        "use_quant_conv": True,
        "use_post_quant_conv": True,
    }
    UNUSED = frozenset({"force_upcast"})  # a precision, which the caller chooses here
    WRITTEN: ClassVar[Mapping[str, Any]] = {"act_fn": "silu"}

    def __post_init__(self) -> None:
        levels = len(self.block_out_channels)
        for key, block in (
            ("down_block_types", "DownEncoderBlock2D"),
            ("up_block_types", "UpDecoderBlock2D"),
        ):
            if getattr(self, key) != (block,) * levels:
                raise ValueError(
                    f"VAE: {key} must be {levels} times {block!r}, got {shown(getattr(self, key))}"
                )
        check_groups("VAE", self.block_out_channels, self.norm_num_groups)

    @property
    def downsampling(self) -> int:
        """How many times smaller each side of the latents is than the picture's: 8 in Stable Diffusion."""
        return 2 ** (len(self.block_out_channels) - 1)


# What a published CLIP config also holds and a forward pass does not depend on: dropout, first weights, and
# what old versions of transformers wrote of their text generation.
CLIP_UNUSED = frozenset(
    """architectures attention_dropout chunk_size_feed_forward dropout dtype id2label initializer_factor
    initializer_range is_encoder_decoder label2id model_type output_attentions output_hidden_states
    problem_type return_dict tie_word_embeddings torch_dtype transformers_version use_bfloat16
    add_cross_attention bad_words_ids begin_suppress_tokens cross_attention_hidden_size
    decoder_start_token_id diversity_penalty do_sample early_stopping encoder_no_repeat_ngram_size
    exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id is_decoder
    length_penalty logit_scale_init_value max_length min_length no_repeat_ngram_size num_beam_groups
    num_beams num_return_sequences output_scores prefix pruned_heads remove_invalid_values
    repetition_penalty return_dict_in_generate sep_token_id suppress_tokens task_specific_params temperature
    tf_legacy_loss tie_encoder_decoder tokenizer_class top_k top_p torchscript typical_p""".split()
)
ACTIVATIONS = ("quick_gelu", "gelu")


@dataclass(frozen=True)
class TowerConfig(Config):
    """What the configs of CLIP's two towers share."""

    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    projection_dim: int = 512

    def __post_init__(self) -> None:
        check_heads(self.NAME, self.hidden_size, self.num_attention_heads)
        if self.hidden_act not in ACTIVATIONS:
            raise ValueError(
                f"{self.NAME}: hidden_act must be one of {', '.join(ACTIVATIONS)}, got "
                f"{shown(self.hidden_act)}"
            )


@dataclass(frozen=True)
class TextConfig(TowerConfig):
    """text_encoder/config.json (transformers' CLIPTextModel).

    The token ids are kept for other programs alone. Stable Diffusion's own file states wrong ones (0, 2, 1):
    the tokenizer knows the true ones.
    """

    vocab_size: int = 49408
    max_position_embeddings: int = 77
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None

    NAME = "text encoder"
    UNUSED = CLIP_UNUSED
    # transformers takes the dtype from here, or else from the file, and would compute in half precision.
    WRITTEN: ClassVar[Mapping[str, Any]] = {"model_type": "clip_text_model", "torch_dtype": "float32"}

    @classmethod
    def _read(cls, key: str, value: Any, default: Any) -> Any:
        if key.endswith("_token_id"):  # a list, or nothing, in some files
            return value if isinstance(value, int) and not isinstance(value, bool) else None
        return super()._read(key, value, default)


@dataclass(frozen=True)
class ImageConfig(TowerConfig):
    """The picture half of CLIP (transformers' CLIPVisionModelWithProjection)."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_attention_heads: int = 12
    image_size: int = 224
    patch_size: int = 32
    num_channels: int = 3

    NAME = "image encoder"
    UNUSED = CLIP_UNUSED | {"bos_token_id", "eos_token_id", "pad_token_id"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size < self.patch_size:
            raise ValueError(
                f"image encoder: a picture of {self.image_size} pixels holds no patch of {self.patch_size}"
            )


@dataclass(frozen=True)
class CLIPConfig(Config):
    """Both halves of CLIP and the width of the space in which they meet (transformers' CLIPModel)."""

    text_config: TextConfig = TextConfig()
    vision_config: ImageConfig = ImageConfig()
    projection_dim: int = 512

    NAME = "CLIP"
    UNUSED = CLIP_UNUSED | {"bos_token_id", "eos_token_id", "pad_token_id"}

    def to_dict(self) -> dict[str, Any]:
        return {
            "text_config": self.text_config.to_dict(),
            "vision_config": self.vision_config.to_dict(),
            "projection_dim": self.projection_dim,
        }

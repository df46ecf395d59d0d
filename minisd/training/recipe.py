"""What a training is asked for: a recipe such as tiny.toml, each value checked before anything is trained.

Every section of the file is a frozen dataclass here. A value of the wrong type or out of its range, an
unknown key, a missing one, and sizes that don't fit together all raise ValueError with one line.
"""

import reprlib
import tomllib
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args

from ..config import ImageConfig, TextConfig, UNetConfig, VAEConfig

TINY_RECIPE = Path(__file__).with_name("tiny.toml")
POCKET_RECIPE = TINY_RECIPE.with_name("pocket.toml")  # chapter 14's short form
BOOK_RECIPE = TINY_RECIPE.with_name("book.toml")  # and its full form
STAGES = {  # what `minisd train` accepts, and the stages that it stands for, in order
    "tokenizer": ["tokenizer"],
    "clip": ["pictures", "clip"],
    "vae": ["pictures", "vae", "latents", "decoder"],
    "unet": ["unet", "export"],
    "all": ["pictures", "tokenizer", "clip", "vae", "latents", "decoder", "unet", "export"],
}
DTYPES = ("float32", "bfloat16", "float16")
LARGEST_FILE = 2**15  # bytes; tiny.toml has a tenth, and tomllib needs minutes for some of a million
PROMPT_TOKENS = 77  # what every prompt is padded to, as in CLIP
COLOUR_CHANNELS = 3
MOST_WEIGHTS = 2e9  # of one network; Stable Diffusion 1.5's U-Net has 0.86e9
LARGEST_SHOWN = 10**20  # beyond it a number's digits would not fit into a line
NAMES_SHOWN = 3
CHANGE_NOTHING = (
    "save_every",
    "snapshots",
)  # settings about what is kept on the way, not about what is learned

SectionKind = TypeVar("SectionKind", bound="Section")


def number(low: float, high: float, default: Any = MISSING) -> Any:
    """A dataclass field for a number from `low` to `high`, both allowed."""
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the recipe; its numbers are checked whenever one is made."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            if "low" in entry.metadata:
                check_number(entry.name, getattr(self, entry.name), entry.type is int, **entry.metadata)


@dataclass(frozen=True, kw_only=True)
class TokenizerSection(Section):
    """How many tokens are learned, from how many captions."""

    size: int = number(514, 100_000)
    captions: int = number(1, 10_000_000)


@dataclass(frozen=True, kw_only=True)
class Phase(Section):
    """One run of the training loop, by AdamW; with `muon_peak` above 0, matrices and kernels by Muon.

    `snapshots` are the steps after which the weights and their average are kept for good; 0 is before the
    first.
    """

    steps: int = number(1, 100_000_000)
    batch_size: int = number(1, 4096)
    learning_rate_peak: float = number(1e-12, 1.0)
    muon_peak: float = number(0.0, 1.0, 0.0)
    warmup: int = number(0, 100_000_000, 200)
    ema_decay: float = number(0.0, 0.9999999, 0.999)
    save_every: int = number(1, 100_000_000, 250)
    snapshots: tuple = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_steps("snapshots", self.snapshots, self.steps)
        object.__setattr__(self, "snapshots", tuple(self.snapshots))


@dataclass(frozen=True, kw_only=True)
class CLIPSection(Section):
    """The text encoder and the image encoder, which learn to agree: on mixed pictures, then on twins."""

    mixed: Phase
    twins: Phase
    text_config: TextConfig
    vision_config: ImageConfig


@dataclass(frozen=True, kw_only=True)
class PaintingPhase(Phase):
    """A run of the loop that trains the VAE, or its decoder alone, by `objectives.PaintingLoss`."""

    squared_weight: float = number(0.0, 1e6)
    edge_weight: float = number(0.0, 1e6)


@dataclass(frozen=True, kw_only=True)
class CropPhase(PaintingPhase):
    """A run that trains the VAE on squares cut from the pictures, `crop` pixels wide."""

    crop: int = number(1, 4096)


@dataclass(frozen=True, kw_only=True)
class VAESection(Section):
    """The VAE, in two runs: corners of pictures first, then whole ones."""

    kl_weight: float = number(0.0, 1e6)
    corners: CropPhase
    whole: CropPhase
    config: VAEConfig


@dataclass(frozen=True, kw_only=True)
class UNetSection(Phase):
    """The noise predictor."""

    snr_gamma: float = number(1e-6, 1e6)
    caption_dropout: float = number(0.0, 1.0)
    config: UNetConfig


@dataclass(frozen=True, kw_only=True)
class Recipe(Section):
    """A whole recipe. `size` is the pictures' side in pixels; `path` the file it was read from."""

    seed: int = number(0, 2_000_000_000)  # with the number of pictures below 2**31, where benchmarks begin
    pictures: int = number(1, 10_000_000)
    size: int = number(8, 4096, 128)
    guidance_scale: float = number(0.0, 1000.0)
    tokenizer: TokenizerSection
    clip: CLIPSection
    vae: VAESection
    decoder: PaintingPhase
    unet: UNetSection
    path: Path = field(default=TINY_RECIPE, compare=False, metadata={"hidden": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_pictures()
        self._check_words()
        self._check_latents()
        self._check_weights()

    @property
    def downsampling(self) -> int:
        """How many pixels one latent stands for along each axis."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    def _check_pictures(self) -> None:
        """The pictures' size against all that looks at pictures."""
        halved = f"the VAE halves it {len(self.vae.config.block_out_channels) - 1} times"
        check_multiple("size", self.size, self.downsampling, halved)
        for name, phase in (("corners", self.vae.corners), ("whole", self.vae.whole)):
            check_multiple(f"vae.{name}.crop", phase.crop, self.downsampling, halved)
            if phase.crop > self.size:
                raise ValueError(
                    f"vae.{name}.crop is {phase.crop}; the pictures' size is {self.size}: give at most that"
                )
        image, vae = self.clip.vision_config, self.vae.config
        shrunk = "pictures are averaged down for CLIP"
        check_multiple("size", self.size, image.image_size, f"clip.vision_config.image_size: {shrunk}")
        check_equal("vae.config.sample_size", vae.sample_size, "the pictures' size", self.size)
        check_multiple(
            "clip.vision_config.image_size",
            image.image_size,
            image.patch_size,
            "clip.vision_config.patch_size",
        )
        for name, channels in (
            ("clip.vision_config.num_channels", image.num_channels),
            ("vae.config.in_channels", vae.in_channels),
            ("vae.config.out_channels", vae.out_channels),
        ):
            check_equal(name, channels, "the number of colours", COLOUR_CHANNELS)

    def _check_words(self) -> None:
        """The text encoder against the tokenizer's rows and the U-Net that reads what it says."""
        text = self.clip.text_config
        check_equal(
            "clip.text_config.max_position_embeddings",
            text.max_position_embeddings,
            "the length of a prompt",
            PROMPT_TOKENS,
        )
        check_equal(
            "unet.config.cross_attention_dim",
            self.unet.config.cross_attention_dim,
            "clip.text_config.hidden_size",
            text.hidden_size,
        )

    def _check_latents(self) -> None:
        """The U-Net against the latents that the VAE makes of a picture."""
        unet, channels = self.unet.config, self.vae.config.latent_channels
        check_equal("unet.config.in_channels", unet.in_channels, "vae.config.latent_channels", channels)
        check_equal("unet.config.out_channels", unet.out_channels, "vae.config.latent_channels", channels)
        check_equal(
            "unet.config.sample_size",
            unet.sample_size,
            "the latents' side, size / the VAE's downsampling",
            self.size // self.downsampling,
        )

    def _check_weights(self) -> None:
        """Networks that no machine could train, by a rough count of their weights."""
        counts = {}
        for name, net in (("unet.config", self.unet.config), ("vae.config", self.vae.config)):
            # A layer has two convolutions of 3x3 on the way down and again on the way up, and its attention.
            counts[name] = (
                100 * (net.layers_per_block + 1) * sum(width**2 for width in net.block_out_channels)
            )
        towers = (
            ("clip.text_config", self.clip.text_config),
            ("clip.vision_config", self.clip.vision_config),
        )
        for name, tower in towers:
            layer = 4 * tower.hidden_size**2 + 2 * tower.hidden_size * tower.intermediate_size
            counts[name] = tower.num_hidden_layers * layer + tower.hidden_size * tower.projection_dim
        for name, count in counts.items():
            if count > MOST_WEIGHTS:
                raise ValueError(
                    f"{name} describes about {count:.0e} weights; give sizes with {MOST_WEIGHTS:.0e} at most"
                )

    def settings(self, *names: str) -> dict[str, Any]:
        """What the named sections or values ask for, and what all stages depend on, under flat names.

        settings("clip") is {"seed": 0, ..., "clip.mixed.steps": 800, "clip.mixed.batch_size": 64, ...}.
        How often a checkpoint is written, and which weights are kept beside it, changes nothing and is left
        out.
        """
        wanted = ("seed", "pictures", "size", *names)
        found = flat(self)
        return {
            key: value
            for key, value in found.items()
            if any(key == name or key.startswith(f"{name}.") for name in wanted)
            and key.rpartition(".")[2] not in CHANGE_NOTHING
        }


def flat(section: Section, before: str = "") -> dict[str, Any]:
    """A section's values under names such as "vae.whole.crop"; lists stay lists."""
    found: dict[str, Any] = {}
    for entry in fields(section):
        value, name = getattr(section, entry.name), before + entry.name
        if value is None:
            continue  # a section that is left out
        if isinstance(value, Section):
            found |= flat(value, f"{name}.")
        elif isinstance(value, (TextConfig, ImageConfig, VAEConfig, UNetConfig)):
            found |= {f"{name}.{key}": plain(inner) for key, inner in value.to_dict().items()}
        elif not entry.metadata.get("hidden"):
            found[name] = value
    return found


def plain(value: Any) -> Any:
    """A value as JSON gives it back: tuples are lists there."""
    return list(value) if isinstance(value, tuple) else value


def read_recipe(path: str | Path = TINY_RECIPE) -> Recipe:
    """Read a recipe and check all of it.

    Raises FileNotFoundError if there is no such file; ValueError, in one line that names the file, the
    section and the key, for anything in it that can't be trained.
    """
    path = Path(path)
    table = read_toml(path)
    clip = table.get("clip")
    inner = clip.get("text_config") if isinstance(clip, dict) else None
    if isinstance(inner, dict) and "vocab_size" in inner:
        raise ValueError(f"{path}: clip.text_config.vocab_size follows from tokenizer.size; leave it out")
    if "path" in table:
        raise ValueError(f"{path}: path is not known here; leave it out")
    return read_section(Recipe, {**table, "path": path}, f"{path}: ")


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's table; FileNotFoundError or ValueError with one line."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no recipe {path}; leave --config out to train tiny")
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; a recipe has {LARGEST_FILE} at most")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is not a TOML file ({reason}); compare it with {TINY_RECIPE}") from None


def read_section(kind: type[SectionKind], table: Any, where: str) -> SectionKind:
    """A section from its table; `where` stands before its keys in messages: "FILE: vae.whole."."""
    if not isinstance(table, dict):
        raise ValueError(
            f"{where.removesuffix('.')} is {shown(table)}; give a section of keys, as {TINY_RECIPE} does"
        )
    entries = {entry.name: entry for entry in fields(kind)}
    if unknown := [key for key in table if key not in entries]:
        known = ", ".join(name for name, entry in entries.items() if not entry.metadata.get("hidden"))
        raise ValueError(f"{where}{shown_names(unknown)} is not known here; the keys are {known}")
    if missing := [name for name, entry in entries.items() if entry.default is MISSING and name not in table]:
        raise ValueError(f"{where}{shown_names(missing)} is missing; compare it with {TINY_RECIPE}")
    values = {key: read_value(entries[key].type, value, f"{where}{key}") for key, value in table.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from None


def read_value(kind: Any, value: Any, where: str) -> Any:
    """One value of a section: a section of its own, a network's config, or what stands there."""
    kind = (get_args(kind) or (kind,))[0]  # of "Phase | None" the Phase
    if issubclass(kind, Section):
        return read_section(kind, value, f"{where}.")
    if not hasattr(kind, "from_dict"):
        return value
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {shown(value)}; give a section of keys, as {TINY_RECIPE} does")
    try:
        return kind.from_dict(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def check_number(name: str, value: Any, whole: bool, low: float, high: float) -> None:
    """ValueError unless `value` is a number, whole if so asked, from `low` to `high`; NaN is not."""
    kinds = int if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
        kind = "whole number" if whole else "number"
        raise ValueError(f"{name} is {shown(value)}; give a {kind} from {low} to {high}")


def check_steps(name: str, value: Any, last: int) -> None:
    """ValueError unless `value` is a list of steps from 0 to `last`, each after the one before it."""
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{name} is {shown(value)}; give a list of steps, as in [100, 200]")
    for step in value:
        check_number(f"a step of {name}", step, True, 0, last)
    if list(value) != sorted(set(value)):
        raise ValueError(f"{name} is not in order; give each step once, the smallest first")


def check_equal(name: str, value: int, other: str, wanted: int) -> None:
    """ValueError unless `value` is what `other` asks for."""
    if value != wanted:
        raise ValueError(f"{name} is {shown(value)}; it must be {other}, {wanted}")


def check_multiple(name: str, value: int, step: int, other: str) -> None:
    """ValueError unless `step`, which is `other`, divides `value`."""
    if value % step:
        raise ValueError(f"{name} is {value}; it must be a multiple of {step} ({other})")


def shown(value: Any) -> str:
    """A value as a message shows it: short, and in one line."""
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and abs(value) >= LARGEST_SHOWN:
        return "a number of more than 20 digits"
    return reprlib.repr(value)


def shown_names(names: list[str]) -> str:
    """The first few keys, and how many more there are; odd ones in quotes."""
    first = ", ".join(name if name.isidentifier() else reprlib.repr(name) for name in names[:NAMES_SHOWN])
    return first + (f" (and {len(names) - NAMES_SHOWN} more)" if len(names) > NAMES_SHOWN else "")

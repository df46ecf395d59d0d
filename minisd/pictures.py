"""Pictures in and out: files, PIL images, arrays and tensors, of any mode, depth and transparency."""

import math
import stat
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from .notes import note

Pictures = Image.Image | Sequence[Image.Image] | np.ndarray | Tensor

# What Pillow may open here. Left out are formats that start other programs (EPS, PDF) or that nobody paints
# over.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "TGA", "ICO", "AVIF", "JPEG2000", "MPO", "QOI")
# What transparent pixels are laid upon.
BEHIND = {"image": "white", "mask_image": "black", "control_image": "black"}
MOST_PIXELS = 4096 * 4096  # larger pictures are refused: they would need tens of gigabytes
LARGE = 4  # times the pixels that a model was trained on: from here on a picture gets a note


def open_picture(path: str | Path, name: str = "picture") -> Image.Image:
    """A picture file, whole in memory and turned as its EXIF data say; of several frames the first.

    Raises ValueError, in one line that begins with `name`, for a file that is no picture or is damaged.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("it is not a file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of files it can read all the same
            with Image.open(path, formats=[kind for kind in FORMATS if kind in known_formats()]) as picture:
                if math.prod(picture.size) > MOST_PIXELS:
                    raise ValueError(
                        f"it is {picture.width}x{picture.height} pixels, too large; make it smaller"
                    )
                frames = getattr(picture, "n_frames", 1)
                turned = ImageOps.exif_transpose(picture)
                turned.load()
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  Pillow's readers fail in dozens of ways on damaged files
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{name} {path} could not be read ({reason}); name a picture such as a PNG file"
        ) from None
    if frames > 1:
        note(f"{name} {path} has {frames} frames; the first is used")
    return turned


def known_formats() -> set[str]:
    """The formats that this Pillow was built with."""
    Image.init()
    return set(Image.OPEN)


def as_bytes(picture: Image.Image, name: str) -> Image.Image:
    """A picture of any mode in 8 bits: RGB for an "image", L for a "mask_image".

    Deep pixels (16 bits, whole numbers, floats) are scaled, transparent ones laid on white, in a mask or
    a control_image on black. Raises ValueError for pixels that are no numbers.
    """
    target = "L" if name == "mask_image" else "RGB"
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        picture = Image.fromarray(eight_bits(np.asarray(picture), name), "L")
    if picture.mode == "La":  # Pillow turns grey multiplied by its alpha into nothing else
        picture = picture.convert("LA")
    has_alpha = picture.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in picture.info
    if has_alpha:
        picture = picture.convert("RGBA")
        if np.asarray(picture)[..., 3].min() < 255:
            note(
                f"the {name} is transparent in places, which are taken as {BEHIND[name]}; flatten it "
                "yourself to have another colour there"
            )
            ground = Image.new("RGBA", picture.size, BEHIND[name])
            picture = Image.alpha_composite(ground, picture)
    return picture.convert("RGB").convert(target)  # not every mode turns into L


def eight_bits(pixels: np.ndarray, name: str) -> np.ndarray:
    """Grey pixels as bytes: floats up to 1 are taken as shares, larger numbers as 8, 16 or 32 bits deep."""
    values = pixels.astype(np.float64)
    if not np.isfinite(values).all() or values.min() < 0:
        raise ValueError(f"the {name} has pixels that are negative or no numbers; save it in 8 or 16 bits")
    sixteen = pixels.dtype == np.uint16
    scales = [65535.0] if sixteen else [255.0, 65535.0, 2**31 - 1.0, 2**32 - 1.0]
    if pixels.dtype.kind == "f":
        scales = [1.0, *scales]
    scale = next((scale for scale in scales if values.max() <= scale), values.max())
    return (values * (255 / scale)).round().astype(np.uint8)


def fitted(own: int, wanted: int | None, factor: int) -> int:
    """A side in pixels: the wanted one, or the picture's own rounded down to a multiple of `factor`."""
    return wanted or max(own // factor, 1) * factor


def from_pil(
    pictures: Sequence[Image.Image], name: str, height: int | None, width: int | None, factor: int
) -> np.ndarray:
    """PIL images of any modes, resized with Lanczos' filter: (n, height, width, channels) in [0, 1]."""
    high = fitted(pictures[0].height, height, factor)
    wide = fitted(pictures[0].width, width, factor)
    bytes_ = [as_bytes(picture, name) for picture in pictures]
    for picture in bytes_:
        if abs(math.log(picture.width * high / (picture.height * wide))) > 0.1:
            note(
                f"the {name} of {picture.width}x{picture.height} pixels is stretched to {wide}x{high}; crop "
                "it first to keep its proportions"
            )
    resized = [np.asarray(picture.resize((wide, high), Image.Resampling.LANCZOS)) for picture in bytes_]
    return np.stack(resized).reshape(len(resized), high, wide, -1) / np.float32(255)


def from_array(pixels: np.ndarray, name: str) -> np.ndarray:
    """One array or a batch of them as (n, height, width, channels) floats; bytes and 16 bits are scaled."""
    if pixels.dtype in (np.uint8, np.uint16):
        pixels = pixels / np.float32(np.iinfo(pixels.dtype).max)
    elif pixels.dtype.kind not in "fb":
        raise ValueError(f"{name} must be an array of floats in [0, 1] or of bytes, got {pixels.dtype}")
    if name == "mask_image" and pixels.ndim == 2:
        pixels = pixels[..., None]
    return (pixels[None] if pixels.ndim == 3 else pixels).astype(np.float32)


def prepare(
    pictures: Pictures, name: str, prompts: int, height: int | None, width: int | None, factor: int
) -> Tensor:
    """A picture given to `StableDiffusion.stream`, by its name there, read and resized as diffusers does it.

    PIL images are resized with Lanczos' filter, arrays and tensors take the nearest pixel. height or width
    None: the (first) picture's own, rounded down to a multiple of `factor`. Returns (n, 3, height, width) in
    [-1, 1] for an image and in [0, 1] for a control_image, (n, 1, height, width) of zeros and ones for a
    mask. Raises ValueError, in one line, for anything else.
    """
    mask = name == "mask_image"
    channels, low = 1 if mask else 3, -1 if name == "image" else 0
    given: object = pictures
    if isinstance(given, Image.Image):
        given = [given]
    if isinstance(given, (list, tuple)) and given and all(isinstance(one, Image.Image) for one in given):
        given = from_pil(given, name, height, width, factor)
    if isinstance(given, np.ndarray):
        given = torch.from_numpy(from_array(given, name)).movedim(-1, 1) if given.ndim > 1 else given
        given = 2 * given - 1 if isinstance(given, Tensor) and name == "image" else given
    described = getattr(pictures, "shape", type(pictures).__name__)
    if not isinstance(given, Tensor) or given.ndim != 4 or given.shape[1] != channels or not given.numel():
        raise ValueError(
            f"{name} must be a PIL image, a list of them, an array (n, height, width, {channels}) or "
            f"a tensor (n, {channels}, height, width), got {described}"
        )
    if given.is_complex() or not (low <= given.min() and given.max() <= 1):
        raise ValueError(
            f"{name} must be in [0, 1] as an array, in [{low}, 1] as a tensor; divide bytes by 255"
        )
    if len(given) not in (1, prompts):
        raise ValueError(
            f"{name} holds {len(given)} pictures for {prompts} prompts; give one, or as many as prompts"
        )
    size = fitted(given.shape[2], height, factor), fitted(given.shape[3], width, factor)
    given = F.interpolate(given.to("cpu", torch.float32), size)
    return (given >= 0.5).float() if mask else given


def note_size(height: int, width: int, native: int) -> None:
    """Warn of a picture far larger than those that the model was trained on; refuse one beyond reason."""
    if height * width > MOST_PIXELS:
        raise ValueError(
            f"a picture of {width}x{height} pixels needs too much memory; ask for at most 4096x4096 with "
            "height and width (--height, --width)"
        )
    if height * width > LARGE * native**2:
        note(
            f"the picture is {width}x{height} pixels and the model was trained on {native}x{native}: it "
            f"takes {height * width / native**2:.0f} times as long or more, and composition suffers; for a "
            f"smaller one give height and width, for example --height {native} --width {native}"
        )


def to_pil(pictures: np.ndarray) -> list[Image.Image]:
    """Pictures in [0, 1], (batch, height, width, 3) -> PIL images, rounded to 8 bits."""
    return [Image.fromarray(picture) for picture in (pictures * 255).round().astype(np.uint8)]

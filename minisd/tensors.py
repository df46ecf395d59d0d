"""Files of tensors, whatever people bring: judged by what is in them, not by their names.

Read are safetensors and torch's pickles, in today's form, a zip archive, and in that of before torch 1.6. All
else is told by how it begins. Nothing that a file says of itself is believed before it is checked against the
file's size, and nothing in a pickle is run: torch's unpickler for weights makes tensors and containers only.
"""

import hashlib
import io
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from .config import printed

CHECKSUM = "minisd.sha256"  # the key, in a safetensors file's metadata, of `checksum` of its tensors
CHEAP = 2**28  # bytes that are read twice, for checksum and NaN, in less than a second
LARGEST_HEADER = 100_000_000  # bytes; the safetensors library reads no larger one
LARGEST_PICKLE = 2**22  # bytes that list the tensors; a checkpoint with its optimiser has a quarter of it
START = 512  # bytes that tell what a file is
KEYS_SHOWN = 3  # how many names an error lists before it says how many more there are

# What is found under a weight file's name, by how it begins.
NO_WEIGHTS = {
    rb"\s*<(!doctype|html|head|body|\?xml)": "a web page: fetch the file itself",
    rb"version https://git-lfs": "a git-lfs pointer: run git lfs pull, or fetch the file itself",
    rb"\S*annex/objects/": "a git-annex pointer: run git annex get, or fetch the file itself",
    rb"gguf|ggml|lmgg|tjgg|fmgg": "a GGUF file, for ggml: fetch the model as safetensors",
    rb"\x08[\x01-\x10][\x12\x1a\x22\x3a\x42]": "an ONNX model: fetch the model as safetensors",
    rb"....tfl3": "a TensorFlow Lite model: fetch the model as safetensors",
    rb"\x89hdf": "an HDF5 file, of Keras: fetch the model as safetensors",
    rb"\x93numpy": "a NumPy array: fetch the model as safetensors",
    rb"\x1f\x8b|bzh|\xfd7zxz|7z\xbc\xaf|rar!|\x28\xb5\x2f\xfd": "a compressed archive: unpack it",
    rb"\x89png|\xff\xd8\xff|gif8|riff": "a picture, no weights: give the model's own file",
    rb"%pdf": "a PDF, no weights: give the model's own file",
    rb"\x7felf|mz\x90": "a program, no weights: give the model's own file",
    rb"\s*[{\[]": "JSON text, no weights: give the file with the tensors",
    rb".{257}ustar": "a tar archive, as torch wrote before 2017 or of files: unpack it, or fetch safetensors",
    rb"\0+$": "full of zeros, a download that broke off: fetch the file again",
}
FETCH, AGAIN = "fetch the model as safetensors", "train or fetch it again"
# What training tools keep beside the tensors, with tensors in it.
BESIDE = re.compile("optim|(lr_)?sched|callbacks|loops|scaler|hyper|hparams|rng|ema$")
# Under these names training tools keep a dictionary of weights beside other things; the first is taken.
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "params",
    "weights",
    "network",
    "net",
)
AVERAGES = ("params_ema", "ema_state_dict", "model_ema", "ema")  # the weights' averages, for want of weights


def some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = len(names) - KEYS_SHOWN
    return ", ".join(map(printed, names[:KEYS_SHOWN])) + (f" and {more} more" if more > 0 else "")


def check_file(path: Path, do: str) -> None:
    """Raise OSError, in one line, if a path is no file that can be read to its end: `do` says what to do."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, and a file is needed: {do}")
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: {do}")
    if not path.is_file():
        raise OSError(f"{path} is a pipe or a device, and a file is needed: {do}")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file or a pickle, whatever it is called, mapped from disk where it can be.

    Raises FileNotFoundError, OSError or ValueError, in one line, for anything else.
    """
    kind = kind_of(path)
    return read_safetensors(path) if kind == "safetensors" else read_pickle(path)


def kind_of(path: Path) -> str:
    """ "safetensors", "zip" or "pickle"; ValueError, in one line, for a file that is none of them."""
    check_file(path, "fetch the model again, or train it (minisd train --help)")
    with path.open("rb") as file:
        start = file.read(START)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= LARGEST_HEADER:
        return "safetensors"
    if start.startswith(b"PK\x03\x04"):
        return "zip"
    if re.match(rb"\x80[\x02-\x05]", start):
        return "pickle"
    for sign, what in NO_WEIGHTS.items():
        if re.match(sign, start.lower(), re.DOTALL):
            raise ValueError(f"{path} is {what}")
    if not start:
        raise ValueError(f"{path} is empty: fetch the file again")
    if text := re.match(rb"[\x20-\x7e\s]+$", start):
        words = " ".join(text[0].decode("ascii").split())[:60]
        raise ValueError(f"{path} is text, no weights, and begins {words!r}: fetch the file itself")
    raise ValueError(
        f"{path} is not a whole safetensors file, nor a pickle of torch's: fetch the file again, or another"
    )


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; of one that minisd wrote, checked against its checksum if small."""
    if path.stat().st_size < CHEAP and intact(path) is False:
        raise ValueError(f"{path} is damaged: its numbers are not those it was written with; {AGAIN}")
    return open_safetensors(path)[0]


def open_safetensors(path: Path, with_tensors: bool = True) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A safetensors file's tensors, if they are wanted, and what it says of itself."""
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys()) if with_tensors else []
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except Exception as error:  # noqa: BLE001, the library's own, or any of torch's
        raise ValueError(
            f"{path} is not a whole safetensors file ({one_line(error)}); fetch the file again"
        ) from None


def read_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself, text by text; of another file of tensors, nothing."""
    return open_safetensors(path, with_tensors=False)[1] if kind_of(path) == "safetensors" else {}


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the numbers as they are stored, tensor after tensor in the order of their names."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        sha.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def intact(path: Path) -> bool | None:
    """Whether a file's numbers are those that minisd wrote; None for a file that carries no checksum.

    Reads all of the file. Raises as `read_tensors` does for one that can't be read at all.
    """
    wanted = read_metadata(path).get(CHECKSUM)
    return None if wanted is None else wanted == checksum(open_safetensors(path)[0])


def one_line(error: Exception) -> str:
    """An error's first line, cut to a readable length; its kind, if it says nothing."""
    lines = str(error).strip().splitlines()
    return printed(lines[0][:160]) if lines else type(error).__name__


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a pickle: they are its dictionary, or stand in it beside what a training tool kept."""
    found = unpickle(path)
    try:
        return tensors_in(found, path)
    except (TypeError, RuntimeError) as error:  # tensors that are none, which a pickle can make
        raise ValueError(f"{path} is not a whole file of tensors ({type(error).__name__}): {FETCH}") from None


def unpickle(path: Path) -> object:
    """What a pickle holds, by torch's unpickler for weights, which makes containers and tensors and runs no
    code.

    Raises ValueError, in one line, for a damaged file, one that asks for anything else, and one that would
    take more memory than it has bytes.
    """
    zipped = kind_of(path) == "zip"
    if zipped:
        check_zip(path)
    twin = path.with_suffix(".safetensors").name.removeprefix("pytorch_")
    try:
        with warnings.catch_warnings(), path.open("rb") if zipped else Listing(path) as file:
            warnings.simplefilter("ignore")  # torch's remarks on old protocols and storages
            mapped = zipped and path.suffix != ".safetensors"  # by that name torch would not see a pickle
            source = path if mapped else file
            return torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # noqa: BLE001, a damaged pickle fails in a dozen ways
        raise ValueError(f"{path} {why_not(error)}; fetch the same weights as safetensors: {twin}") from None


class Listing(io.BufferedReader):
    """A file from before torch 1.6, of which the unpickler gets no more than a list of tensors can take.

    The numbers behind the list are not read in this way: torch reads them from the file's descriptor.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.left = LARGEST_PICKLE

    def counted(self, data: bytes) -> bytes:
        self.left -= len(data)
        if self.left < 0:
            raise ValueError("too long a list of tensors")
        return data

    def read(self, size: int | None = -1) -> bytes:
        most = self.left + 1
        return self.counted(super().read(most if size is None or size < 0 else min(size, most)))

    def readline(self, size: int | None = -1) -> bytes:
        return self.counted(super().readline(self.left + 1))


def why_not(error: Exception) -> str:
    """What torch's error on a pickle means."""
    if code := re.search(r"GLOBAL (\S+)", str(error)):
        return f"asks for {printed(code[1])}, which could run any code and is not loaded"
    if re.search(r"Unsupported (operand|class)|reduce for|create new object|only build", str(error), re.I):
        return "holds more than tensors, which could run any code and is not loaded, or is damaged"
    return f"is not a whole file of tensors ({type(error).__name__})"


def check_zip(path: Path) -> None:
    """Raise ValueError for a zip archive that is none of torch's, or that unpacks to more than its bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # noqa: BLE001, zipfile's own error, or another for a lying directory
        raise ValueError(
            f"{path} is not a whole file of tensors ({type(error).__name__}); fetch it again, or as "
            f"safetensors: {path.with_suffix('.safetensors').name}"
        ) from None
    if any(member.filename.endswith("constants.pkl") for member in members):
        raise ValueError(
            f"{path} is a TorchScript program, which could run any code and is not loaded: {FETCH}"
        )
    lists = [member for member in members if member.filename.endswith("data.pkl")]
    if not lists:
        what = "of NumPy arrays" if any(m.filename.endswith(".npy") for m in members) else "without tensors"
        raise ValueError(f"{path} is a zip archive {what}: give the file with the model's weights")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError(
            f"{path} has compressed members, which torch never writes: save it again with torch.save, "
            "or fetch safetensors"
        )
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise ValueError(f"{path} claims to hold more bytes than it has: fetch the file again")
    if max(member.file_size for member in lists) > LARGEST_PICKLE:
        raise ValueError(
            f"{path} lists its tensors in more than {LARGEST_PICKLE >> 20} MB, which no model needs: "
            "fetch the model as safetensors"
        )


def tensors_in(found: object, path: Path) -> dict[str, Tensor]:
    """The dictionary of tensors in what a pickle holds: itself, or what a training tool wrapped it in.

    What stands beside the tensors (numbers of steps, settings, an optimiser's state) is passed over.
    """
    held = entries(found)
    for _ in range(3):  # no tool wraps a wrapper in a wrapper in a wrapper
        inner = next((held[key] for key in WRAPPERS + AVERAGES if holds_tensors(held.get(key))), None)
        held = held if inner is None else entries(inner)
    held = {
        key: value for key, value in held.items() if not BESIDE.match(key if isinstance(key, str) else "")
    }
    if held and all(holds_tensors(part) for part in held.values()):  # {"unet": {...}, "vae": {...}}
        held = {f"{part}.{key}": value for part in held for key, value in entries(held[part]).items()}
    tensors = {key: value for key, value in held.items() if isinstance(value, Tensor)}
    if not tensors or any(holds_tensors(value) for value in held.values()):
        raise ValueError(
            f"{path} holds no dictionary of tensors; fetch the model as safetensors: "
            f"{path.with_suffix('.safetensors').name.removeprefix('pytorch_')}"
        )
    if odd := [key for key in tensors if not isinstance(key, str)]:
        raise ValueError(f"{path} calls a tensor by a {type(odd[0]).__name__}, and a name is text: {FETCH}")
    return {key: plain(tensor, key, path) for key, tensor in tensors.items()}


def entries(value: object) -> dict:
    """A dictionary's own entries, whatever a pickle wrote over its methods; nothing for anything else."""
    return dict(dict.items(value)) if isinstance(value, dict) else {}


def holds_tensors(value: object) -> bool:
    """Whether a value is a dictionary with tensors in it, or with dictionaries that have some."""
    parts = entries(value).values()
    return any(isinstance(part, Tensor) for part in parts) or any(
        isinstance(one, Tensor) for part in parts for one in entries(part).values()
    )


def plain(tensor: Tensor, name: str, path: Path) -> Tensor:
    """A pickle's tensor without gradient or attributes; ValueError for one that is not numbers in a row."""
    tensor = Tensor.detach(tensor)
    if (
        tensor.layout != torch.strided
        or tensor.device.type != "cpu"
        or tensor.is_quantized
        or tensor.is_nested
    ):
        raise ValueError(f"{path} holds {printed(name)} as a sparse, quantised or empty tensor: {FETCH}")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(
            f"{path} says that {printed(name)} is {tuple(tensor.shape)}, and holds fewer numbers: fetch it "
            "again"
        )
    return tensor

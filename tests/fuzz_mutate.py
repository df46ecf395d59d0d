"""Inputs that are almost right: a good file with a few things in it changed, by a seeded source of chance.

Bytes flipped at random end at a reader's first check. So each kind of file is also taken apart, changed in
one of its parts and put together again with its lengths and checksums right, or wrong on purpose.
"""

import copy
import io
import json
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

LONG = "x" * 5000
HOSTILE_TEXTS = [
    "",
    " ",
    "a\nb",
    "a\r\x1b[31mb\x00",
    "\u2028\x85\u202e",
    "\ud800",
    "é\U0001f600",
    LONG,
    "../../x",
    "/etc/passwd",
    "__proto__",
    "-1",
    "1e999",
    "(a+)+$",
    "*",
    "<|endoftext|>",
    "state_dict.model.x",
    "NESTED",  # becomes so many brackets that Python can hardly show them
]
HOSTILE_NUMBERS = [0, 1, -1, 2, 3, 7, 32, 255, 2**14, 2**16, 2**31, 2**53, 2**63, 2**64, 10**30, -(2**63)]
HOSTILE_FLOATS = [0.0, -0.0, 0.5, 1e-320, 1e308, float("inf"), float("-inf"), float("nan")]
CONTAINERS: list[Any] = [
    None,
    ["NESTED", "NESTED"],
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"": None},
    [1, "a"],
    {"a": {"b": []}},
    [2] * 100,
]
BYTES = [b"\xff" * 4, b"\xff" * 8, b"\0\0\0\x80", b"\0", b"9" * 9, b"-", b"}", b"]", b"[", b"{", b'"', b"\n"]
DTYPES = ["F64", "F32", "F16", "BF16", "F8_E4M3", "I64", "I32", "U8", "BOOL", "C64", "F4", "f32", ""]
SIZES = {"F64": 8, "I64": 8, "C64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2}  # bytes; the others have one


def hostile(rng: Random) -> Any:
    """A value that a JSON file may hold and its reader does not expect there."""
    values: list[Any] = rng.choice([HOSTILE_TEXTS, HOSTILE_NUMBERS, HOSTILE_FLOATS, CONTAINERS])
    return copy.deepcopy(rng.choice(values))


# ---- any file


def change_bytes(data: bytes, rng: Random) -> bytes:
    """A few bytes changed, put in, taken out or repeated; half of the time near the beginning."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        span = len(changed) if rng.random() < 0.5 else min(len(changed), 400)
        place = rng.randrange(span) if span else 0
        match rng.randrange(7):
            case 0 | 1:
                changed[place : place + 1] = bytes([rng.randrange(256)])
            case 2:
                changed[place : place + 1] = bytes(
                    byte ^ 1 << rng.randrange(8) for byte in changed[place:][:1]
                )
            case 3:
                changed[place : place + rng.randrange(9)] = rng.choice(BYTES)
            case 4:
                del changed[place : place + rng.randrange(1, 20)]
            case 5:
                again = rng.randrange(len(changed) + 1)
                changed[place:place] = changed[again : again + rng.randrange(1, 30)]
            case 6:
                del changed[max(place, rng.randrange(len(changed) + 1)) :]
    return bytes(changed)


# ---- JSON


def change_json(data: bytes, rng: Random) -> bytes:
    """A JSON text with values, keys or its encoding changed."""
    value = json.loads(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        value = change_value(value, rng)
    text = json.dumps(value, ensure_ascii=rng.random() < 0.7)
    if rng.random() < 0.05:
        text = text.replace(":", f": {'9' * 5000} ,", 1)  # more digits than Python reads
    depth = rng.choice([5000, *[rng.randrange(700, 1000)] * 4])
    text = text.replace('"NESTED"', "[" * depth + "]" * depth)
    encoding = rng.choice(["utf-8"] * 12 + ["utf-8-sig", "utf-16", "utf-32-le", "latin-1"])
    return text.encode(encoding, "replace" if encoding == "latin-1" else "surrogatepass")


def change_value(value: Any, rng: Random) -> Any:
    """The value with one thing in it changed, at a depth that chance chooses."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.1:
        return hostile(rng)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = rng.choice(keys)
    match rng.randrange(6):
        case 0 | 1 | 2:
            value[key] = change_value(value[key], rng)
        case 3:
            value[key] = hostile(rng)
        case 4:
            del value[key]
        case 5 if isinstance(value, dict):
            value[str(rng.choice([*HOSTILE_TEXTS, f"{key}_1", rng.choice(keys)]))] = value.pop(key)
        case _ if isinstance(value, list):
            value.append(value[key])
    return value


# ---- safetensors


def join_safetensors(header: Any, body: bytes, length: int | None = None) -> bytes:
    """A safetensors file; `length` is what it says of its header, by default the truth."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length % 2**64) + text + body


def split_safetensors(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and body of a whole safetensors file."""
    end = 8 + struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:end]), data[end:]


def change_safetensors(data: bytes, rng: Random) -> bytes:
    """A file with its header changed: names, types, shapes, places, metadata, or a length that lies."""
    header, body = split_safetensors(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        if not isinstance(header, dict) or not header or rng.random() < 0.15:
            header = change_value(header, rng)
        else:
            change_entry(header, rng.choice(list(header)), rng)
    truth = len(json.dumps(header))
    lie = rng.choice([truth - 1, truth + 1, truth + len(body), 0, 1, 2**32, 2**63, 2**64 - 1, 100_000_001])
    if rng.random() < 0.15:
        body = change_bytes(body, rng)
    return join_safetensors(header, body, lie if rng.random() < 0.1 else None)


def change_entry(header: dict[str, Any], name: str, rng: Random) -> None:
    """Change one tensor of a header, so that the file may well stay whole; or its metadata."""
    entry = header[name]
    if name == "__metadata__" or not isinstance(entry, dict) or not isinstance(entry.get("shape"), list):
        header[name] = change_value(entry, rng)
        return
    match rng.randrange(6):
        case 0:
            header[name + rng.choice([".alpha", ".weight", "\n", "_1", LONG])] = header.pop(name)
        case 1:
            header[rng.choice(["model.", "state_dict.", "_orig_mod.", "module.", "\x1b", ""]) + name[1:]] = (
                header.pop(name)
            )
        case 2:
            del header[name]
        case 3:
            entry["shape"] = reshaped(entry["shape"], rng)
        case 4:
            entry["dtype"] = rng.choice(DTYPES)
        case 5:
            entry["data_offsets"] = [rng.choice([0, 1, 8, 2**40, -1]), rng.choice([0, 8, 2**63, 2**64])]


def reshaped(shape: list[Any], rng: Random) -> list[Any]:
    """Another shape, with as many numbers or with a lie."""
    ways = [
        [*shape, 1],
        [1, *shape],
        shape[::-1],
        shape[1:],
        [0, *shape],
        [2**32, 2**32, *shape],
        [-1, *shape],
    ]
    return rng.choice(ways)


def tensors_file(shapes: dict[str, tuple[list[int], str]], rng: Random, metadata: Any = None) -> bytes:
    """A whole safetensors file of tensors of given shapes and types; most hold small floats, some NaN."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    body = b""
    for name, (shape, kind) in shapes.items():
        count = 1
        for side in shape:
            count *= side
        size = SIZES.get(kind, 1) * count
        filling = rng.choice([*[b"\0\x3c\0\x3c"] * 5, b"\0\0\0\0", b"\xff\x7f\xff\x7f"])
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(body), len(body) + size]}
        body += (filling * (size // 4 + 1))[:size]
    return join_safetensors(header, body)


# ---- LoRA and embeddings: names from a grammar

PREFIXES = """lora_unet_ lora_te_ lora_te1_ unet. text_encoder. text_encoder.text_model. base_model.model.
    lycoris_ unet.base_model.model. diffusion_model. lora_unet. transformer. model.diffusion_model.
    bundle_emb.x. optimizer. state_dict.""".split()
PREFIXES += ["", "\n", "\x1b"]
LAYERS = {  # of the small pipeline, with the sizes of their weights; of other models; none at all
    "mid_block_attentions_0_proj_in": [32, 32, 1, 1],
    "mid_block.attentions.0.proj_out": [32, 32, 1, 1],
    "middle_block_1_proj_in": [32, 32, 1, 1],
    "mid_block_attentions_0_transformer_blocks_0_attn1_to_out": [32, 32],
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k": [32, 16],
    "mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_q": [32, 32],
    "conv_in": [16, 4, 3, 3],
    "input_blocks_0_0": [16, 4, 3, 3],
    "down_blocks.0.resnets.0.conv1": [16, 16, 3, 3],
    "conv_norm_out": [16],
    "encoder.layers.0.mlp.fc1": [32, 16],
    "encoder_layers_1_self_attn_q_proj": [16, 16],
    "blocks.0.self_attn": [4, 4],
    "double_blocks_0": [4, 4],
    "x": [1],
}
# Pairs of roles that make a change together, and single ones.
PAIRS = """lora_down.weight/lora_up.weight lora_A.weight/lora_B.weight lora.down.weight/lora.up.weight
    lora_A.default.weight/lora_B.default.weight lora_linear_layer.down.weight/lora_linear_layer.up.weight
    hada_w1_b/hada_w1_a hada_w2_b/hada_w2_a lokr_w1_b/lokr_w1_a lokr_w2_b/lokr_w2_a""".split()
SINGLES = """alpha dora_scale diff diff_b w_norm b_norm lora_magnitude_vector lora_mid.weight hada_t1 hada_t2
    lokr_w1 lokr_w2 lokr_t2 weight bias oft_blocks on_input a1.weight""".split()


def new_lora(data: bytes, rng: Random) -> bytes:
    """A LoRA's file with names from the grammar and sizes that mostly fit; or a good one changed."""
    if rng.random() < 0.25:
        return change_safetensors(data, rng)
    shapes: dict[str, tuple[list[int], str]] = {}
    for _ in range(rng.choice([1, 1, 2, 4])):
        layer, size = rng.choice(list(LAYERS.items()))
        own = ["lora_te_", "text_encoder."] if layer.startswith("encoder") else ["lora_unet_", "unet."]
        name, rank = rng.choice([rng.choice(PREFIXES), *own]) + layer, rng.choice([1, 2, 4])
        kind = rng.choice(["F32", "F32", "F16", "BF16", rng.choice(DTYPES)])
        for pair in rng.choices(PAIRS, k=rng.choice([0, 1, 1, 1, 2])):
            down, up = pair.split("/")
            shapes[f"{name}.{down}"] = [rank, *size[1:]], kind
            shapes[f"{name}.{up}"] = [size[0], rank, *[1] * (len(size) - 2)], kind
        for role in rng.choices(SINGLES, k=rng.choice([0, 0, 1, 2])):
            fitting = {"alpha": [], "dora_scale": [size[0], 1], "diff_b": size[:1], "b_norm": size[:1]}
            shapes[f"{name}.{role}"] = fitting.get(role, rng.choice([size, [rank, rank], [1]])), kind
    for name in rng.sample(sorted(shapes), k=min(len(shapes), rng.choice([0, 0, 0, 1]))):
        shapes[name] = rng.choice([[], [0], [1], [2, 2], [4, 4, 1, 1], [16]]), rng.choice(DTYPES)
    settings = {"unet.lora_alpha": hostile(rng), "unet.r": rng.choice([2, hostile(rng)])}
    metadata = {"lora_adapter_metadata": json.dumps(settings)} if rng.random() < 0.2 else None
    return tensors_file(shapes, rng, metadata)


WORDS = [
    "emb_params",
    "<cat>",
    "*",
    "clip_l",
    "clip_g",
    "bundle_emb.cat.string_to_param.*",
    "string_to_param.*",
]


def new_embedding(data: bytes, rng: Random) -> bytes:
    """A safetensors file of learned words, with names and widths from a grammar; or one changed."""
    if rng.random() < 0.3:
        return change_safetensors(data, rng)
    shapes = {}
    for _ in range(rng.choice([1, 1, 2, 3])):
        word = rng.choice([rng.choice(WORDS), rng.choice(HOSTILE_TEXTS[:5]), "bundle_emb.", "w" + LONG[:300]])
        shape = rng.choice([[16], [1, 16], [3, 16], [80, 16], [2, 16], [0, 16], [768], [2, 2, 16], []])
        shapes[word] = shape, rng.choice(["F32", "F16", rng.choice(DTYPES)])
    return tensors_file(shapes, rng)


# ---- pickles

OPCODES = [
    bytes([ord(op.code)]) if len(op.code) == 1 else b"" for op in pickletools.opcodes if op.arg is None
]
ARGUMENTS = [
    b"K\x00",  # numbers
    b"J\xff\xff\xff\x7f",
    b"\x8a\x08" + b"\xff" * 8,
    b"\x8a\x08\0\0\0\0\0\0\0\x10",
    b"G\x7f\xf8" + b"\0" * 6,
    b"X\x03\0\0\0cpu",  # texts
    b"X\xff\xff\xff\xff",
    b"U\x01a",
    b"cos\nsystem\n",  # names of code
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch\nFloatStorage\n",
    b"ccollections\nOrderedDict\n",
    b"ctorch.nn.parameter\nParameter\n",
    b"ctorch\nSize\n",
    b"ctorch\ndevice\n",
    b"ctorch.serialization\n_get_layout\n",
    b"ctorch._utils\n_rebuild_sparse_tensor\n",
    b"ctorch._tensor\n_rebuild_from_type_v2\n",
    b"q\x00",  # the memo
    b"h\x00",
    b"h\xff",
    b"r\xff\xff\xff\x7f",
]


def change_pickle(data: bytes, rng: Random) -> bytes:
    """A stream of pickles with one of them changed by whole instructions, the others as they are."""
    bounds = [0]
    while bounds[-1] < len(data) and len(bounds) < 8:
        try:
            last = [place for _, _, place in pickletools.genops(data[bounds[-1] :])][-1]
        except (ValueError, UnicodeDecodeError):
            break
        bounds.append(bounds[-1] + (last or 0) + 1)
    which = rng.randrange(max(len(bounds) - 1, 1))
    start, end = bounds[which], bounds[which + 1] if len(bounds) > 1 else len(data)
    return data[:start] + change_instructions(data[start:end], rng) + data[end:]


def change_instructions(pickled: bytes, rng: Random) -> bytes:
    """One pickle with instructions left out, repeated, exchanged, or put in."""
    places = [place or 0 for _, _, place in pickletools.genops(pickled)] + [len(pickled)]
    parts = [pickled[a:b] for a, b in zip(places, places[1:])]
    for _ in range(rng.choice([1, 1, 2, 4])):
        place = rng.randrange(len(parts))
        match rng.randrange(5):
            case 0:
                del parts[place]
            case 1:
                parts.insert(place, rng.choice(parts))
            case 2:
                parts[place] = rng.choice(OPCODES)
            case 3:
                parts.insert(place, rng.choice(ARGUMENTS))
            case 4:
                parts[place] = rng.choice(ARGUMENTS)
        parts = parts or [b"."]
    return b"".join(parts)


def change_zip(data: bytes, rng: Random) -> bytes:
    """A zip archive of torch's with its list of tensors changed, or its members' names, sizes, number."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    place = next(i for i, (name, _) in enumerate(members) if name.endswith("data.pkl"))
    way, other = rng.randrange(8), rng.randrange(len(members))
    if way < 5:
        members[place] = members[place][0], change_instructions(members[place][1], rng)
    elif way == 5:
        members[other] = rng.choice(["x/constants.pkl", "data.pkl", "../x", "\n", LONG]), members[other][1]
    elif way == 6:
        members[other] = members[other][0], change_bytes(members[other][1], rng)
    else:
        del members[other]
    made = io.BytesIO()
    packing = zipfile.ZIP_DEFLATED if rng.random() < 0.03 else zipfile.ZIP_STORED
    with zipfile.ZipFile(made, "w", packing) as archive:
        for name, content in members:
            if name not in archive.NameToInfo:
                archive.writestr(name, content)
    return change_bytes(made.getvalue(), rng) if rng.random() < 0.15 else made.getvalue()


# ---- PNG

CHUNKS = [b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP", b"acTL", b"fcTL", b"PLTE", b"tRNS", b"gAMA", b"IDAT"]
CONTENTS = [
    b"sd-ti-embedding\0e30=",
    b"sd-ti-embedding\0" + b"W1s=" * 50,
    b"sd-ti-embedding\0\0\0\0\0{}",
    b"sd-ti-embedding\0\0" + zlib.compress(b"0" * 10**6),
    b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0",  # EXIF: turn by a quarter
    b"II*\0\xff\xff\xff\xff",
    b"\0\0\0\x02\0\0\0\0",
    b"\0" * 768,
]


def change_png(data: bytes, rng: Random) -> bytes:
    """A PNG with chunks changed, put in, moved or left out, each with its checksum right."""
    chunks, place = [], 8
    while place < len(data):
        size = struct.unpack(">I", data[place : place + 4])[0]
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    for _ in range(rng.choice([1, 1, 2, 3])):
        which = rng.randrange(len(chunks) or 1)
        new = rng.choice(CHUNKS), rng.choice([*CONTENTS, rng.randbytes(rng.randrange(40))])
        match rng.randrange(4):
            case 0 | 1:
                chunks.insert(min(which, 1) if rng.random() < 0.7 else which, new)
            case 2 if chunks:
                chunks[which] = chunks[which][0], change_bytes(chunks[which][1], rng)
            case 3 if chunks:
                del chunks[which]
    parts = [data[:8]]
    for kind, content in chunks:
        checksum = zlib.crc32(kind + content)
        parts.append(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum))
    return b"".join(parts)


# ---- lines of text: TOML, a list of merges, prompts

TOML_VALUES = """0 1 -1 0.5 1e400 inf nan -inf true false "" [] {} [1,2] "a" '' 2026-01-01 0x10 1_0
    2026-01-01T00:00:00Z 9999999999999999999999 -9999999999999999999999 [[]] [{}] {a=1}
    {a={b=1}} \"\"\" 1e-400 00 +1""".split()
TOML_VALUES += [
    "9" * 5000,
    "0x" + "f" * 5000,
    '"a\\nb"',
    '"\\ud800"',
    "[" * 300 + "]" * 300,
    '"' + LONG + '"',
]


def change_toml(data: bytes, rng: Random) -> bytes:
    """A TOML file with values, keys and sections changed line by line."""
    lines = data.decode().splitlines()
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        place = rng.randrange(len(lines) or 1)
        key, equals, _ = (lines[place] if lines else "").partition("=")
        match rng.randrange(8):
            case 0 | 1 | 2 | 3 if equals:
                lines[place] = f"{key}= {rng.choice([*TOML_VALUES, str(rng.choice(HOSTILE_NUMBERS))])}"
            case 4 if lines:
                del lines[place]
            case 5 if lines:
                lines.insert(rng.randrange(len(lines)), lines[place])
            case 6:
                lines.insert(
                    place, rng.choice(["[x]", "[[vae]]", "[unet.config]", "x=1", '"a\\nb"=1', "a.b=1"])
                )
            case 7 if equals:
                lines[place] = f"{rng.choice(['path', 'config', 'x' * 300, key.strip() + 's'])} = 1"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def change_lines(data: bytes, rng: Random) -> bytes:
    """A text with lines left out, exchanged, repeated, or with something put into them."""
    lines = data.decode("utf-8", "surrogatepass").split("\n")
    for _ in range(rng.choice([1, 1, 2, 4])):
        place = rng.randrange(len(lines))
        match rng.randrange(4):
            case 0 if len(lines) > 1:
                del lines[place]
            case 1:
                lines.insert(rng.randrange(len(lines)), lines[place])
            case 2:
                lines[place] += rng.choice([" ", *HOSTILE_TEXTS])
            case _:
                lines[place] = rng.choice([*HOSTILE_TEXTS, chr(rng.randrange(0x3000)) * rng.randrange(1, 9)])
    return "\n".join(lines).encode("utf-8", "surrogatepass")


Change = Callable[[bytes, Random], bytes]


def mutated(change: Change, data: bytes, rng: Random) -> bytes:
    """A good input changed: most times by its own kind's rules, else byte by byte; rarely by both."""
    way = rng.random()
    if way < 0.7:
        data = change(data, rng)
    if way > 0.65:
        data = change_bytes(data, rng)
    return data

"""What a chapter defines and minisd has too must be the same: how the notebook's definitions are read and
compared.

`definitions(notebook, names)` runs no experiment: of the notebook's top-level statements it runs the imports
and whatever the names need (functions, classes, constants), in the order of the text, so that the last
definition wins.
"""

import ast
import dataclasses
import dis
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from types import CodeType, GeneratorType

import torch
from torch import nn

from minisd import NoiseSchedule, UNet

EXACT = 1e-6  # of the largest number: the same formula in another order of operations
PROPERTIES = ("betas", "alphas", "alphas_cumprod")


# ---- a notebook's definitions


def definitions(path: Path, names: list[str]) -> dict:
    """The objects of these names, and of all that they need, as the notebook defines them.

    AssertionError where the notebook defines one of them nowhere.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    statements = [
        node
        for cell in cells
        if cell["cell_type"] == "code"
        for node in ast.parse(without_magics("".join(cell["source"]))).body
    ]
    kept = [node for node in statements if bound(node)]
    wanted, before = set(names), set()
    while wanted != before:
        before = set(wanted)
        for node in kept:
            if bound(node) & wanted and not isinstance(node, (ast.Import, ast.ImportFrom)):
                wanted |= used(compile(ast.Module([node], []), path.name, "exec"))
    namespace = {"__name__": path.stem}
    for node in kept:
        if isinstance(node, (ast.Import, ast.ImportFrom)) or bound(node) & wanted:
            exec(compile(ast.Module([node], []), path.name, "exec"), namespace)
    missing = [name for name in names if name not in namespace]
    assert not missing, f"{path.name} defines no {', '.join(missing)} at the top level of a cell"
    return namespace


def without_magics(source: str) -> str:
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())


def bound(node: ast.stmt) -> set[str]:
    """The names that a definition or an assignment gives a value to; for `a.b = c` it is a."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    targets = (
        node.targets
        if isinstance(node, ast.Assign)
        else [node.target]
        if isinstance(node, ast.AnnAssign)
        else []
    )
    found = set()
    for target in targets:
        for part in target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]:
            while isinstance(part, ast.Attribute):
                part = part.value
            if isinstance(part, ast.Name):
                found.add(part.id)
    return found


def used(code: CodeType) -> set[str]:
    """The global names that a piece of code reads, in its functions too."""
    found = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_NAME", "LOAD_GLOBAL")}
    return found.union(*(used(constant) for constant in code.co_consts if isinstance(constant, CodeType)))


# ---- comparing


def agree(theirs, ours, where: str = "") -> None:
    """Same kind, shape, dtype and values, or AssertionError. Objects of two classes are compared field by
    field.
    """
    if isinstance(ours, GeneratorType):
        assert isinstance(theirs, GeneratorType), f"{where}: {type(theirs).__name__}, minisd yields"
        theirs, ours = list(theirs), list(ours)
    if isinstance(ours, torch.Tensor):
        assert type(theirs) is type(ours), f"{where}: {type(theirs).__name__}, minisd has a tensor"
        assert theirs.shape == ours.shape, (
            f"{where}: shape {tuple(theirs.shape)}, minisd has {tuple(ours.shape)}"
        )
        assert theirs.dtype == ours.dtype, f"{where}: {theirs.dtype}, minisd has {ours.dtype}"
        off = (theirs.double() - ours.double()).abs().max().item()
        assert off <= EXACT * max(ours.abs().max().item(), 1.0), f"{where}: off by {off:.2g}"
    elif isinstance(ours, (tuple, list)):
        assert type(theirs) is type(ours), (
            f"{where}: {type(theirs).__name__}, minisd has a {type(ours).__name__}"
        )
        assert len(theirs) == len(ours), f"{where}: {len(theirs)} items, minisd has {len(ours)}"
        for i, pair in enumerate(zip(theirs, ours)):
            agree(*pair, f"{where}[{i}]")
    elif dataclasses.is_dataclass(ours):
        for field in dataclasses.fields(ours):
            agree(getattr(theirs, field.name), getattr(ours, field.name), f"{where}.{field.name}")
    elif isinstance(ours, float):
        assert type(theirs) is float, f"{where}: {type(theirs).__name__}, minisd has a float"
        assert abs(theirs - ours) <= EXACT * max(abs(ours), 1.0), f"{where}: {theirs}, minisd has {ours}"
    else:
        assert type(theirs) is type(ours) and theirs == ours, f"{where}: {theirs!r}, minisd has {ours!r}"


def agree_as_functions(theirs: Callable, ours: Callable, where: str) -> None:
    """Both called with random values for their parameters, by name.

    Every parameter of the notebook's function is one of minisd's, unless it stands in for the schedule
    (`alphas_cumprod`, `schedule`); minisd's parameters that the notebook leaves out keep their defaults.
    """
    names = list(inspect.signature(theirs).parameters)
    mine = inspect.signature(ours).parameters
    for seed in range(4):
        values = arguments(seed)
        unknown = [name for name in names if name not in values]
        assert not unknown, f"{where}: no random values for {', '.join(unknown)}; see tests/agreement.py"
        stray = [
            name for name in names if name not in mine and name not in ("alphas_cumprod", "schedule", "self")
        ]
        assert not stray, f"{where}: minisd's has no parameter {', '.join(stray)}"
        left = [n for n, p in mine.items() if n not in names and p.default is p.empty and n not in values]
        assert not left, f"{where}: no random values for minisd's {', '.join(left)}; see tests/agreement.py"
        extra = [n for n, p in mine.items() if n not in names and p.default is p.empty and n not in SCHEDULES]
        assert not extra, f"{where}: minisd's also takes {', '.join(extra)}"
        result = call(theirs, names, seed)
        agree(result, call(ours, [n for n in mine if n in names or n in SCHEDULES], seed), where)


SCHEDULES = ("alphas_cumprod", "schedule")


def call(function: Callable, names: list[str], seed: int):
    """The function with fresh copies of the values of that seed; a generator is run to its end."""
    values = arguments(seed)
    torch.manual_seed(seed)
    result = function(**{name: values[name] for name in names})
    return list(result) if isinstance(result, GeneratorType) else result


def arguments(seed: int) -> dict:
    """Random values, for seeds 0 to 3, of every parameter of minisd's schedule, steps, loops and guidance."""
    rng = torch.Generator().manual_seed(seed)
    schedule = (NoiseSchedule.scaled_linear, NoiseSchedule.linear, NoiseSchedule.cosine)[seed % 3](steps=200)
    shape = (2, 3 + seed % 2, 6, 4)
    x = {name: torch.randn(shape, generator=rng) for name in ("x0", "x_t", "noise", "fresh", "last_x0")}
    exploding = 3 * torch.randn(shape, generator=rng, dtype=torch.float64)
    t_prev, t = sorted(torch.randperm(190, generator=rng)[:2].tolist())
    ab_prev, ab_t, ab_last = sorted((torch.rand(3, generator=rng) * 0.9 + 0.05).tolist(), reverse=True)
    sigma_next, sigma = sorted((torch.rand(2, generator=rng) * 5 + 0.1).tolist())
    draws = torch.Generator().manual_seed(seed)
    guesses = ("unconditional", "conditional", "guided")
    # what a loop passes: down to the clean picture, not quite down, in one step, in two
    sigmas = [[9.0, 5.5, 3.0, 1.2, 0.6, 0.2, 0.0], [7.0, 4.0, 1.5, 0.8, 0.1], [2.0, 0.0], [4.0, 1.0, 0.0]][
        seed
    ]

    return {
        **x,
        **{name: 2 * torch.randn(shape, generator=draws) for name in guesses},
        "scale": (0.0, 1.0, 7.5, 20.0)[seed],
        "share": (0.0, 0.3, 0.7, 1.0)[seed],
        "x": exploding,
        "schedule": schedule,
        "self": schedule,
        "alphas_cumprod": schedule.alphas_cumprod,
        "t": t,
        "t_prev": t_prev - 1 if seed else -1,
        "ab_t": ab_t,
        "ab_prev": ab_prev,
        "ab_last": ab_last,
        "alpha_bar": ab_t,
        "eta": (0.0, 1.0, 0.5)[seed % 3],
        "sigma": sigma,
        "sigma_next": sigma_next,
        "times": [3.0, 2.5, 1.0][: seed + 1],
        "end": 4.0,
        "number": (2, 3, 8, 30)[seed],
        "sigma_max": sigma + 1,
        "sigma_min": sigma_next / 10,
        "rho": (7.0, 3.0, 1.0, 5.0)[seed],
        "sigmas": sigmas,
        "bars": [1 / (1 + sigma**2) for sigma in sigmas],
        "noise_of": lambda x, level: torch.sin(x) + 0.1 * level,
        "order": (4, 3, 2, 1)[seed],
        "draw": lambda: torch.randn(shape, generator=draws),
        "keep": lambda x, level: 0.9 * x + 0.1 * level,
    }


# ---- the comparators


def agree_as_schedules(theirs: type, ours: type, where: str) -> None:
    """The three schedules with their defaults and with fewer steps; then what the methods give.

    A notebook's class may leave out cosine, snr and posterior; what it has must be the same.
    """
    missing = [name for name in ("scaled_linear", "linear") if not hasattr(theirs, name)]
    assert not missing, f"{where} has no {' and no '.join(missing)}"
    for name, options in (
        ("scaled_linear", {}),
        ("linear", {}),
        ("cosine", {}),
        ("scaled_linear", {"steps": 50}),
    ):
        if not hasattr(theirs, name):
            continue
        a, b = getattr(theirs, name)(**options), getattr(ours, name)(**options)
        for part in PROPERTIES:
            agree(getattr(a, part), getattr(b, part), f"{where}.{name}().{part}")
        for seed in range(3):
            agree_as_objects(a, b, seed, f"{where}.{name}()")
    betas = torch.tensor([0.1, 0.5])
    agree(theirs(betas).alphas_cumprod, ours(betas).alphas_cumprod, f"{where}(betas)")


def agree_as_objects(a, b, seed: int, where: str) -> None:
    rng = torch.Generator().manual_seed(seed)
    last = len(b.betas) - 1
    for dtype, shape in ((torch.float32, (3, 2, 4, 5)), (torch.float64, (2, 6)), (torch.float32, (4, 1))):
        x0, noise = torch.randn(2, *shape, generator=rng, dtype=dtype)
        t = torch.randint(0, last + 1, shape[:1], generator=rng)
        agree(a.add_noise(x0, noise, t), b.add_noise(x0, noise, t), f"{where}.add_noise")
        if hasattr(a, "posterior"):
            for step in (0, 1, last):
                agree(
                    a.posterior(x0, noise, step), b.posterior(x0, noise, step), f"{where}.posterior at {step}"
                )
    if hasattr(a, "snr"):
        agree(a.snr(t), b.snr(t), f"{where}.snr")
        agree(a.snr(last), b.snr(last), f"{where}.snr")


def agree_as_posteriors(theirs: Callable, ours: Callable, where: str) -> None:
    """minisd's is a method: the notebook's function takes the schedule or alphas_cumprod as one more
    parameter.
    """
    names = list(inspect.signature(theirs).parameters)
    assert {"x0", "x_t", "t"} <= set(names), (
        f"{where} should take x0, x_t and t, and the schedule or alphas_cumprod"
    )
    for seed in range(4):
        values = arguments(seed)
        for t in (0, 1, values["t"], 199):
            values["t"] = t
            known = values["schedule"].posterior(values["x0"], values["x_t"], t)
            agree(theirs(**{name: values[name] for name in names}), known, f"{where} at t = {t}")


VAES = (  # two sizes: widths, layers a level, latents, groups
    ((8, 16), 2, 3, 4),
    ((8, 8, 16, 24), 1, 4, 8),
)


def agree_as_autoencoders(theirs: type, ours: type, where: str) -> None:
    """The same weights under the same names; then what is encoded, drawn and decoded, and the KL."""
    for seed, (widths, layers, latents, groups) in enumerate(VAES):
        config = {
            "in_channels": 3,
            "out_channels": 3,
            "latent_channels": latents,
            "block_out_channels": list(widths),
            "layers_per_block": layers,
            "norm_num_groups": groups,
            "scaling_factor": 0.5,
            "down_block_types": ["DownEncoderBlock2D"] * len(widths),
            "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        }
        torch.manual_seed(seed)
        b = ours(config).double().requires_grad_(False)  # so that rounding does not hide a slip
        a = theirs(config).double().requires_grad_(False)
        agree_in_weights(a, b, where)
        x = torch.randn(2, 3, 48, 32, dtype=torch.float64)
        of_a, of_b = a.encode(x), b.encode(x)
        for part in ("mean", "logvar", "std"):
            agree(getattr(of_a, part), getattr(of_b, part), f"{where}.encode(x).{part}")
        for name in ("kl", "mode"):
            agree(getattr(of_a, name)(), getattr(of_b, name)(), f"{where}.encode(x).{name}()")
        draws = [one.sample(torch.Generator().manual_seed(seed)) for one in (of_a, of_b)]
        agree(*draws, f"{where}.encode(x).sample()")
        agree(a.decode(draws[1]), b.decode(draws[1]), f"{where}.decode(z)")
        wild = 1000 * x  # beyond the limits of the log-variance
        agree(a.encode(wild).std, b.encode(wild).std, f"{where}.encode(1000 x).std")


def agree_in_weights(theirs: nn.Module, ours: nn.Module, where: str) -> None:
    """The same names and shapes; afterwards the notebook's module has minisd's weights."""
    names = [{name: tuple(w.shape) for name, w in net.state_dict().items()} for net in (theirs, ours)]
    assert names[0] == names[1], (
        f"{where}: other weights: {sorted(set(names[0].items()) ^ set(names[1].items()))[:4]}"
    )
    theirs.load_state_dict(ours.state_dict())


def agree_as_resnet_blocks(theirs: type, ours: type, where: str) -> None:
    """With the same and with another number of channels, for both eps of the book; with a time where the
    notebook's block takes one.
    """
    for seed, (inputs, outputs, eps) in enumerate(((8, 8, 1e-6), (8, 12, 1e-5))):
        agree_as_modules(theirs(inputs, outputs, 4, eps), ours(inputs, outputs, 4, eps), inputs, seed, where)
        if "time_dim" in inspect.signature(theirs).parameters:
            a, b = (kind(inputs, outputs, 4, eps, time_dim=10) for kind in (theirs, ours))
            agree_in_weights(a, b, f"{where} with a time")
            rng = torch.Generator().manual_seed(seed)
            x, emb = torch.randn(2, inputs, 6, 5, generator=rng), torch.randn(2, 10, generator=rng)
            agree(a(x, emb).detach(), b(x, emb).detach(), f"{where} with a time")


def agree_as_embeddings(theirs: Callable, ours: Callable, where: str) -> None:
    """Whole timesteps and others, first and last; several widths."""
    t = torch.tensor([0.0, 1.0, 0.5, 500.0, 999.0])
    for width in (2, 8, 56, 320):
        agree(theirs(t, width), ours(t, width), f"{where}(t, {width})")
        agree(theirs(t.long(), width), ours(t.long(), width), f"{where} of whole timesteps")


UNETS = (  # widths, layers a level, which levels read words
    ((8, 16), 1, (False, True)),
    ((8, 8, 12), 2, (True, True, False)),
    ((8,), 2, (False,)),
)


def agree_as_unets(theirs: type, ours: type, where: str) -> None:
    """The same weights under the same names; even sides and odd ones, one timestep or several."""
    for seed, (widths, layers, words) in enumerate(UNETS):
        config = {
            "in_channels": 4,
            "out_channels": 4,
            "block_out_channels": list(widths),
            "layers_per_block": layers,
            "down_block_types": ["CrossAttnDownBlock2D" if w else "DownBlock2D" for w in words],
            "up_block_types": ["CrossAttnUpBlock2D" if w else "UpBlock2D" for w in reversed(words)],
            "cross_attention_dim": 6,
            "attention_head_dim": 2,
            "norm_num_groups": 4,
            "norm_eps": 1e-5,
        }
        torch.manual_seed(seed)
        b = ours(config).double().requires_grad_(False)
        a = theirs(config).double().requires_grad_(False)
        agree_in_weights(a, b, where)
        for sides, t in (((8, 8), 500), ((8, 12), torch.tensor([3, 900])), ((7, 5), torch.tensor([0, 999]))):
            z = torch.randn(2, 4, *sides, dtype=torch.float64)
            context = torch.randn(2, 3, 6, dtype=torch.float64)
            agree(a(z, t, context), b(z, t, context), f"{where} at {sides}")


def agree_as_resamplings(theirs: type, ours: type, where: str) -> None:
    """Down with both paddings, or up; even sides and odd ones."""
    for seed, options in enumerate(({}, {"asymmetric": True}) if where == "Downsample" else ({},)):
        agree_as_modules(theirs(8, **options), ours(8, **options), 8, seed, f"{where}({options})")


def agree_as_modules(theirs: nn.Module, ours: nn.Module, channels: int, seed: int, where: str) -> None:
    agree_in_weights(theirs, ours, where)
    for sides in ((8, 6), (7, 5)):
        x = torch.randn(2, channels, *sides, generator=torch.Generator().manual_seed(seed))
        agree(theirs(x).detach(), ours(x).detach(), where)


TEXTS = [
    "a red house left of a yellow tent in the snow at night",
    "It's 2024!!  they'll'VE \t(3.14)",
    "ΣΑΣ Straße e\u0301te\u0301 ﬁ ½ İ",
    "雪の中の赤い家 🚀👩\u200d👩\u200d👧 бык हिन्दी",
    "zzz zzzz zzzzz banana bandana",
    "house " * 90,
    "",
]


def agree_as_tokenizers(theirs: type, ours: type, where: str) -> None:
    """Trained on the same texts to several sizes: the same merges, numbers, ids, rows and texts."""
    texts = 3 * TEXTS + ["zz zzz banana"] * 4
    for size in (514, 540, 700, 5000):
        a, b = theirs.train(texts, size), ours.train(texts, size)
        agree(a.merges, b.merges, f"{where}.train({size}).merges")
        agree(a.vocab, b.vocab, f"{where}.train({size}).vocab")
        agree([len(a), a.bos, a.eos], [len(b), b.bos, b.eos], f"{where}.train({size})")
        for text in TEXTS:
            agree(a.encode(text), b.encode(text), f"{where}.encode({text!r:.40})")
            agree(a.decode(b.encode(text)), b.decode(b.encode(text)), f"{where}.decode({text!r:.40})")
        agree(a(TEXTS), b(TEXTS), f"{where}(texts)")
        agree(a(TEXTS[0]), b(TEXTS[0]), f"{where}(text)")
        short = [type_(b.merges, max_length=9) for type_ in (theirs, ours)]
        agree(short[0](TEXTS), short[1](TEXTS), f"{where}(texts), nine places")


def agree_as_attention(theirs: type, ours: type, where: str) -> None:
    """With the same weights, at several sizes, with and without a context."""
    for seed, (width, context_dim, heads, bias) in enumerate(
        ((8, None, 2, False), (12, 5, 3, False), (16, 7, 16, True), (6, None, 1, True))
    ):
        torch.manual_seed(seed)
        b = ours(width, context_dim, heads=heads, bias=bias)
        a = theirs(width, context_dim, heads=heads, bias=bias)
        a.load_state_dict(b.state_dict())  # strict: the same names and shapes
        x, context = torch.randn(2, 5, width), torch.randn(2, 3, context_dim or width)
        with torch.no_grad():
            agree(a(x, context), b(x, context), f"{where} with a context")
            if context_dim is None:
                agree(a(x), b(x), where)


def agree_as_transformer_blocks(theirs: type, ours: type, where: str) -> None:
    """With the same weights, at several sizes; and the picture that it is for, flattened, in both."""
    for seed, (width, context_dim, heads) in enumerate(((8, 5, 2), (12, 12, 3), (6, 7, 1))):
        a, b = theirs(width, context_dim, heads), ours(width, context_dim, heads)
        agree_in_weights(a, b, where)
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(2, 9, width, generator=generator)
        context = torch.randn(2, 4, context_dim, generator=generator)
        with torch.no_grad():
            agree(a(x, context), b(x, context), where)


def agree_as_picture_transformers(theirs: type, ours: type, where: str) -> None:
    """With the same weights, on a picture that is not square."""
    for seed, (channels, context_dim, heads, groups) in enumerate(((8, 5, 2, 4), (12, 12, 3, 2))):
        a, b = theirs(channels, context_dim, heads, groups), ours(channels, context_dim, heads, groups)
        agree_in_weights(a, b, where)
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(2, channels, 3, 5, generator=generator)
        context = torch.randn(2, 4, context_dim, generator=generator)
        with torch.no_grad():
            agree(a(x, context), b(x, context), where)


READING = {  # a text tower of several sizes: width, inner width, layers, heads, tokens
    "hidden_size": (12, 24, 8),
    "intermediate_size": (30, 96, 16),
    "num_hidden_layers": (3, 1, 2),
    "num_attention_heads": (3, 4, 1),
    "vocab_size": (50, 200, 9),
}


def agree_as_text_encoders(theirs: type, ours: type, where: str) -> None:
    """With the same weights: short and full rows of tokens, whatever number of layers is left out."""
    for seed in range(3):
        torch.manual_seed(seed)
        config = {key: sizes[seed] for key, sizes in READING.items()} | {"max_position_embeddings": 77}
        a, b = theirs(config), ours(config)
        a.load_state_dict(b.state_dict())  # strict: the same names and shapes
        for tokens in (1, 9, 77):
            ids = torch.randint(config["vocab_size"], (2, tokens))
            with torch.no_grad():
                agree(a(ids), b(ids), where)
                for skip in range(config["num_hidden_layers"]):
                    agree(a(ids, clip_skip=skip), b(ids, clip_skip=skip), f"{where} without {skip} layers")


def agree_as_clips(theirs: type, ours: type, where: str) -> None:
    """With the same weights: the vectors of both towers, the scores, and their gradients."""
    for seed, (size, patch) in enumerate(((12, 4), (16, 8), (10, 5))):
        torch.manual_seed(seed)
        text = {key: sizes[seed] for key, sizes in READING.items()} | {"max_position_embeddings": 20}
        image = {key: sizes[-1 - seed] for key, sizes in READING.items() if key != "vocab_size"}
        image |= {"image_size": size, "patch_size": patch}
        config = {"text_config": text, "vision_config": image, "projection_dim": 6}
        a, b = theirs(config), ours(config)
        agree(a.logit_scale.detach(), b.logit_scale.detach(), f"{where}.logit_scale at the start")
        a.load_state_dict(b.state_dict())
        ids = torch.randint(text["vocab_size"] - 1, (5, 11))
        ids[:, 7:] = text["vocab_size"] - 1  # the end token, and padding with it
        images = torch.randn(3, 3, size, size)
        with torch.no_grad():
            agree(a.encode_text(ids), b.encode_text(ids), f"{where}.encode_text")
            agree(a.encode_image(images), b.encode_image(images), f"{where}.encode_image")
        for model in (a, b):
            model(ids, images).square().sum().backward()
        agree(a(ids, images).detach(), b(ids, images).detach(), f"{where}()")
        agree(a.logit_scale.grad, b.logit_scale.grad, f"{where}: the gradient of the temperature")


def agree_as_contrastive_losses(theirs: Callable, ours: Callable, where: str) -> None:
    """With and without more captions than pictures, and pairs that are also true; values and gradients."""
    for seed, (images, texts) in enumerate(((1, 1), (4, 4), (5, 9), (3, 12))):
        rng = torch.Generator().manual_seed(seed)
        marks = torch.rand(images, texts, generator=rng) < 0.3
        marks.fill_diagonal_(False)
        for also_true in (None, marks, torch.zeros_like(marks)):
            results = []
            for loss in (theirs, ours):
                logits = 3 * torch.randn(images, texts, generator=torch.Generator().manual_seed(seed))
                logits.requires_grad_()
                value = loss(logits) if also_true is None else loss(logits, also_true)
                value.backward()
                results.append((value.detach(), logits.grad))
            agree(*results, f"{where} of {images} pictures and {texts} captions")


LOOPS = ("ddpm", "ddim", "euler", "euler_a", "lms", "pndm", "dpmpp_2m")


# What stands in `builds` of book.toml: how the notebook's and minisd's are compared.
def agree_as_controlnets(theirs: type, ours: type, where: str) -> None:
    """The notebook's is made of a U-Net and the encoder's widths, like `from_unet`; no weight is zero."""
    for seed, widths in enumerate(((8, 8), (8, 12, 16))):
        torch.manual_seed(seed)
        unet = UNet(CONTROLLED)
        a, b = (net.requires_grad_(False) for net in (theirs(unet, widths), ours.from_unet(unet, widths)))
        for weight in b.parameters():
            weight.normal_(std=0.2)
        agree_in_weights(a, b, where)
        z, context = torch.randn(2, 4, 8, 6), torch.randn(2, 3, 6)
        plan = torch.rand(2, 3, *(side * 2 ** (len(widths) - 1) for side in (8, 6)))
        skips, middle = a(z, 700, context, plan)
        skips_ours, middle_ours = b(z, 700, context, plan)
        for one, other in zip([*skips, middle], [*skips_ours, middle_ours], strict=True):
            agree(one, other, where)


CONTROLLED = {
    "block_out_channels": [8, 12],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 6,
    "attention_head_dim": 2,
    "norm_num_groups": 4,
}


def agree_as_image_tokens(theirs: type, ours: type, where: str) -> None:
    """The notebook's takes the sizes that minisd's reads in its config."""
    for sizes in ((6, 8, 3), (5, 4, 1)):
        a = theirs(*sizes).double().requires_grad_(False)
        b = ours(dict(zip(("image_width", "context_width", "tokens"), sizes))).double().requires_grad_(False)
        agree_in_weights(a, b, where)
        vectors = torch.randn(2, sizes[0], dtype=torch.float64)
        agree(a(vectors), b(vectors), where)


COMPARATORS = {
    "minisd.controlnet.ControlNet": agree_as_controlnets,
    "minisd.likeness.ImageTokens": agree_as_image_tokens,
    "minisd.schedule.NoiseSchedule": agree_as_schedules,
    "minisd.schedule.NoiseSchedule.posterior": agree_as_posteriors,
    "minisd.schedule.jump_posterior": agree_as_functions,
    "minisd.blocks.ResnetBlock": agree_as_resnet_blocks,
    "minisd.blocks.timestep_embedding": agree_as_embeddings,
    "minisd.blocks.Downsample": agree_as_resamplings,
    "minisd.blocks.Upsample": agree_as_resamplings,
    "minisd.unet.UNet": agree_as_unets,
    "minisd.vae.AutoencoderKL": agree_as_autoencoders,
    "minisd.tokenizer.BPE": agree_as_tokenizers,
    "minisd.attention.Attention": agree_as_attention,
    "minisd.attention.TransformerBlock": agree_as_transformer_blocks,
    "minisd.attention.PictureTransformer": agree_as_picture_transformers,
    "minisd.clip.TextEncoder": agree_as_text_encoders,
    "minisd.clip.CLIP": agree_as_clips,
    "minisd.clip.contrastive_loss": agree_as_contrastive_losses,
    "minisd.pipeline.guide": agree_as_functions,
    "minisd.pipeline.rescale_guidance": agree_as_functions,
    **{
        f"minisd.samplers.{name}": agree_as_functions
        for name in (
            "predict_original",
            "ddim_step",
            "dpmpp_step",
            "extrapolate",
            "euler_step",
            "ancestral_sigmas",
            "multistep_weights",
            "karras_sigmas",
            *LOOPS,
        )
    },
}


def theirs_of(name: str, path: Path):
    """The notebook's counterpart of minisd's `name`: its last part, or that part of the class before it."""
    owner, last = name.split(".")[-2:]
    try:
        return definitions(path, [last])[last]
    except AssertionError:
        if not owner[:1].isupper():
            raise
        return bound_method(definitions(path, [owner])[owner], last)


def bound_method(owner: type, last: str) -> Callable:
    """A method as a function of its parameters and `schedule`, as the comparators call it."""
    method = getattr(owner, last)

    def function(x0, x_t, t, schedule):
        return method(owner(schedule.betas), x0, x_t, t)

    return function

"""The microscope: each trap broken on purpose, one at a time; it must name the place and the trap."""

from dataclasses import replace
from types import SimpleNamespace

import diffusers
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import minisd.unet
from minisd import NoiseSchedule, StableDiffusion
from minisd.attention import GEGLU
from minisd.blocks import ResnetBlock, Upsample
from minisd.teaching import microscope
from minisd.tokenizer import BPE
from small import small_pipeline

PROMPT = {"prompt": "a red house in the snow", "num_inference_steps": 3, "height": 32, "width": 32}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "model"
    small_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def theirs(saved):
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(saved)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def ours(saved):
    return StableDiffusion.from_pretrained(saved, device="cpu")


class Student:
    """A reader's own pipeline, as plain as can be, with a place to go wrong for each trap of the loop."""

    def __init__(self, pipe, **wrong):
        self.tokenizer, self.text_encoder = pipe.tokenizer, pipe.text_encoder
        self.unet, self.vae, self.device = pipe.unet, pipe.vae, pipe.device
        self.wrong = wrong

    def ddim(self, x, noise, ab_t, ab_prev, fresh, eta):
        sigma = eta * ((1 - ab_prev) / (1 - ab_t)) ** 0.5 * (1 - ab_t / ab_prev) ** 0.5
        x0 = (x - (1 - ab_t) ** 0.5 * noise) / ab_t**0.5
        return ab_prev**0.5 * x0 + (1 - ab_prev - sigma**2) ** 0.5 * noise + sigma * fresh

    def stream(
        self, prompt, *, negative_prompt, num_inference_steps, guidance_scale, seed, height, width, **options
    ):
        w, eta = self.wrong, options.get("eta", 0.0)
        draw = torch.Generator().manual_seed(seed)
        x = w.get("draw", torch.randn)((1, 4, height // 8, width // 8), generator=draw).float()
        ab = w.get("schedule", NoiseSchedule.scaled_linear()).alphas_cumprod
        last = w.get("last", ab[0])
        words, nothing = (self.text_encoder(self.tokenizer([text])) for text in (prompt, negative_prompt))
        context = torch.cat(w.get("order", lambda u, c: [u, c])(nothing, words))
        jump = 1000 // num_inference_steps
        for i, t in enumerate(
            w.get("timesteps", [i * jump + 1 for i in reversed(range(num_inference_steps))])
        ):
            u, c = self.unet(torch.cat([x, x]) * w.get("scale", lambda i: 1)(i), t, context).chunk(2)
            noise = w.get("guide", lambda u, c, s: u + s * (c - u))(u, c, guidance_scale)
            fresh = torch.randn(x.shape, generator=draw) if eta else 0.0
            x = w.get("step", self.ddim)(x, noise, ab[t], ab[t - jump] if t >= jump else last, fresh, eta)
            yield SimpleNamespace(noise=noise, latents=x)

    def __call__(self, prompt, **options):
        *_, step = self.stream(prompt, **options)
        picture = self.vae.decode(step.latents * self.wrong.get("latents", 1 / 0.4))
        levels = (picture / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255
        return [Image.fromarray(x) for x in self.wrong.get("round", np.round)(levels).astype(np.uint8)]


def assert_blames(report, name, trap, *words):
    assert report.first is not None and report.first.name == name, f"{report.first}\n{report.cause}"
    assert report.trap == trap, report.cause
    for word in words:
        assert word in report.cause, report.cause


# ---- nothing broken


def test_two_pipelines_that_agree(ours, theirs):
    report = microscope(ours, theirs, PROMPT)
    assert report.first is None and report.trap is None
    assert "agree" in report.cause and "largest relative difference" in report.cause
    rows = {row.name: row for row in report.rows}
    order = [
        "tokens",
        "text_encoder.encoder.layers.0.mlp.fc1",
        "text_encoder",
        "initial latents",
        "step 0: timestep",
        "step 0: U-Net input",
        "step 0: context",
        "step 0: unet.conv_in",
        "step 0: unet.mid_block",
        "step 0: unet",
        "step 0: guided noise",
        "step 0: latents",
        "step 2: timestep",
        "step 2: latents",
        "latents for the VAE",
        "vae.decoder.conv_in",
        "decoded picture",
        "8-bit picture",
    ]
    places = [list(rows).index(name) for name in order]
    assert places == sorted(places)
    assert not [name for name in rows if "dropout" in name or name.endswith("ff.net")]  # in one program alone
    assert rows["tokens"].shape == "(2, 77)" and rows["8-bit picture"].shape == "(1, 32, 32, 3)"
    assert rows["step 0: timestep"].dtype == "float64" and rows["step 0: unet"].dtype == "float32"
    assert len(rows) > 600 and all(row.relative < 1e-5 for row in report.rows)


def test_a_students_pipeline_that_agrees(ours, theirs):
    assert microscope(Student(ours), theirs, PROMPT).first is None
    assert microscope(Student(ours), theirs, {**PROMPT, "eta": 0.7}).first is None
    assert microscope(Student(ours), ours, PROMPT).first is None


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


def test_networks_that_agree(ours, theirs):
    unet = (noise(2, 4, 8, 8), 981, noise(2, 77, 16))
    for a, b, inputs, some in (
        (ours.unet, theirs.unet, unet, "UNet.mid_block.attentions.0"),
        (
            ours.text_encoder,
            theirs.text_encoder,
            ours.tokenizer(["a red house"]),
            "TextEncoder.final_layer_norm",
        ),
        (ours.vae, theirs.vae, noise(1, 3, 64, 64), "posterior logvar"),
        (ours.vae, theirs.vae, noise(1, 4, 8, 8), "decoded picture"),
        (
            ours.vae.decoder.mid_block,
            theirs.vae.decoder.mid_block,
            noise(1, 16, 8, 8),
            "MidLevel.resnets.0.norm1",
        ),
    ):
        report = microscope(a, b, inputs)
        assert report.first is None and "agree" in report.cause
        assert some in [row.name for row in report.rows]


@pytest.mark.parametrize(
    "name, scheduler, options",
    [
        ("euler", diffusers.EulerDiscreteScheduler, {}),
        ("pndm", diffusers.PNDMScheduler, {"skip_prk_steps": True}),
        ("dpmpp_2m", diffusers.DPMSolverMultistepScheduler, {}),
    ],
)
def test_other_samplers_that_agree(ours, theirs, monkeypatch, name, scheduler, options):
    scheduler = scheduler.from_config(theirs.scheduler.config, timestep_spacing="leading", **options)
    monkeypatch.setattr(theirs, "scheduler", scheduler)
    assert microscope(ours, theirs, {**PROMPT, "sampler": name}).first is None
    report = microscope(ours, theirs, {**PROMPT, "num_inference_steps": 4, "sampler": "ddim"})
    assert report.first is not None  # the microscope sees that these are two samplers


def test_euler_without_its_scale(ours, theirs, monkeypatch):
    """Trap 17 at its natural place: the U-Net's input not divided by sqrt(sigma^2 + 1)."""
    scheduler = diffusers.EulerDiscreteScheduler.from_config(
        theirs.scheduler.config, timestep_spacing="leading"
    )
    monkeypatch.setattr(theirs, "scheduler", scheduler)
    root = {t: (1 / ours.schedule.alphas_cumprod[t].item()) ** 0.5 for t in (667, 334, 1)}
    ours.unet.register_forward_pre_hook(lambda m, args: (args[0] * root[int(args[1])], *args[1:]))
    report = microscope(ours, theirs, {**PROMPT, "sampler": "euler"})
    assert_blames(report, "initial latents", 17, "times the reference")


# ---- one trap at a time, in the networks


def block(net):
    return net.mid_block.attentions[0].transformer_blocks[0]


def set_to(get, name, value):
    """A break: one attribute of one module."""
    return lambda p, patch: setattr(get(p), name, value)


def without_final_norm(p, patch):
    tower = p.text_encoder.text_model
    tower.forward = lambda ids, skip: tower.encoder(tower.embeddings(ids), causal=True)


def without_mask(p, patch):
    tower = p.text_encoder.text_model
    tower.forward = lambda ids, skip: tower.final_layer_norm(
        tower.encoder(tower.embeddings(ids), causal=False)
    )


def one_layer_early(p, patch):
    encoder = p.text_encoder.text_model.encoder
    encoder.forward = lambda x, causal, skip: encoder.layers[0](x, causal)


def hides_padding(p, patch):
    attention = p.text_encoder.text_model.encoder.layers[0].self_attn
    seen = torch.arange(77) <= p.tokenizer(["", PROMPT["prompt"]]).argmax(dim=-1, keepdim=True)
    mask = seen[:, None, None] & torch.ones(77, 77, dtype=torch.bool).tril()

    def forward(x, causal):
        projections = attention.q_proj, attention.k_proj, attention.v_proj
        q, k, v = (project(x).unflatten(-1, (2, -1)).transpose(1, 2) for project in projections)
        return attention.out_proj(
            F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        )

    attention.forward = forward


def without_root(p, patch):
    attention = block(p.unet).attn2

    def forward(x, context):
        projected = attention.to_q(x), attention.to_k(context), attention.to_v(context)
        q, k, v = (y.unflatten(-1, (4, -1)).transpose(1, 2) for y in projected)
        return attention.to_out[0](
            F.scaled_dot_product_attention(q, k, v, scale=1.0).transpose(1, 2).flatten(2)
        )

    attention.forward = forward


def gate_first(p, patch):
    def forward(self, x):
        gate, value = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)

    patch.setattr(GEGLU, "forward", forward)


def tanh_gate(p, patch):
    def forward(self, x):
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate, approximate="tanh")

    patch.setattr(GEGLU, "forward", forward)


def waves(make):
    def wrong(t, width):
        half = width // 2
        return make(t[:, None].float(), half, lambda d: 10000.0 ** (-torch.arange(half) / d))

    return lambda p, patch: patch.setattr(minisd.unet, "timestep_embedding", wrong)


sines_first = waves(lambda t, half, f: torch.cat([(t * f(half)).sin(), (t * f(half)).cos()], dim=-1))
shifted = waves(lambda t, half, f: torch.cat([(t * f(half - 1)).cos(), (t * f(half - 1)).sin()], dim=-1))


def without_silu(p, patch):
    def forward(self, x, emb=None):
        h = self.conv1(F.silu(self.norm1(x)))
        h = h if emb is None else h + self.time_emb_proj(emb)[:, :, None, None]
        return self.conv2(F.silu(self.norm2(h))) + (
            self.conv_shortcut(x) if self.conv_shortcut is not None else x
        )

    patch.setattr(ResnetBlock, "forward", forward)


def without_time(p, patch):
    def forward(self, x, emb=None):
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return h + (self.conv_shortcut(x) if self.conv_shortcut is not None else x)

    patch.setattr(ResnetBlock, "forward", forward)


def bilinear(p, patch):
    def forward(self, x, size=None):
        return self.conv(F.interpolate(x, size=size or (2 * x.shape[2], 2 * x.shape[3]), mode="bilinear"))

    patch.setattr(Upsample, "forward", forward)


def asymmetric(p, patch):
    down = p.unet.down_blocks[0].downsamplers[0]
    down.asymmetric, down.conv.padding = True, (0, 0)


def other_scale(p, patch):
    p.vae.config = replace(p.vae.config, scaling_factor=0.18215)


def wrong_ids(change):
    """A break: the tokenizer's ids, changed."""

    def apply(p, patch):
        right = BPE.__call__
        patch.setattr(BPE, "__call__", lambda self, texts: change(right(self, texts), self))

    return apply


def pad_with_0(ids, tokenizer):
    place = torch.arange(77)
    return torch.where(place > ids.argmax(dim=-1, keepdim=True), 0, ids)


RES = "step 0: unet.down_blocks.0.resnets.0"
MID = "step 0: unet.mid_block.attentions.0.transformer_blocks.0"
FIRST = "step 0: unet.down_blocks.1.attentions.0.transformer_blocks.0"
LAYER = "text_encoder.encoder.layers.0"
BREAKS = {
    "CLIP with gelu": (
        set_to(lambda p: p.text_encoder.text_model.encoder.layers[0].mlp, "activation", F.gelu),
        f"{LAYER}.mlp",
        1,
        "the exact GELU",
    ),
    "CLIP's eps": (
        set_to(lambda p: p.text_encoder.text_model.encoder.layers[0].layer_norm2, "eps", 1e-6),
        f"{LAYER}.layer_norm2",
        1,
        "eps 1e-06, the reference has 1e-05",
    ),
    "no final norm": (without_final_norm, "text_encoder", 2, "final_layer_norm"),
    "final norm an identity": (
        set_to(lambda p: p.text_encoder.text_model, "final_layer_norm", nn.Identity()),
        "text_encoder.final_layer_norm",
        2,
        "leaves it out",
    ),
    "one layer early": (one_layer_early, "text_encoder.encoder", 2, "one layer too early"),
    "no causal mask": (without_mask, f"{LAYER}.self_attn", 2, "no causal mask"),
    "padding hidden": (hides_padding, f"{LAYER}.self_attn", 2, "hides the padding"),
    "padded with 0": (wrong_ids(pad_with_0), "tokens", 3, "pads with 0"),
    "no BOS": (wrong_ids(lambda ids, t: torch.cat([ids[:, 1:], ids[:, -1:]], 1)), "tokens", 3, "no BOS"),
    "other ids": (
        wrong_ids(lambda ids, t: torch.where(ids == t.bos, 0, torch.where(ids == t.eos, 2, ids))),
        "tokens",
        3,
        "BOS, EOS and padding are others",
    ),
    "split otherwise": (
        wrong_ids(lambda ids, t: torch.where(torch.arange(77) == 2, ids + 1, ids)),
        "tokens",
        4,
        "split otherwise",
    ),
    "eps of a ResNet block": (
        set_to(lambda p: p.unet.down_blocks[0].resnets[0].norm1, "eps", 1e-6),
        f"{RES}.norm1",
        5,
        "eps 1e-06, the reference has 1e-05",
    ),
    "eps of a transformer": (
        set_to(lambda p: p.unet.mid_block.attentions[0].norm, "eps", 1e-5),
        "step 0: unet.mid_block.attentions.0.norm",
        5,
        "eps 1e-05, the reference has 1e-06",
    ),
    "eps of the VAE": (
        set_to(lambda p: p.vae.decoder.mid_block.resnets[0].norm1, "eps", 1e-5),
        "vae.decoder.mid_block.resnets.0.norm1",
        5,
        "eps 1e-05, the reference has 1e-06",
    ),
    "groups": (
        set_to(lambda p: p.unet.conv_norm_out, "num_groups", 4),
        "step 0: unet.conv_norm_out",
        5,
        "4 groups",
    ),
    "head size for heads": (
        set_to(lambda p: block(p.unet).attn1, "heads", 8),
        f"{MID}.attn1",
        6,
        "8 heads of 4 channels, the reference 4 of 8",
    ),
    "heads in the VAE": (
        set_to(lambda p: p.vae.decoder.mid_block.attentions[0], "heads", 2),
        "vae.decoder.mid_block.attentions.0",
        6,
        "2 heads of 8 channels, the reference 1 of 16",
    ),
    "no root of d": (without_root, f"{MID}.attn2", 6, "does not divide by sqrt(d)"),
    "gate first": (gate_first, f"{FIRST}.ff.net.0", 7, "gate first"),
    "tanh gelu": (tanh_gate, f"{FIRST}.ff.net.0", 7, "tanh-GELU"),
    "sines first": (sines_first, "step 0: unet", 8, "sines before the cosines"),
    "frequency shift": (shifted, "step 0: unet", 8, "freq_shift 1"),
    "no SiLU on the time": (without_silu, RES, 8, "no SiLU"),
    "time not added": (without_time, RES, 8, "never adds the time"),
    "bilinear": (bilinear, "step 0: unet.up_blocks.0.upsamplers.0", 9, "bilinear"),
    "asymmetric U-Net": (asymmetric, "step 0: unet.down_blocks.0.downsamplers.0", 9, "pads right and below"),
    "another latent scale": (
        other_scale,
        "latents for the VAE",
        10,
        "divides by 0.18215, the reference by 0.4",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_in_a_network_is_named(ours, theirs, monkeypatch, name):
    apply, row, trap, words = BREAKS[name]
    apply(ours, monkeypatch)
    assert_blames(microscope(ours, theirs, {**PROMPT, "num_inference_steps": 1}), row, trap, words)


def test_a_cut_text_that_loses_its_eos(ours, theirs, monkeypatch):
    wrong_ids(
        lambda ids, t: torch.where((torch.arange(77) == 76) & (ids[:, 75:76] != t.eos), ids[:, 5:6], ids)
    )(ours, monkeypatch)
    options = {**PROMPT, "prompt": "a red house " * 50, "num_inference_steps": 1}
    with pytest.warns(UserWarning, match="too long"):
        assert_blames(microscope(ours, theirs, options), "tokens", 3, "loses the EOS")


def test_an_eps_that_hides_in_the_noise_of_its_inputs(ours, theirs, monkeypatch):
    """Inputs off by 1e-6, as deep in a real network, and an eps that moves the output by less than 30 times
    that.
    """
    ours.unet.conv_in.register_forward_hook(
        lambda m, args, output: output * (1 + 1e-6 * torch.randn(output.shape))
    )
    ours.unet.down_blocks[0].resnets[0].norm1.eps = 1e-6
    report = microscope(ours, theirs, {**PROMPT, "num_inference_steps": 1})
    assert_blames(report, f"{RES}.norm1", 5, "eps 1e-06")
    assert report.first.verdict == "agrees" and 0 < report.first.inputs < 1e-5


def test_symmetric_padding_in_the_vae(ours, theirs):
    down = ours.vae.encoder.down_blocks[1].downsamplers[0]
    down.asymmetric, down.conv.padding = False, (1, 1)
    report = microscope(ours.vae, theirs.vae, noise(1, 3, 64, 64))
    assert_blames(report, "AutoencoderKL.encoder.down_blocks.1.downsamplers.0", 9, "pads all sides")


def test_a_log_variance_that_is_not_clamped(ours, theirs, monkeypatch):
    from minisd.vae import Posterior

    monkeypatch.setattr(
        ours.vae, "encode", lambda x: Posterior(*ours.vae.quant_conv(ours.vae.encoder(x)).chunk(2, 1))
    )
    report = microscope(ours.vae, theirs.vae, 500 * noise(1, 3, 64, 64))
    assert report.first is None  # nothing beyond the bounds: clamping changes nothing
    with torch.no_grad():
        for vae in (ours.vae, theirs.vae):
            vae.quant_conv.bias[4:] += 40
    report = microscope(ours.vae, theirs.vae, noise(1, 3, 64, 64))
    with torch.no_grad():
        theirs.vae.quant_conv.bias[4:] -= 40
    assert_blames(report, "posterior logvar", 10, "does not clamp")


# ---- one trap at a time, in the loop


def clamped(x, noise, ab_t, ab_prev, fresh, eta):
    x0 = ((x - (1 - ab_t) ** 0.5 * noise) / ab_t**0.5).clamp(-1, 1)
    return ab_prev**0.5 * x0 + (1 - ab_prev) ** 0.5 * noise


def whole_direction(x, noise, ab_t, ab_prev, fresh, eta):
    sigma = eta * ((1 - ab_prev) / (1 - ab_t)) ** 0.5 * (1 - ab_t / ab_prev) ** 0.5
    x0 = (x - (1 - ab_t) ** 0.5 * noise) / ab_t**0.5
    return ab_prev**0.5 * x0 + (1 - ab_prev) ** 0.5 * noise + sigma * fresh


LOOP = {
    "linear betas": (
        {"schedule": NoiseSchedule.linear(0.00085, 0.012)},
        "step 0: latents",
        11,
        "ours has linear",
    ),
    "DDPM's betas": ({"schedule": NoiseSchedule.linear()}, "step 0: latents", 11, "DDPM's linear"),
    "no offset": ({"timesteps": [666, 333, 0]}, "step 0: timestep", 12, "no offset"),
    "linspace": ({"timesteps": [999, 500, 0]}, "step 0: timestep", 12, "linspace"),
    "trailing": ({"timesteps": [999, 666, 332]}, "step 0: timestep", 12, "trailing"),
    "CompVis": ({"timesteps": [1000, 667, 334, 1]}, "step 0: timestep", 12, "CompVis"),
    "a step too few": ({"timesteps": [667, 334]}, "step 2: timestep", 12, "stops too early"),
    "ends at 1": ({"last": torch.tensor(1.0)}, "step 1: latents", 13, "ours ends at 1"),
    "clip_sample": ({"step": clamped}, "step 0: latents", 14, "clamps"),
    "whole direction": ({"step": whole_direction, "eta": 0.5}, "step 0: latents", 16, "direction"),
    "input not scaled": ({"scale": lambda i: 0.5 if i else 1}, "step 1: U-Net input", 17, "0.5 times"),
    "initial scale": (
        {"draw": lambda s, generator: 2 * torch.randn(s, generator=generator)},
        "initial latents",
        17,
        "2 times",
    ),
    "e_c + s (e_c - e_u)": (
        {"guide": lambda u, c, s: c + s * (c - u)},
        "step 0: guided noise",
        18,
        "computes e_c + s",
    ),
    "no guidance": ({"guide": lambda u, c, s: c}, "step 0: guided noise", 18, "e_c alone"),
    "halves swapped": ({"order": lambda u, c: [c, u]}, "step 0: context", 18, "[conditional, unconditional]"),
    "float16 noise": (
        {"draw": lambda s, generator: torch.randn(s, generator=generator, dtype=torch.float16)},
        "initial latents",
        20,
        "float16",
    ),
    "numpy noise": (
        {"draw": lambda s, generator: torch.from_numpy(np.random.RandomState(0).standard_normal(s))},
        "initial latents",
        20,
        "numpy",
    ),
    "scale multiplied": ({"latents": 0.4}, "latents for the VAE", 10, "divides by 2.5,"),
    "truncation": ({"round": np.floor}, "8-bit picture", 21, "truncates"),
}


@pytest.mark.parametrize("name", LOOP)
def test_a_break_in_the_loop_is_named(ours, theirs, name):
    wrong, row, trap, words = LOOP[name]
    options = {
        **PROMPT,
        "num_inference_steps": 3 if "timesteps" in wrong else 2,
        "eta": wrong.get("eta", 0.0),
    }
    assert_blames(microscope(Student(ours, **wrong), theirs, options), row, trap, words)


def test_pndm_that_does_not_ask_twice(saved):
    def pndm():
        pipe = diffusers.StableDiffusionPipeline.from_pretrained(saved)
        pipe.set_progress_bar_config(disable=True)
        pipe.scheduler = diffusers.PNDMScheduler.from_config(pipe.scheduler.config, skip_prk_steps=True)
        return pipe

    right, wrong = pndm(), pndm()

    def set_timesteps(n, device=None, set_timesteps=wrong.scheduler.set_timesteps):
        set_timesteps(n)
        wrong.scheduler.timesteps = torch.tensor([667, 334, 1])

    wrong.scheduler.set_timesteps = set_timesteps
    assert_blames(microscope(wrong, right, PROMPT), "step 2: timestep", 15, "does not ask twice")


# ---- other mistakes


def test_a_wrong_weight_is_named(ours, theirs):
    with torch.no_grad():
        ours.unet.mid_block.resnets[1].conv2.weight[3, 2, 1, 0] += 0.01
    report = microscope(ours, theirs, {**PROMPT, "num_inference_steps": 1})
    assert_blames(report, "step 0: unet.mid_block.resnets.1.conv2", None, "the weights differ: weight")


def test_a_wrong_weight_that_no_module_call_shows(ours, theirs):
    with torch.no_grad():
        ours.text_encoder.text_model.embeddings.position_embedding.weight[5] *= 1.01
    report = microscope(ours.text_encoder, theirs.text_encoder, ours.tokenizer(["a red house"]))
    assert_blames(report, "TextEncoder.embeddings", None, "the weights differ: position_embedding.weight")


def test_what_no_trap_explains_is_called_unknown(ours, theirs):
    layer = block(ours.unet)
    layer.forward = lambda x, context: type(layer).forward(layer, x, 1.5 * context)
    report = microscope(ours, theirs, {**PROMPT, "num_inference_steps": 1})
    assert_blames(report, MID, None, f"unknown: look inside {MID}, before {MID}.attn2")


@pytest.mark.parametrize("inside", [True, False])
def test_an_exception_is_a_row(ours, theirs, inside):
    def stop(*args, **kwargs):
        raise RuntimeError("out of luck\nand more")

    if inside:
        ours.unet.mid_block.resnets[0].conv1.forward = stop
    else:
        ours.vae.decode = stop
    report = microscope(ours, theirs, PROMPT)
    name = "step 0: unet.mid_block.resnets.0.conv1" if inside else "decoded picture"
    assert_blames(report, name, None, "ours stopped: RuntimeError: out of luck")
    assert "and more" not in report.cause and name in str(report)
    reverse = microscope(theirs, ours, PROMPT)
    assert_blames(reverse, name, None, "the reference stopped: RuntimeError")


def test_an_exception_between_the_modules_is_a_row(ours, theirs):
    def step(*args):
        raise ZeroDivisionError("float division by zero")

    report = microscope(Student(ours, step=step), theirs, PROMPT)
    assert_blames(report, "step 0: between the modules", None, "ours stopped: ZeroDivisionError")


def test_an_exception_in_a_module_that_got_the_wrong_shape_is_its_parents(ours, theirs):
    up = ours.unet.up_blocks[0].upsamplers[0]
    up.forward = lambda x, size=None: up.conv(F.interpolate(x, size=(5, 5)))
    report = microscope(ours, theirs, PROMPT)
    assert_blames(report, "step 0: unet.up_blocks.0.upsamplers.0", None, "unknown: look inside")
    row = next(row for row in report.rows if row is report.first)
    assert row.verdict == "shape differs" and row.shape == "(2, 32, 5, 5) / (2, 32, 4, 4)"


def test_a_wrong_dtype_is_a_difference(ours, theirs):
    conv = ours.unet.conv_in
    conv.forward = lambda x: type(conv).forward(conv, x).double()
    report = microscope(ours.unet.conv_in, theirs.unet.conv_in, noise(1, 4, 8, 8))
    assert report.first.verdict == "dtype differs" and report.first.dtype == "float64 / float32"


def test_nan_is_a_difference(ours, theirs):
    for pipe in (ours, theirs):
        pipe.unet.conv_in.forward = lambda x: torch.full((2, 16, 8, 8), float("nan"))
    report = microscope(ours.unet.conv_in, theirs.unet.conv_in, noise(2, 4, 8, 8))
    del theirs.unet.conv_in.forward
    assert report.first.name == "Conv2d" and report.first.verdict == "differs"


# ---- the report


def test_nothing_is_left_behind(ours, theirs):
    before = [dict(vars(x)) for x in (ours, ours.vae, theirs.vae, theirs.scheduler)]
    microscope(ours, theirs, PROMPT)
    for x, known in zip((ours, ours.vae, theirs.vae, theirs.scheduler), before):
        assert vars(x).keys() == known.keys()
    for net in (ours.unet, ours.vae, ours.text_encoder, theirs.unet, theirs.vae, theirs.text_encoder):
        for module in net.modules():
            assert not module._forward_hooks and not module._forward_pre_hooks


def test_the_table_is_short_and_points_at_the_first_difference(ours, theirs):
    block(ours.unet).attn1.heads = 8
    report = microscope(ours, theirs, PROMPT)
    text, page = str(report), report._repr_html_()
    assert len(text.splitlines()) < 40 and text.endswith(report.cause)
    [line] = [line for line in text.splitlines() if line.startswith("->")]
    assert f"{MID}.attn1 " in line and "differs" in line and "float32" in line
    skipped = [
        int(line.split("...")[1].split()[0]) for line in text.splitlines() if line.strip().startswith("...")
    ]
    shown = sum(" more, " not in line for line in text.splitlines()[1:-2])
    assert len(skipped) == 2 and sum(skipped) + shown == len(report.rows)
    assert page.count("<tr") == len(text.splitlines()) - 2 and page.count("font-weight:bold") == 1
    assert report.ours[report.first.name].output.shape == report.reference[report.first.name].output.shape


def test_the_books_order_needs_no_torch():
    import subprocess
    import sys

    code = "import sys, minisd.teaching.book; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8").stdout
        == "False\n"
    )

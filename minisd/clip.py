"""CLIP: a text encoder and an image encoder that learn to agree (Radford et al. 2021).

Stable Diffusion keeps the text encoder alone, with all its 77 output vectors. The module trees have
the names of transformers' CLIPTextModel, CLIPVisionModelWithProjection and CLIPModel.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .attention import attend
from .config import CLIPConfig, ImageConfig, TextConfig, TowerConfig
from .linear import Linear

LOGIT_SCALE = 2.6592  # ln(1 / 0.07), the temperature that CLIP's training starts from (section 2.5)


def quick_gelu(x: Tensor) -> Tensor:
    """x * sigmoid(1.702 x): near GELU and not equal to it; OpenAI's CLIP was trained with this one."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"quick_gelu": quick_gelu, "gelu": F.gelu}


class SelfAttention(nn.Module):
    """Multi-head self-attention; `causal` lets every token see only itself and those before it."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj = Linear(width, width), Linear(width, width)
        self.q_proj, self.out_proj = Linear(width, width), Linear(width, width)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        return self.out_proj(attend(self.q_proj(x), self.k_proj(x), self.v_proj(x), self.heads, causal))


class MLP(nn.Module):
    """Two linear layers with the config's activation between."""

    def __init__(self, c: TowerConfig):
        super().__init__()
        self.activation = ACTIVATIONS[c.hidden_act]
        self.fc1 = Linear(c.hidden_size, c.intermediate_size)
        self.fc2 = Linear(c.intermediate_size, c.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))


class Layer(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x))."""

    def __init__(self, c: TowerConfig):
        super().__init__()
        width, eps = c.hidden_size, c.layer_norm_eps
        self.self_attn, self.layer_norm1 = (
            SelfAttention(width, c.num_attention_heads),
            nn.LayerNorm(width, eps=eps),
        )
        self.mlp, self.layer_norm2 = MLP(c), nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x), causal)
        return x + self.mlp(self.layer_norm2(x))


class Layers(nn.Module):
    """The stack of layers of either tower."""

    def __init__(self, c: TowerConfig):
        super().__init__()
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.num_hidden_layers))

    def forward(self, x: Tensor, causal: bool, skip: int = 0) -> Tensor:
        for layer in self.layers[: len(self.layers) - skip]:
            x = layer(x, causal)
        return x


class TextEmbeddings(nn.Module):
    """A vector for each token plus a vector for each place in the sentence."""

    def __init__(self, c: TextConfig):
        super().__init__()
        self.token_embedding = nn.Embedding(c.vocab_size, c.hidden_size)
        self.position_embedding = nn.Embedding(c.max_position_embeddings, c.hidden_size)

    def forward(self, ids: Tensor) -> Tensor:
        return self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]


class TextTower(nn.Module):
    """Embeddings, causal layers, final norm: ids (batch, tokens) -> (batch, tokens, hidden_size)."""

    def __init__(self, c: TextConfig):
        super().__init__()
        self.embeddings, self.encoder = TextEmbeddings(c), Layers(c)
        self.final_layer_norm = nn.LayerNorm(c.hidden_size, eps=c.layer_norm_eps)

    def forward(self, ids: Tensor, skip: int = 0) -> Tensor:
        return self.final_layer_norm(self.encoder(self.embeddings(ids), causal=True, skip=skip))


class TextEncoder(nn.Module):
    """What Stable Diffusion reads its prompts with: ids (batch, 77) -> context (batch, 77, width).

    Causal mask only: the padding is not masked. `config` is a TextConfig or the dictionary of the
    checkpoint's text_encoder/config.json.
    """

    def __init__(self, config: Mapping | TextConfig):
        super().__init__()
        self.config = TextConfig.from_dict(config)
        self.text_model = TextTower(self.config)

    def forward(self, ids: Tensor, clip_skip: int = 0) -> Tensor:
        """`clip_skip` leaves out so many of the last layers, but not the final norm, as diffusers does.

        Raises ValueError for too many tokens and for a clip_skip that leaves no layer.
        """
        most, layers = self.config.max_position_embeddings, self.config.num_hidden_layers
        if ids.shape[-1] > most:
            raise ValueError(f"{ids.shape[-1]} tokens, but this encoder reads {most} at most; cut them")
        if not 0 <= clip_skip < layers:
            raise ValueError(
                f"clip_skip must be from 0 to {layers - 1}, since the text encoder has {layers} layers; "
                f"got {clip_skip}"
            )
        return self.text_model(ids, clip_skip)

    def add_tokens(self, vectors: Tensor) -> None:
        """Append a row for each new token: vectors (tokens, hidden_size)."""
        table = self.text_model.embeddings.token_embedding
        old = table.weight
        table.weight = nn.Parameter(torch.cat([old.detach(), vectors.to(old)]), old.requires_grad)
        table.num_embeddings = len(table.weight)
        self.config = replace(self.config, vocab_size=len(table.weight))


def end_of(hidden: Tensor, ids: Tensor) -> Tensor:
    """The vector at each text's first end token: (batch, tokens, width) -> (batch, width).

    The end token has the highest id of the vocabulary, and argmax finds the first of them.
    """
    return hidden[torch.arange(len(ids), device=ids.device), ids.argmax(dim=-1)]


class ImageEmbeddings(nn.Module):
    """The picture cut into patches, a vector each, behind one extra vector that will stand for all of it."""

    def __init__(self, c: ImageConfig):
        super().__init__()
        width, patch = c.hidden_size, c.patch_size
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.patch_embedding = nn.Conv2d(c.num_channels, width, patch, stride=patch, bias=False)
        self.position_embedding = nn.Embedding((c.image_size // patch) ** 2 + 1, width)

    def forward(self, images: Tensor) -> Tensor:
        patches = rearrange(self.patch_embedding(images), "b c h w -> b (h w) c")
        first = self.class_embedding.expand(len(images), 1, -1)
        return torch.cat([first, patches], dim=1) + self.position_embedding.weight


class ImageTower(nn.Module):
    """A vision transformer (Dosovitskiy et al. 2021): images -> one vector each, (batch, hidden_size)."""

    def __init__(self, c: ImageConfig):
        super().__init__()
        width, eps = c.hidden_size, c.layer_norm_eps
        self.embeddings = ImageEmbeddings(c)
        self.pre_layrnorm = nn.LayerNorm(width, eps=eps)  # sic: the published name
        self.encoder = Layers(c)
        self.post_layernorm = nn.LayerNorm(width, eps=eps)

    def forward(self, images: Tensor) -> Tensor:
        x = self.encoder(self.pre_layrnorm(self.embeddings(images)), causal=False)
        return self.post_layernorm(x[:, 0])


class ImageEncoder(nn.Module):
    """CLIP's picture half: images (batch, 3, image_size, image_size) -> (batch, projection_dim)."""

    def __init__(self, config: Mapping | ImageConfig):
        super().__init__()
        c = self.config = ImageConfig.from_dict(config)
        self.vision_model = ImageTower(c)
        self.visual_projection = Linear(c.hidden_size, c.projection_dim, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.visual_projection(self.vision_model(images))


class CLIP(nn.Module):
    """Both encoders, their projections into one space, and the temperature.

    OpenAI's training also keeps exp(logit_scale) below 100 (section 2.5); ours has no such bound.
    `config` is a CLIPConfig or a dictionary with text_config, vision_config and projection_dim, as
    transformers' CLIPModel has them.
    """

    def __init__(self, config: Mapping | CLIPConfig):
        super().__init__()
        c = self.config = CLIPConfig.from_dict(config)
        text, image, width = c.text_config, c.vision_config, c.projection_dim
        self.text_model, self.vision_model = TextTower(text), ImageTower(image)
        self.text_projection = Linear(text.hidden_size, width, bias=False)
        self.visual_projection = Linear(image.hidden_size, width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(LOGIT_SCALE))

    def encode_text(self, ids: Tensor) -> Tensor:
        """ids (batch, tokens) -> unit vectors (batch, projection_dim), read off at the end token."""
        return F.normalize(self.text_projection(end_of(self.text_model(ids), ids)), dim=-1)

    def encode_image(self, images: Tensor) -> Tensor:
        """images (batch, 3, image_size, image_size) -> unit vectors (batch, projection_dim)."""
        return F.normalize(self.visual_projection(self.vision_model(images)), dim=-1)

    def forward(self, ids: Tensor, images: Tensor) -> Tensor:
        """Scaled cosines, a row for each image and a column for each text: (images, texts)."""
        return self.logit_scale.exp() * self.encode_image(images) @ self.encode_text(ids).T


def contrastive_loss(logits: Tensor, also_true: Tensor | None = None) -> Tensor:
    """Cross-entropy both ways: every image finds its text, every text its image (CLIP, figure 3).

    logits (images, texts): text i belongs to image i; texts beyond the number of images are hard
    negatives, wrong for their own image on purpose. `also_true` (images, texts) marks other pairs that
    happen to fit and are left out of the sums.
    """
    labels = torch.arange(len(logits), device=logits.device)
    if also_true is not None:
        logits = logits.masked_fill(also_true, float("-inf"))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits[:, : len(logits)].T, labels)) / 2

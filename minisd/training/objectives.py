"""What each network is asked to do: the three losses, as modules that hold the network as `net`."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..clip import CLIP, TextEncoder, contrastive_loss
from ..scenes.judge import NOT_ASKED
from ..schedule import NoiseSchedule
from ..unet import UNet
from ..vae import AutoencoderKL


class CLIPObjective(nn.Module):
    """Tell every picture's caption from all others, its own hard negatives among them."""

    def __init__(self, net: CLIP):
        super().__init__()
        self.net = net

    def forward(self, ids: Tensor, images: Tensor, also_true: Tensor, *answers: Tensor) -> Tensor:
        return contrastive_loss(self.net(ids, images), also_true)


class ReadingObjective(nn.Module):
    """The contrastive loss, and questions put to both vectors: what stands left, in which colour, at what hour?

    From the contrastive loss alone the towers never began to tell a caption from its mirror image: left
    and right matter only once both know them. `questions` are the numbers of answers of each question.
    """

    def __init__(self, net: CLIP, questions: list[int]):
        super().__init__()
        self.net, self.questions = net, questions
        self.scale = net.config["projection_dim"] ** 0.5  # a unit vector's numbers are this much below one
        self.image_answers = nn.Linear(net.config["projection_dim"], sum(questions))
        self.text_answers = nn.Linear(net.config["projection_dim"], sum(questions))

    def forward(self, ids: Tensor, images: Tensor, also_true: Tensor, seen: Tensor, stated: Tensor) -> Tensor:
        image, text = self.net.encode_image(images), self.net.encode_text(ids)
        loss = contrastive_loss(self.net.logit_scale.exp() * image @ text.T, also_true)
        loss = loss + self.reading_loss(self.image_answers(self.scale * image), seen)
        return loss + self.reading_loss(self.text_answers(self.scale * text), stated)

    def reading_loss(self, logits: Tensor, answers: Tensor) -> Tensor:
        """Mean cross-entropy of all questions asked; answers (batch, questions), negative where not asked."""
        asked = zip(logits.split(self.questions, dim=1), answers.T)
        losses = [F.cross_entropy(x, y, ignore_index=NOT_ASKED, reduction="sum") for x, y in asked]
        return sum(losses) / (answers != NOT_ASKED).sum()


SQUARED = 4.0  # weighs the squared error about as much as the absolute one at 28 dB


def painting_loss(painted: Tensor, pictures: Tensor, edge_weight: float) -> Tensor:
    """Absolute and squared error of every value, and the absolute error of every edge.

    The squared error is what a Gaussian decoder's likelihood asks for (Kingma and Welling 2014, app. C.2);
    the other two keep outlines sharp.
    """
    loss = F.l1_loss(painted, pictures) + SQUARED * F.mse_loss(painted, pictures)
    for axis in (2, 3):
        loss = loss + edge_weight * F.l1_loss(painted.diff(dim=axis), pictures.diff(dim=axis))
    return loss


class VAEObjective(nn.Module):
    """Give the picture back, and keep the latents near N(0, 1), lightly (`kl_weight`)."""

    def __init__(self, net: AutoencoderKL, kl_weight: float, edge_weight: float):
        super().__init__()
        self.net, self.kl_weight, self.edge_weight = net, kl_weight, edge_weight

    def forward(self, pictures: Tensor, noise: Tensor) -> Tensor:
        posterior = self.net.encode(pictures)
        painted = self.net.decode(posterior.mean + posterior.std * noise)
        kl = posterior.kl().mean() / noise[0].numel()
        return painting_loss(painted, pictures, self.edge_weight) + self.kl_weight * kl


class DecoderObjective(nn.Module):
    """Give the picture back from latents that stay as they are."""

    def __init__(self, net: AutoencoderKL, edge_weight: float):
        super().__init__()
        self.net, self.edge_weight = net, edge_weight

    def forward(self, pictures: Tensor, z: Tensor) -> Tensor:
        return painting_loss(self.net.decode(z), pictures, self.edge_weight)


class UNetObjective(nn.Module):
    """Predict the noise that was added to the latents (DDPM, eq. 14), given the caption.

    Each timestep's error is weighed by min(SNR, gamma) / SNR, so that the nearly clean pictures, where
    little is left to decide, don't take most of the training (Hang et al. 2023, section 3.4).
    """

    def __init__(self, net: UNet, text_encoder: TextEncoder, schedule: NoiseSchedule, scale: float, gamma: float):
        super().__init__()
        self.net, self.schedule, self.scale = net, schedule, scale
        self.text_encoder = text_encoder.requires_grad_(False)
        snr = schedule.snr(torch.arange(schedule.steps))
        self.register_buffer("weight", snr.clamp(max=gamma) / snr)

    def forward(self, ids: Tensor, mean: Tensor, std: Tensor, draw: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        with torch.no_grad():
            context = self.text_encoder(ids)
        z0 = self.scale * (mean + std * draw)
        error = (self.net(self.schedule.add_noise(z0, noise, t), t, context) - noise).square()
        return (self.weight[t] * error.mean(dim=(1, 2, 3))).mean()

"""What each network is asked to do: the three losses, as modules that hold the network as `net`."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..clip import CLIP, TextEncoder, contrastive_loss
from ..schedule import NoiseSchedule
from ..unet import UNet
from ..vae import AutoencoderKL


class CLIPObjective(nn.Module):
    """Tell every picture's caption from all others, its own hard negatives among them."""

    def __init__(self, net: CLIP):
        super().__init__()
        self.net = net

    def forward(self, ids: Tensor, images: Tensor, also_true: Tensor) -> Tensor:
        return contrastive_loss(self.net(ids, images), also_true)


class VAEObjective(nn.Module):
    """Give the picture back (absolute and squared error, and the same edges); keep the latents near N(0, 1).

    The squared error is what a Gaussian decoder's likelihood asks for (Kingma and Welling 2014, app. C.2);
    the absolute error and the edges keep outlines sharp. Latents are weighed lightly: `kl_weight`.
    """

    def __init__(self, net: AutoencoderKL, kl_weight: float, edge_weight: float):
        super().__init__()
        self.net, self.kl_weight, self.edge_weight = net, kl_weight, edge_weight

    def forward(self, pictures: Tensor, noise: Tensor) -> Tensor:
        posterior = self.net.encode(pictures)
        painted = self.net.decode(posterior.mean + posterior.std * noise)
        loss = F.l1_loss(painted, pictures) + F.mse_loss(painted, pictures)
        for axis in (2, 3):
            loss = loss + self.edge_weight * F.l1_loss(painted.diff(dim=axis), pictures.diff(dim=axis))
        return loss + self.kl_weight * posterior.kl().mean() / noise[0].numel()


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

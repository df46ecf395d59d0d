"""What each network is asked to do: the three losses, as modules that hold the network as `net`."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..clip import CLIP, TextEncoder, contrastive_loss
from ..controlnet import ControlNet
from ..schedule import NoiseSchedule
from ..unet import UNet
from ..vae import AutoencoderKL


class Objective(nn.Module):
    """A loss, as a module: what it is called with is a batch, what it holds as `net` is trained."""

    net: nn.Module


class CLIPObjective(Objective):
    """Tell every picture's caption from all others, its nearest relatives among them."""

    net: CLIP

    def __init__(self, net: CLIP):
        super().__init__()
        self.net = net

    def forward(self, ids: Tensor, images: Tensor, also_true: Tensor) -> Tensor:
        return contrastive_loss(self.net(ids, images), also_true)


class PaintingLoss(nn.Module):
    """Absolute error of every value, squared error, and absolute error of every edge, weighed and added.

    The squared error is what a Gaussian decoder's likelihood asks for (Kingma and Welling 2014, app. C.2);
    the other two keep outlines sharp.
    """

    def __init__(self, squared_weight: float, edge_weight: float):
        super().__init__()
        self.squared_weight, self.edge_weight = squared_weight, edge_weight

    def forward(self, painted: Tensor, pictures: Tensor) -> Tensor:
        loss = F.l1_loss(painted, pictures) + self.squared_weight * F.mse_loss(painted, pictures)
        for axis in (2, 3):
            loss = loss + self.edge_weight * F.l1_loss(painted.diff(dim=axis), pictures.diff(dim=axis))
        return loss


class VAEObjective(Objective):
    """Give the picture back, and keep the latents near N(0, 1), lightly (`kl_weight`, for each latent
    number).
    """

    net: AutoencoderKL

    def __init__(self, net: AutoencoderKL, painting: PaintingLoss, kl_weight: float):
        super().__init__()
        self.net, self.painting, self.kl_weight = net, painting, kl_weight

    def forward(self, pictures: Tensor, noise: Tensor) -> Tensor:
        posterior = self.net.encode(pictures)
        painted = self.net.decode(posterior.mean + posterior.std * noise)
        return self.painting(painted, pictures) + self.kl_weight * posterior.kl().mean() / noise[0].numel()


class DecoderObjective(Objective):
    """Give the picture back from latents that stay as they are."""

    net: AutoencoderKL

    def __init__(self, net: AutoencoderKL, painting: PaintingLoss):
        super().__init__()
        self.net, self.painting = net, painting

    def forward(self, pictures: Tensor, z: Tensor) -> Tensor:
        return self.painting(self.net.decode(z), pictures)


class UNetObjective(Objective):
    """Predict the noise that was added to the latents (DDPM, eq. 14), given the caption.

    Each timestep's error is weighed by min(SNR, gamma) / SNR, so that the nearly clean pictures, where
    little is left to decide, don't take most of the training (Hang et al. 2023, section 3.4).
    """

    weight: Tensor

    def __init__(
        self, net: nn.Module, text_encoder: TextEncoder, schedule: NoiseSchedule, scale: float, gamma: float
    ):
        super().__init__()
        self.net, self.schedule, self.scale = net, schedule, scale
        self.text_encoder = text_encoder.requires_grad_(False)
        snr = schedule.snr(torch.arange(schedule.steps))
        self.register_buffer("weight", snr.clamp(max=gamma) / snr)

    def forward(
        self,
        ids: Tensor,
        mean: Tensor,
        std: Tensor,
        latent_noise: Tensor,
        noise: Tensor,
        t: Tensor,
        *plan: Tensor,
    ) -> Tensor:
        """`latent_noise` draws the latents from their mean and std, `noise` is what has to be found."""
        with torch.no_grad():
            context = self.text_encoder(ids)
        z0 = self.scale * (mean + std * latent_noise)
        error = (self.predict(self.schedule.add_noise(z0, noise, t), t, context, *plan) - noise).square()
        return (self.weight[t] * error.mean(dim=(1, 2, 3))).mean()

    def predict(self, z: Tensor, t: Tensor, context: Tensor, *plan: Tensor) -> Tensor:
        """The noise that is seen in noisy latents."""
        return self.net(z, t, context)


class ControlNetObjective(UNetObjective):
    """The same loss of a U-Net that stays as it is, steered by a ControlNet (Zhang et al. 2023, eq. 5)."""

    net: ControlNet

    def __init__(
        self,
        net: ControlNet,
        unet: UNet,
        text_encoder: TextEncoder,
        schedule: NoiseSchedule,
        scale: float,
        gamma: float,
    ):
        super().__init__(net, text_encoder, schedule, scale, gamma)
        self.unet = unet.requires_grad_(False)

    def predict(self, z: Tensor, t: Tensor, context: Tensor, *plan: Tensor) -> Tensor:
        return self.unet(z, t, context, *self.net(z, t, context, *plan))

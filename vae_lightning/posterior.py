"""What the encoder's posteriors over a set of images tell: the parts of the KL, and the units that are in use."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lightning.objectives.draws import added_up, gaussian_kl
from vae_lightning.processes import over_processes
from vae_lightning.progress import progress_bar

__all__ = ["KLParts", "PosteriorMoments", "active_units", "kl_parts", "kl_per_dimension"]

# The variance of a posterior mean over images above which a unit is active (Burda et al., 2016).
ACTIVE = 0.01

# Doubles in a block of kl_parts: three such blocks stay in a processor's cache.
BLOCK = 2**18


class KLParts(NamedTuple):
    """The mean KL of the posteriors from the prior, as a sum of two, in nats."""

    mutual_information: float
    marginal_kl: float


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """The KL of each latent dimension, the mean over images; its sum is the KL of the ELBO.

    Arguments:
        mu: posterior means, ``(N, latent_dim)``.
        logvar: logarithms of the posterior variances, of the same shape.

    Returns:
        Nats, ``(latent_dim,)``, in double precision.
    """
    return gaussian_kl(mu.double(), logvar.double()).mean(0)


def active_units(mu: Tensor, threshold: float = ACTIVE) -> Tensor:
    """Which latent dimensions are in use: those whose posterior mean varies over the images.

    Arguments:
        mu: posterior means, ``(N, latent_dim)``, of two images or more.
        threshold: the variance over images above which a unit is active.

    Returns:
        Booleans, ``(latent_dim,)``; their sum is the number of active units.

    References:
        Importance Weighted Autoencoders, Burda, Grosse and Salakhutdinov, 2016, section 5.2
        (https://arxiv.org/abs/1509.00519): Cov_x(E_q(z|x)[z]) > 0.01.
    """
    return mu.double().var(0) > threshold


class PosteriorMoments:
    """The KL by dimension, and the active units, of images that come in batches; of K models at once too."""

    def __init__(self) -> None:
        self._sums, self._count = torch.zeros(()), 0

    def add(self, mu: Tensor, kl: Tensor) -> None:
        """Take in a batch.

        Arguments:
            mu: posterior means, ``(..., B, latent_dim)``.
            kl: divergences from the prior in each dimension, of the same shape.
        """
        mu = mu.to(added_up(mu[..., :0]).dtype)  # squared in lower precision a large mean would hide the variance
        self._sums = self._sums.to(mu.device) + added_up(torch.stack([kl.to(mu), mu, mu.square()]).mT)
        self._count += mu.shape[-2]

    def result(self) -> tuple[Tensor, Tensor]:
        """As :func:`kl_per_dimension` and :func:`active_units`, ``(..., latent_dim)``, of all processes' batches."""
        sums, count = over_processes(self._sums, self._count)
        kl, mean, square = sums.cpu() / count
        return kl, (square - mean.square()) * count / max(1, count - 1) > ACTIVE


def kl_parts(mu: Tensor, logvar: Tensor, noise: Tensor, progress: bool = False) -> KLParts:
    r"""The mean KL as what z tells of the image and what the aggregate posterior is away from the prior.

    .. math:: \frac{1}{N} \sum_i KL(q(z|x_i) \| p(z)) = I(x; z) + KL(q(z) \| p(z)),
        \quad q(z) = \frac{1}{N} \sum_i q(z|x_i)

    The mutual information is the mean over j of log q(z_j|x_j) - log q(z_j), with one sample z_j from the posterior of
    each image and q(z) the mixture over all N of them. It is of these N images, x being one of them drawn evenly, and
    hence never above log N: near that it says that the images are told apart, and not how much more there would be of
    further images. The marginal KL is what is left of the mean KL, which is known exactly; sampling can put it a
    little below 0.

    It takes N^2 densities, in double precision on the CPU, in blocks that bound the memory.

    Arguments:
        mu: posterior means, ``(N, latent_dim)``.
        logvar: logarithms of the posterior variances, of the same shape.
        noise: from N(0, I), of the same shape.
        progress: show a bar on a terminal.

    References:
        ELBO surgery: yet another way to carve up the variational evidence lower bound, Hoffman and Johnson, 2016
        (http://approximateinference.org/accepted/HoffmanJohnson2016.pdf).
    """
    mu, logvar, noise = (term.detach().cpu().double() for term in (mu, logvar, noise))
    count = len(mu)
    inverse = torch.exp(-0.5 * logvar)
    z = mu + noise / inverse
    # By dimension, (latent_dim, N): each is then a row in memory. The densities' common factor is left out.
    scaled, scale, halves = (mu * inverse).T.contiguous(), inverse.T.contiguous(), -0.5 * logvar.sum(1)
    own = -0.5 * noise.square().sum(1) + halves
    information = 0.0
    with progress_bar(count, "mutual information", shown=progress) as bar:
        for rows in torch.arange(count).split(max(1, BLOCK // count)):
            distances = torch.zeros(len(rows), count, dtype=torch.float64)
            for dimension, shift, factor in zip(z[rows].T, scaled, scale, strict=True):
                offset = torch.addcmul(-shift, dimension[:, None], factor)
                distances.addcmul_(offset, offset)
            mixture = (halves - 0.5 * distances).logsumexp(1) - math.log(count)
            information += float((own[rows] - mixture).sum()) / count
            bar.update(len(rows))
    return KLParts(information, float(kl_per_dimension(mu, logvar).sum()) - information)

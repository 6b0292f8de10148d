"""The mean KL, split into mutual information and marginal KL."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lightning.posteriors.statistics import kl_per_dimension
from vae_lightning.progress_bar import progress_bar

__all__ = ["KLParts", "kl_parts"]

# Doubles per block in kl_parts: three such blocks fit in a processor's cache.
BLOCK = 2**18


class KLParts(NamedTuple):
    """The two terms whose sum is the mean KL of the posteriors from the prior, in nats."""

    mutual_information: float
    marginal_kl: float


def kl_parts(mu: Tensor, logvar: Tensor, noise: Tensor, progress: bool = False) -> KLParts:
    r"""Split the mean KL into mutual information and the KL of the aggregate posterior from the prior.

    .. math:: \frac{1}{N} \sum_i KL(q(z|x_i) \| p(z)) = I(x; z) + KL(q(z) \| p(z)),
        \quad q(z) = \frac{1}{N} \sum_i q(z|x_i)

    The mutual information is the mean over j of log q(z_j|x_j) - log q(z_j), with one sample z_j from the posterior of
    each image and q(z) the mixture over all N posteriors. It refers to these N images, with x drawn uniformly from
    them, so it never exceeds log N. A value near log N shows that the images can be distinguished, but not how large it
    would be for more images. The marginal KL is the remainder of the mean KL, which is known exactly; sampling error
    can make it slightly negative.

    N^2 densities are evaluated, in double precision on the CPU, in blocks that bound the memory.

    Arguments:
        mu: posterior means, ``(N, latent_dim)``.
        logvar: logarithms of the posterior variances, of the same shape.
        noise: from N(0, I), of the same shape.
        progress: show a progress bar on a terminal.

    References:
        ELBO surgery: yet another way to carve up the variational evidence lower bound, Hoffman and Johnson, 2016
        (http://approximateinference.org/accepted/HoffmanJohnson2016.pdf).
    """
    mu, logvar, noise = (term.detach().cpu().double() for term in (mu, logvar, noise))
    count = len(mu)
    inverse = torch.exp(-0.5 * logvar)
    z = mu + noise / inverse
    # (latent_dim, N), so that each dimension is a row in memory. The common factor of the densities is left out.
    scaled, scale, halves = (mu * inverse).T.contiguous(), inverse.T.contiguous(), -0.5 * logvar.sum(1)
    conditional = -0.5 * noise.square().sum(1) + halves
    information = 0.0
    with progress_bar(count, "mutual information", shown=progress) as bar:
        for rows in torch.arange(count).split(max(1, BLOCK // count)):
            distances = torch.zeros(len(rows), count, dtype=torch.float64)
            for dimension, shift, factor in zip(z[rows].T, scaled, scale, strict=True):
                offset = torch.addcmul(-shift, dimension[:, None], factor)
                distances.addcmul_(offset, offset)
            mixture = (halves - 0.5 * distances).logsumexp(1) - math.log(count)
            information += float((conditional[rows] - mixture).sum()) / count
            bar.update(len(rows))
    return KLParts(information, float(kl_per_dimension(mu, logvar).sum()) - information)

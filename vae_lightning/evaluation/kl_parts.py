"""The mean KL, split into mutual information and marginal KL."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.statistics import mean_kl
from vae_lightning.progress_bar import progress_bar

__all__ = ["KLParts", "kl_parts"]

# Densities that are evaluated at once.
BLOCK = 2**18


class KLParts(NamedTuple):
    """The two terms whose sum is the mean KL of the posteriors from the prior, in nats."""

    mutual_information: float
    marginal_kl: float


def kl_parts(
    posterior: Distribution, prior: Distribution, noise: Tensor, rows: Tensor | None = None, progress: bool = False
) -> KLParts:
    r"""Split the mean KL into mutual information and the KL of the aggregate posterior from the prior.

    .. math:: \frac{1}{N} \sum_i KL(q(z|x_i) \| p(z)) = I(x; z) + KL(q(z) \| p(z)),
        \quad q(z) = \frac{1}{N} \sum_i q(z|x_i)

    The mutual information is the mean over j of log q(z_j|x_j) - log q(z_j), with one sample z_j from the posterior of
    each image and q(z) the mixture over all N posteriors. It refers to these N images, with x drawn uniformly from
    them, so it never exceeds log N. A value near log N shows that the images can be distinguished, but not how large it
    would be for more images. The marginal KL is the remainder of the mean KL; sampling error can make it slightly
    negative.

    N^2 densities are evaluated, in double precision on the CPU, in blocks that bound the memory. With M of the images
    in ``rows``, the mean over j is one over these alone, and M N densities are evaluated. The mixture and the mean KL
    remain those of all images.

    Arguments:
        posterior: the posteriors of N images.
        prior: the prior.
        noise: ``(N, noise_size)`` from N(0, I).
        rows: positions of the images whose samples are evaluated, ``(M,)``; None for all.
        progress: show a progress bar on a terminal.

    References:
        ELBO surgery: yet another way to carve up the variational evidence lower bound, Hoffman and Johnson, 2016
        (http://approximateinference.org/accepted/HoffmanJohnson2016.pdf).
    """
    posterior, prior = (each.detach().map(lambda term: term.cpu().double()) for each in (posterior, prior))
    noise = noise.cpu().double()
    count = len(noise)
    rows = torch.arange(count) if rows is None else rows
    z, log_posterior = posterior.rsample_and_log_prob(noise)
    conditional = log_posterior.sum(-1)
    information = 0.0
    with progress_bar(len(rows), "mutual information", shown=progress) as bar:
        for block in rows.split(max(1, BLOCK // count)):
            mixture = posterior.log_prob_of_each(z[block]).logsumexp(1) - math.log(count)
            information += float((conditional[block] - mixture).sum()) / len(rows)
            bar.update(len(block))
    return KLParts(information, float(mean_kl(posterior, prior, noise).sum()) - information)

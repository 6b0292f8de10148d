"""The negative ELBO with a KL that costs nothing at first."""

from vae_lightning.checks import FREE_BITS, check
from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.objective import Objective, Terms
from vae_lightning.processes import batch_total

__all__ = ["FreeBits"]


class FreeBits(Objective):
    r"""Reconstruction plus the KL, where a latent dimension's mean KL counts as ``free_nats`` if it is less.

    .. math:: \mathrm{recon} + \sum_j \max(\lambda, \mathrm{KL}_j)

    KL_j is the mean over the batch, so the gradient leaves a dimension alone until it has used what is free. An image's
    share is its own KL_j, or lambda.

    Arguments:
        free_nats: lambda, of each latent dimension.

    Raises:
        InputError: if it is not what :mod:`vae_lightning.checks` allows.

    References:
        Improving Variational Inference with Inverse Autoregressive Flow, Kingma et al., 2016, appendix C.8
        (https://arxiv.org/abs/1606.04934), with each dimension as a group.
    """

    def __init__(self, free_nats: float = 0.1) -> None:
        check({"free_nats": free_nats}, FREE_BITS)
        self.free_nats = free_nats

    def __call__(self, draws: Draws, step: int) -> Terms:
        total, count = batch_total(draws.kl, dim=-2)
        # A KL of exactly nothing is the padding of a stack's smaller models.
        free = (total <= self.free_nats * count) & (total > 0)
        return Terms(draws.nll.mean(0), draws.kl.masked_fill(free, self.free_nats).sum(-1))

"""The negative ELBO with free bits."""

from vae_lightning.config.arguments import checked
from vae_lightning.distributed import batch_total
from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.objective import Objective, Terms

__all__ = ["FreeBits"]


class FreeBits(Objective):
    r"""Reconstruction + KL, where the mean KL of a latent dimension counts as at least ``free_nats``.

    .. math:: \mathrm{recon} + \sum_j \max(\lambda, \mathrm{KL}_j)

    KL_j is the mean over the batch, so the KL has no gradient in a dimension that has not used up its free nats. An
    image's share is its own KL_j, or lambda.

    Arguments:
        free_nats: lambda, for each latent dimension.

    Raises:
        InputError: if ``free_nats`` breaks its rule (:mod:`vae_lightning.objectives.rules`).

    References:
        Improving Variational Inference with Inverse Autoregressive Flow, Kingma et al., 2016, appendix C.8
        (https://arxiv.org/abs/1606.04934), with each dimension as a group.
    """

    kl_by_dimension = True

    @checked
    def __init__(self, free_nats: float = 0.1) -> None:
        self.free_nats = free_nats

    def __call__(self, draws: Draws, step: int) -> Terms:
        total, count = batch_total(draws.kl, dim=-2)
        # A KL of exactly 0 is the padding of a stack's smaller models.
        free = (total <= self.free_nats * count) & (total > 0)
        return Terms.of(draws, draws.kl.masked_fill(free, self.free_nats).sum(-1))

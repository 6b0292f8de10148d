"""A von Mises-Fisher posterior with a biased gradient, to compare with vae_lightning.posteriors.VonMisesFisher.

With this folder on PYTHONPATH, it is a custom posterior::

    vae-train posterior._target_=rejection_von_mises_fisher.RejectionVonMisesFisher
"""

import zlib

import torch
from torch import Tensor

from vae_lightning.posteriors import Distribution, VonMisesFisher, VonMisesFisherDistribution

__all__ = ["RejectionVonMisesFisher", "RejectionVonMisesFisherDistribution"]


class RejectionVonMisesFisherDistribution(VonMisesFisherDistribution):
    """Rejection samples, with the gradient through the accepted proposal alone.

    A proposal for the logit of w is the logit of a Beta((d - 1) / 2, (d - 1) / 2) variable, minus log b(kappa). The
    distribution of an accepted variable depends on kappa, which this gradient ignores. Popular code has no bias where
    d is 3, because it inverts the cumulative distribution there.

    References:
        Simulation of the von Mises Fisher distribution, Wood, 1994 (https://doi.org/10.1080/03610919408813161).
        Hyperspherical Variational Auto-Encoders, Davidson et al., 2018 (https://arxiv.org/abs/1804.00891), algorithm 1.
        Reparameterization Gradients through Acceptance-Rejection Sampling Algorithms, Naesseth et al., 2017
        (https://arxiv.org/abs/1610.05683), equation 7: the term that is left out.
    """

    __slots__ = ()

    def rsample(self, noise: Tensor) -> Tensor:
        # A generator of its own gives any number of proposals, and the same ones for the same noise.
        generator = torch.Generator().manual_seed(zlib.crc32(noise.cpu().numpy().tobytes()))
        d = self.mu.shape[-1]
        kappa = self.kappa.expand(*noise.shape[:-1], 1)
        b = (d - 1) / (2 * kappa + torch.sqrt(4 * kappa.square() + (d - 1) ** 2))
        logit = torch.zeros_like(kappa)
        pending = torch.ones_like(kappa, dtype=torch.bool)
        while pending.any():
            # The quotient of two such sums of squares is that of a Beta variable and its complement.
            squares = torch.randn(2, *kappa.shape[:-1], d - 1, generator=generator, dtype=torch.float64).square()
            first, second = squares.sum(-1, keepdim=True).to(noise)
            proposal = (second / first).log()
            uniform = torch.rand(kappa.shape, generator=generator, dtype=torch.float64).to(noise)
            w = torch.tanh(0.5 * (proposal - b.detach().log()))
            w0 = (1 - b.detach()) / (1 + b.detach())
            ratio = kappa.detach() * (w - w0) + (d - 1) * torch.log((1 - w0 * w) / (1 - w0.square()))
            accepted = pending & (ratio >= uniform.log())
            logit = torch.where(accepted, proposal, logit)
            pending = pending & ~accepted
        return self.at(logit - b.log(), noise[..., 1:])

    def rsample_and_log_prob(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        return Distribution.rsample_and_log_prob(self, noise)


class RejectionVonMisesFisher(VonMisesFisher):
    """The von Mises-Fisher distribution, with a gradient in the concentration that is biased."""

    family = RejectionVonMisesFisherDistribution

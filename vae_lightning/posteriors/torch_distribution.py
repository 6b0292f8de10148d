"""Distributions whose formulas torch has."""

from abc import abstractmethod

from torch import Tensor, distributions

from vae_lightning.posteriors.distribution import Distribution

__all__ = ["TorchDistribution"]


class TorchDistribution(Distribution):
    """A distribution with the densities and the KL of ``torch.distributions``; a KL of one's own overrides theirs."""

    __slots__ = ()

    @property
    @abstractmethod
    def formulas(self) -> distributions.Distribution:
        """The distribution as torch has it, without checks of its arguments."""

    def log_prob(self, z: Tensor) -> Tensor:
        formulas = self.formulas
        log_prob: Tensor = formulas.log_prob(z)
        return log_prob.unsqueeze(-1) if formulas.event_shape else log_prob

    def kl(self, other: Distribution) -> Tensor | None:
        if type(other) is not type(self):
            return None
        kl = distributions.kl_divergence(self.formulas, other.formulas)
        return kl.unsqueeze(-1) if self.formulas.event_shape else kl

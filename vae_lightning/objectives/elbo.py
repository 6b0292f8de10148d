"""The negative evidence lower bound (ELBO)."""

from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.objective import Objective, Terms

__all__ = ["NegativeELBO"]


class NegativeELBO(Objective):
    """The negative evidence lower bound, with the KL in closed form where it is known.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014, equation 10 (https://arxiv.org/abs/1312.6114).
    """

    def __call__(self, draws: Draws, step: int) -> Terms:
        return Terms.of(draws, draws.kl.sum(-1))

"""The pathwise gradient without the score (sticking the landing)."""

from collections.abc import Callable

from torch import Tensor

from vae_lightning.config.errors import InputError
from vae_lightning.estimators.estimator import Estimator
from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.objective import Objective, Terms
from vae_lightning.posteriors.distribution import log_ratio

__all__ = ["StickingTheLanding"]


class StickingTheLanding(Estimator):
    r"""The pathwise gradient of a sampled KL, in which log q(z|x) depends on the encoder through z alone.

    .. math:: \mathbb{E}_{\varepsilon}\big[\nabla_z (\log q(z|x) - \log p(x, z)) \, \nabla z(\varepsilon)\big]

    The score that is left out has the mean 0, so the gradient stays unbiased; where the posterior is the true one, its
    variance is 0. The KL is sampled even if a closed form is known.

    References:
        Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational Inference, Roeder, Wu and
        Duvenaud, 2017, equation 8 (https://arxiv.org/abs/1703.09194).
    """

    reparameterized = True
    single = True

    def check(self, objective: Objective) -> None:
        super().check(objective)
        if objective.kl_by_dimension:
            name = type(objective).__name__
            raise InputError(
                f"estimator=StickingTheLanding: must be another, because objective={name} needs an exact KL"
            )

    def loss(self, objective: Callable[[Draws], Terms], draws: Draws) -> Tensor:
        posterior = draws.posterior.detach()
        kl = log_ratio(posterior.log_prob(draws.z), draws.prior.log_prob(draws.z))
        if draws.own is not None:
            kl = kl * draws.own
        draws = draws._replace(posterior=posterior, kl=kl, exact_kl=False)
        return objective(draws).total(draws)

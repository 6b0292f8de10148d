"""No gradient through the latents."""

from vae_lightning.estimators.estimator import Estimator

__all__ = ["NoGradient"]


class NoGradient(Estimator):
    r"""No gradient through the latents, as if a random generator had drawn them: the score's term is left out.

    .. math:: \nabla \mathbb{E}_q[f(z)] \approx \mathbb{E}_q[\nabla f(z)], \qquad z \text{ fixed}

    The encoder then learns from the KL alone. This estimator is for comparisons.
    """

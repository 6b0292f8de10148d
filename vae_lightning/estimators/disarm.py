"""The antithetic gradient without the noise's variance (DisARM)."""

from torch import Tensor

from vae_lightning.estimators.arm import ARM
from vae_lightning.posteriors.discrete import Layer

__all__ = ["DisARM"]


class DisARM(ARM):
    r"""ARM, averaged over all noise that leads to the same two antithetic latents.

    .. math:: \tfrac{1}{2} \big(f(z) - f(z')\big) \, (-1)^{z'} \, [z \neq z'] \, \sigma(|a|)

    a are the logits. It is unbiased, with the passes of ARM and a variance that is never above; the same estimator is
    known as U2G.

    References:
        DisARM: An Antithetic Gradient Estimator for Binary Latent Variables, Dong, Mnih and Tucker, 2020, equation 5
        (https://arxiv.org/abs/2006.10680). Probabilistic Best Subset Selection via Gradient-Based Optimization, Yin et
        al., 2020 (https://arxiv.org/abs/2006.06448).
    """

    def factor(self, layer: Layer, other: Tensor, noise: Tensor) -> Tensor:
        # The difference of the two latents is the sign, and 0 where they are equal.
        return 0.5 * (layer.z - other) * layer.distribution.logits.detach().abs().sigmoid()

"""The neural spline flow."""

from typing import TYPE_CHECKING

from torch import Tensor

from vae_lightning.config.arguments import checked
from vae_lightning.config.extras import check_installed
from vae_lightning.posteriors.autoregressive import AutoregressiveDistribution, AutoregressiveFlow

if TYPE_CHECKING:
    from zuko.transforms import MonotonicRQSTransform

__all__ = ["Spline", "SplineDistribution"]


class SplineDistribution(AutoregressiveDistribution):
    """A Gaussian variable after layers of monotone rational-quadratic splines on [-5, 5], the identity elsewhere."""

    __slots__ = ()

    def monotone(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        y, log_slope = _spline(c).call_and_ladj(x)
        return y, log_slope

    def monotone_inverse(self, y: Tensor, c: Tensor) -> Tensor:
        x: Tensor = _spline(c).inv(y)
        return x


def _spline(c: Tensor) -> "MonotonicRQSTransform":
    from zuko.transforms import MonotonicRQSTransform  # an extra

    bins = (c.shape[-1] + 1) // 3
    # For smaller slopes, the inverse's discriminant may round to a negative number in single precision.
    return MonotonicRQSTransform(*c.split([bins, bins, bins - 1], dim=-1), bound=5.0, slope=0.05)


class Spline(AutoregressiveFlow):
    """Neural spline flows: each layer applies a spline to a variable, given the preceding ones and the image.

    A sample and its density take one pass; the density of any other latents takes ``latent_dim`` passes.

    Arguments:
        latent_dim: number of latent variables.
        layers: number of layers.
        hidden: number of hidden units of a layer.
        bins: number of intervals of a spline.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.posteriors.rules`), or the extra ``zuko`` is not
            installed.

    References:
        Neural Spline Flows, Durkan et al., 2019 (https://arxiv.org/abs/1906.04032), section 3.1 and appendix A.
    """

    any_batch = True

    @checked
    def __init__(self, latent_dim: int, layers: int = 2, hidden: int = 64, bins: int = 8) -> None:
        check_installed("Spline", "zuko")
        super().__init__(latent_dim, layers, hidden, numbers=3 * bins - 1)

    def forward(self, encoded: Tensor) -> SplineDistribution:
        return SplineDistribution(*self.fields(encoded))

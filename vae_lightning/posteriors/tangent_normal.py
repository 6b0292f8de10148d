"""Distributions on the unit sphere that depend on the angle to a mean direction only."""

import math
from abc import abstractmethod
from functools import cached_property
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_lightning.config.errors import InputError
from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.posterior import Posterior

__all__ = ["TangentNormal", "TangentNormalDistribution", "UniformOnSphere"]

# The quadrature's nodes: their number, how much denser they are at the mode than a uniform grid (the argument of a
# sinh), and the logarithm of the density, relative to the mode's, that they reach down to. With these values log M has
# an error of 1e-9, and the cumulative distribution one of 1e-5 at most (on the circle).
NODES = 97
STRETCH = 3.0
DEPTH = 20.0

# Noise beyond this, with a probability of 2e-9, would be outside the nodes.
FARTHEST = 6.0

SPACING = 2 * STRETCH / (NODES - 1)

# Moves the singularity of the mean direction away from an encoder's output of 0.
OFFSET = 1e-4

# Without a concentration, the mean direction would have no gradient.
LEAST_CONCENTRATION = 1e-3


class _Parameters(NamedTuple):
    mu: Tensor
    kappa: Tensor


class _Quadrature(NamedTuple):
    """Moments of T and cumulative integrals at the nodes, for the distribution of each image's logit x.

    Attributes:
        log_normaliser: log M, ``(..., B, 1)``.
        mean: E[T], of the same shape.
        variance: Var[T], of the same shape.
        mode: the mode of x, of the same shape.
        integrals: P(x < node) and the integral of T - E[T] up to the node, ``(2, ..., B, NODES)``.
        integrands: their derivatives, as changes per node, of the same shape.
    """

    log_normaliser: Tensor
    mean: Tensor
    variance: Tensor
    mode: Tensor
    integrals: Tensor
    integrands: Tensor


class TangentNormalDistribution(_Parameters, Distribution):
    r"""The uniform distribution on the sphere times exp(kappa T), where T is a function of the angle to mu.

    .. math:: q(z) = \frac{\exp(\kappa T(w))}{M(\kappa) \, |S^{d-1}|}, \quad w = \mu^\top z,
        \quad \log M(\kappa) = \log E_{z \sim U}[\exp(\kappa T(w))]

    The density is with respect to the surface measure. A sample is w mu + sqrt(1 - w^2) v, with v uniform on the unit
    vectors orthogonal to mu, and w the quantile of its distribution at Phi(noise). The logit x = log((1 + w) / (1 - w))
    has a density that is smooth and log-concave, with a width that hardly depends on kappa:

    .. math:: f(x) \propto \left(\frac{1 - w^2}{4}\right)^{(d - 1) / 2} \exp(\kappa T(w)), \quad w = \tanh(x / 2)

    Its integrals are sums over nodes around the mode. Their derivatives in kappa, an exponential family's natural
    parameter, are integrals too:

    .. math:: \frac{d \log M}{d \kappa} = E[T], \quad \frac{d x}{d \kappa} =
        -\frac{1}{f(x)} \int_{-\infty}^x (T - E[T]) \, f(t) \, dt

    Attributes:
        mu: mean directions, unit vectors, ``(..., B, d)``.
        kappa: concentrations, at least 0, ``(..., B, 1)``.

    References:
        Implicit Reparameterization Gradients, Figurnov, Mohamed and Mnih, 2018 (https://arxiv.org/abs/1805.08498),
        equation 5. Directional Statistics, Mardia and Jupp, 2000, section 9.1: the tangent-normal decomposition.
    """

    __slots__ = ()

    @staticmethod
    @abstractmethod
    def statistic(below: Tensor, log_above: Tensor) -> Tensor:
        """Return T, increasing in w, from (1 - w) / 2 and log((1 + w) / 2)."""

    @staticmethod
    @abstractmethod
    def slope(below: Tensor) -> Tensor:
        """Return dT/dx, the derivative in the logit, from (1 - w) / 2."""

    @staticmethod
    @abstractmethod
    def mode(ratio: Tensor) -> Tensor:
        """Return the mode of the logit, where its density is largest, from 2 kappa / (d - 1)."""

    @property
    def mean(self) -> Tensor:
        return self.mu

    def rsample(self, noise: Tensor) -> Tensor:
        return self.at(self._quantile(noise[..., 0]), noise[..., 1:])

    def log_prob(self, z: Tensor) -> Tensor:
        # From the squared distance, which is precise where w is near 1. The density of 0 at w = -1 has no logarithm.
        below = ((z - self.mu).square().sum(-1, keepdim=True) / 4).clamp(max=1 - torch.finfo(z.dtype).eps)
        return self._log_density(self.statistic(below, torch.log1p(-below)))

    def rsample_and_log_prob(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        x = self._quantile(noise[..., 0])
        return self.at(x, noise[..., 1:]), self._log_density(self.statistic(torch.sigmoid(-x), F.logsigmoid(x)))

    def kl(self, other: Distribution) -> Tensor | None:
        if not isinstance(other, UniformOnSphere):
            return None
        quadrature, kappa = self._quadrature, self.kappa.detach()
        value = kappa * quadrature.mean - quadrature.log_normaliser
        return (value + (self.kappa - kappa) * kappa * quadrature.variance).to(kappa)

    def at(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return w mu + sqrt(1 - w^2) v.

        Arguments:
            x: logits of w, ``(..., B, 1)``.
            noise: ``(..., B, d - 1)`` from N(0, I), which gives v.
        """
        # A Householder reflection maps the first axis to mu or -mu, whichever is farther from it, so that it is never
        # singular, and a unit vector orthogonal to the axis to v.
        first, rest = self.mu[..., :1], self.mu[..., 1:]
        sine = 1 / torch.cosh(0.5 * x)
        v = sine * F.normalize(noise, dim=-1)
        along = (rest * v).sum(-1, keepdim=True) / (1 + first.abs())
        sign = torch.ones_like(first).copysign(first.detach())
        return (torch.tanh(0.5 * x) - along) * self.mu + torch.cat([-sign * along, v], dim=-1)

    def _log_density(self, statistic: Tensor) -> Tensor:
        quadrature = self._quadrature
        log_normaliser = quadrature.log_normaliser + (self.kappa - self.kappa.detach()) * quadrature.mean
        return self.kappa * statistic - log_normaliser.to(self.kappa) - log_area(self.mu.shape[-1])

    @cached_property
    def _quadrature(self) -> _Quadrature:
        with torch.no_grad():
            # In double precision, so that the upper tail and a small KL are precise too.
            kappa, power = _precise(self.kappa), (self.mu.shape[-1] - 1) / 2
            mode = self.mode(kappa / power)
            y = torch.linspace(-STRETCH, STRETCH, NODES, dtype=kappa.dtype, device=kappa.device)
            x = mode + self._scale * torch.sinh(y)
            below, log_above = torch.sigmoid(-x), F.logsigmoid(x)
            statistic, slope = self.statistic(below, log_above), self.slope(below)
            # The density of y. The logarithm of (1 - w^2) / 4 is 2 log_above - x.
            log_density = power * (2 * log_above - x) + kappa * statistic
            peak = log_density[..., NODES // 2, None]
            widths = self._scale * torch.cosh(y)
            density = torch.exp(log_density - peak) * widths
            total = density.sum(-1, keepdim=True)
            density = density / total
            mean = (density * statistic).sum(-1, keepdim=True)
            deviation = statistic - mean
            integrands = torch.stack([density, density * deviation])
            rise = (power * (2 * below - 1) + kappa * slope) * widths + torch.tanh(y)
            slopes = integrands * rise
            slopes[1] += density * slope * widths
            log_beta = 2 * math.lgamma(power) - math.lgamma(2 * power)
            return _Quadrature(
                log_normaliser=peak + torch.log(total * SPACING) - log_beta,
                mean=mean,
                variance=(integrands[1] * deviation).sum(-1, keepdim=True),
                mode=mode,
                # The trapezoidal rule with the first correction of Euler and Maclaurin.
                integrals=integrands.cumsum(-1) - 0.5 * integrands - SPACING / 12 * slopes,
                integrands=integrands,
            )

    @property
    def _scale(self) -> float:
        # (1 - w^2)^((d - 1) / 2), the factor with the heavier tail, falls by DEPTH at this distance.
        return 2 * math.acosh(math.exp(DEPTH / (self.mu.shape[-1] - 1))) / math.sinh(STRETCH)

    def _quantile(self, noise: Tensor) -> Tensor:
        """Return the logit at Phi(noise), ``(..., B, 1)``, with its derivative in kappa."""
        quadrature = self._quadrature
        with torch.no_grad():
            probability = torch.special.ndtr(_precise(noise).clamp(-FARTHEST, FARTHEST))
            cell = ((quadrature.integrals[0] < probability[..., None]).sum(-1) - 1).clamp(0, NODES - 2)
            ends = torch.stack([cell, cell + 1], dim=-1)
            draws = (slice(None), *[None] * (ends.dim() - self.kappa.dim()))
            start, end = torch.take_along_dim(quadrature.integrals[draws], ends[None], dim=-1).unbind(-1)
            left, right = torch.take_along_dim(quadrature.integrands[draws], ends[None], dim=-1).unbind(-1)
            # A first guess of the place in the cell, with a density that is linear in it; then a step of Newton's
            # method on the cubic polynomial that has the integrals and the densities at both ends.
            rise, wanted = end - start, probability - start[0]
            part = (wanted / rise[0]).clamp(0, 1)
            place = part * (left[0] + right[0])
            place = place / (left[0] + torch.sqrt(torch.lerp(left[0].square(), right[0].square(), part)))
            integral, density = _cubic(place, rise[0], left[0], right[0])
            # The density has no minimum inside a cell, but the cubic's may have one, in the far tails.
            least = torch.minimum(left[0], right[0])
            place = (place - (integral - wanted) / torch.maximum(density, least)).clamp(0, 1)
            integrals, integrands = _cubic(place, rise, left, right)
            y = SPACING * (cell + place) - STRETCH
            width = SPACING * self._scale * torch.cosh(y)
            derivative = -(start[1] + integrals[1]) / torch.maximum(integrands[0], least) * width
            x = quadrature.mode + (self._scale * torch.sinh(y))[..., None]
        return x.to(noise) + (self.kappa - self.kappa.detach()) * derivative[..., None].to(noise)


class _Uniform(NamedTuple):
    mu: Tensor


class UniformOnSphere(_Uniform, Distribution):
    """The uniform distribution on the unit sphere.

    Attributes:
        mu: a direction that stands for all, ``(..., 1, d)``.
    """

    __slots__ = ()

    @property
    def mean(self) -> Tensor:
        return self.mu

    def rsample(self, noise: Tensor) -> Tensor:
        """Return normalised noise."""
        return F.normalize(noise, dim=-1)

    def log_prob(self, z: Tensor) -> Tensor:
        return torch.zeros_like(z[..., :1]) - log_area(z.shape[-1])


class TangentNormal(Posterior):
    """A family of distributions on the unit sphere: a mean direction and a concentration for each image.

    The encoder's output holds ``latent_dim`` numbers with the mean direction, which are normalised, and one with the
    concentration, of which the softplus is taken.

    Arguments:
        latent_dim: number of coordinates of the unit vectors.

    Raises:
        InputError: if ``latent_dim`` is less than 2.
    """

    support = "the unit sphere"
    family: ClassVar[type[TangentNormalDistribution]]

    def __init__(self, latent_dim: int) -> None:
        if latent_dim < 2:
            raise InputError(f"latent_dim={latent_dim}: must be at least 2 for posterior={type(self).__name__}")
        super().__init__(latent_dim)

    @property
    def outputs(self) -> int:
        return self.latent_dim + 1

    def forward(self, encoded: Tensor) -> TangentNormalDistribution:
        direction, concentration = encoded.split([self.latent_dim, 1], dim=-1)
        return self.family(F.normalize(direction + OFFSET, dim=-1), F.softplus(concentration) + LEAST_CONCENTRATION)

    def standard(self, like: Tensor) -> UniformOnSphere:
        return UniformOnSphere(torch.eye(1, self.latent_dim, dtype=like.dtype, device=like.device))

    def moved(self, mean: Tensor, dimension: int, values: Tensor) -> Tensor:
        """Return unit vectors with one coordinate set to other values, clamped to [-1, 1], and the others rescaled."""
        values = values.clamp(-1, 1)[:, None]
        others = mean + 1e-12  # at a pole, the others share the rest equally
        others[dimension] = 0
        z = torch.sqrt(1 - values.square()) * F.normalize(others, dim=0, eps=1e-30)
        z[:, dimension : dimension + 1] = values
        return z


def log_area(d: int) -> float:
    """Return the logarithm of the area of the unit sphere in d dimensions."""
    return math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)


def _precise(values: Tensor) -> Tensor:
    """Return values in double precision, or in single on Apple's GPUs, which have no other."""
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)


def _cubic(place: Tensor, rise: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return the value and the derivative of a cubic on [0, 1] that starts at 0, by its rise and end slopes."""
    square, cube = 3 * rise - 2 * left - right, left + right - 2 * rise
    return place * (left + place * (square + place * cube)), left + place * (2 * square + 3 * place * cube)

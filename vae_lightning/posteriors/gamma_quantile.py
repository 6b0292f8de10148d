"""The quantile function of the Gamma distribution, differentiable in its concentration."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["LEAST_CONCENTRATION", "concentrations", "log_gamma_quantile"]

# In single precision, the smallest positive number is about exp(-87). With this bound log z of Gamma(a, 1) is above -76
# at noise -5, which leaves room for a scale of exp(-10).
LEAST_CONCENTRATION = 0.2

# The noise from which the complement of P is used; there P is 0.93.
SWITCH = 1.5


def concentrations(encoded: Tensor) -> Tensor:
    """Return concentrations above :data:`LEAST_CONCENTRATION`; an encoder's output of 0 gives 1.

    They grow linearly with the output. An exponential would reach 22,000 at an output of 10, and one such image would
    dominate the gradient.
    """
    return LEAST_CONCENTRATION + F.softplus(encoded + math.log(math.expm1(1 - LEAST_CONCENTRATION)))


def log_gamma_quantile(concentration: Tensor, noise: Tensor) -> Tensor:
    r"""Return log z, where z is the quantile of Gamma(a, 1) at the probability of the noise.

    .. math:: P(a, z) = \Phi(\epsilon), \qquad
        \frac{d \log z}{d a} = -\frac{\partial P(a, z) / \partial a}{z \, p(z)}

    The logarithm keeps values that would underflow: z is near exp(-100) for a = 0.2 and noise -6.

    Arguments:
        concentration: a, from 0.04 to 10,000.
        noise: from N(0, 1), of a shape that broadcasts with a's; from -6 to 6.

    Returns:
        log z in the dtype of the concentration. In double precision the error is below 1e-7 (1 + abs(log z)), and the
        relative error of the derivative below 1e-6 (3e-6 within 0.001 of a = 20, where gammainc changes its method).

    References:
        Implicit Reparameterization Gradients, Figurnov, Mohamed and Mnih, 2018 (https://arxiv.org/abs/1805.08498),
        section 3.
    """
    a, x = concentration.detach().double(), noise.double()
    log_a, log_gamma = a.log(), torch.lgamma(a)

    # Start from the larger of the power law, a lower bound, and Wilson and Hilferty's approximation (1931).
    power_law = (torch.special.log_ndtr(x) + log_gamma + log_a) / a
    cube_root = 1 - 1 / (9 * a) + x / (3 * a.sqrt())
    start = torch.maximum(power_law, log_a + 3 * cube_root.clamp(min=0).log())

    # Solve log P = log Phi(x), or log Q = log Phi(-x) where P = 1 - Q would round to 1.
    lower = x < SWITCH
    sign = torch.where(lower, 1.0, -1.0)
    target = torch.special.log_ndtr(sign * x)

    def log_probability(a: Tensor, y: Tensor) -> Tensor:
        z = y.exp()
        # At z = 0 the functions return at once, so that each value takes one evaluation.
        p = torch.special.gammainc(a, torch.where(lower, z, 0))
        q = torch.special.gammaincc(a, torch.where(lower, 0, z))
        return torch.where(lower, p, q).log()

    def step(y: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        # Householder's method of order 3: the error becomes its fourth power. The derivatives of log P in y = log z
        # follow from the first and from that of the log-density of y, which is a - z.
        z = y.exp()
        slope = sign * torch.exp(a * y - z - log_gamma - value)
        newton = (target - value) / slope
        second = a - z - slope
        third = second.square() - z - slope * second
        return newton * (1 + newton * second / 2) / (1 + newton * second + newton.square() * third / 6), slope

    y = start + step(start, log_probability(a, start))[0]

    # The values on both sides of a give the derivative in a and, as their mean, the value for the last step. The error
    # of the difference grows with h^2, and the error of gammainc counts with 1 / h.
    h = 2e-4 * torch.minimum(a, a.sqrt())
    above, below = log_probability(a + h, y), log_probability(a - h, y)
    last, slope = step(y, (above + below) / 2)
    derivative = (below - above) / (2 * h * slope)
    # The derivative's own derivative in y takes it to the end of the last step.
    derivative = derivative + last * (torch.digamma(a) - y - derivative * (a - y.exp()))
    of_a = concentration - concentration.detach()
    return (y + last).to(concentration.dtype) + of_a * derivative.to(concentration.dtype)

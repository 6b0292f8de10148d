"""Multinomial logistic regression on several sets of features at once."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Fit", "logistic_regression"]

# Rows per block, so that on a CPU their probabilities stay in the cache.
BLOCK = 8192
# Rows from which a preconditioner is estimated: more make it slower and hardly better.
SAMPLE = 4096
# Steps that L-BFGS remembers.
MEMORY = 10
# The intercept of a class that a set lacks: exp turns it into a probability of 0.
ABSENT = -1e30


class Fit(NamedTuple):
    """Linear classifiers of K sets of D features into the same L classes.

    Weights are ``(K, L, D)`` and intercepts ``(K, L)``, both in the features' precision; ``classes``, ``(L,)``, are the
    labels in ascending order. ``converged``, ``(K,)``, marks the fits within the tolerance; ``iterations`` is the count
    of the slowest fit.
    """

    weight: Tensor
    intercept: Tensor
    classes: Tensor
    converged: Tensor
    iterations: int

    def predict(self, features: Tensor) -> Tensor:
        """Return the most probable labels, ``(K, N)``, of features ``(K, N, D)``."""
        return self.classes[torch.baddbmm(self.intercept[:, :, None], self.weight, features.mT).argmax(1)]


class _Objective:
    """The objective, a function of ``(K, L, D + 1)``: the weights of the centred features and, last, the intercepts.

    Sums over rows have the features' precision within a block and double precision across blocks.
    """

    def __init__(self, features: Tensor, labels: Tensor, classes: Tensor, C: float) -> None:
        K, self.N, _ = features.shape
        # A large mean would cost the logits precision. The intercept compensates for it and is not penalised.
        self.mean = features.mean(1, keepdim=True, dtype=torch.float64).to(features.dtype)
        x = torch.cat([(features - self.mean).mT, features.new_ones(K, 1, self.N)], 1)
        self.blocks, self.sample = x.split(BLOCK, 2), x[:, :, :: max(1, self.N // SAMPLE)]
        members = (labels[:, None] == classes[:, None]).to(x.dtype).split(BLOCK, 2)
        products = [(of @ block.mT).double() for of, block in zip(members, self.blocks, strict=True)]
        self.moments = torch.stack(products).sum(0) / self.N
        squares = [block.square().sum(2, dtype=torch.float64) for block in self.blocks]
        self.squares = torch.stack(squares).sum(0)[:, None] / self.N
        self.present = (self.moments[:, :, -1:] > 0).double()
        self.count = self.present.sum(1, keepdim=True)
        # For two classes scikit-learn penalises the difference of their weights, which doubles the penalty.
        self.ridge = torch.ones_like(self.squares) * torch.where(self.count == 2, 2, 1) / (C * self.N)
        self.ridge[:, :, -1] = 0

    def __call__(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the objective, ``(K, 1, 1)``, its gradient, and a bound on the objective's rounding error."""
        weight = theta.to(self.sample.dtype)
        total, expected = theta.new_zeros(len(theta), 1, 1), torch.zeros_like(theta)
        for block in self.blocks:
            logits = weight @ block
            top = logits.amax(1, keepdim=True)
            odds = logits.sub_(top).exp_()
            norm = odds.sum(1, keepdim=True)
            total += (top + norm.log()).sum(2, keepdim=True, dtype=torch.float64)
            expected += odds.div_(norm) @ block.mT
        total, expected = total / self.N, expected / self.N
        # The mean logit of the rows' labels is linear in theta, so it needs no pass over the rows.
        value = total + _dot(theta, self.ridge * theta / 2 - self.moments)
        return value, expected + self.ridge * theta - self.moments, torch.finfo(weight.dtype).eps * total

    def preconditioner(self, theta: Tensor) -> Callable[[Tensor], Tensor]:
        """Return a function that multiplies by the inverse of the Hessian's blocks, one per class.

        The Hessian is estimated from a sample of the rows.
        """
        probabilities = (theta.to(self.sample.dtype) @ self.sample).softmax(1)
        products = [(self.sample * (p - p * p)) @ self.sample.mT for p in probabilities.split(1, 1)]
        hessian = torch.stack(products, 1).double() / self.sample.shape[2]
        # Without the last term, rounding or probabilities of 0 and 1 could make the matrix singular.
        factor, _ = torch.linalg.cholesky_ex(hessian + torch.diag_embed(self.ridge + 1e-5 * self.squares))

        def multiply(gradient: Tensor) -> Tensor:
            # A component that all classes share changes no probability.
            step = torch.cholesky_solve(gradient[..., None], factor)[..., 0] * self.present
            return step - self.present * step.sum(1, keepdim=True) / self.count

        return multiply


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the K inner products, ``(K, 1, 1)``."""
    return (a * b).sum((1, 2), keepdim=True)


def logistic_regression(
    features: Tensor,
    labels: Tensor,
    C: float = 1.0,
    max_iter: int = 1000,
    tolerance: float = 3e-6,
    start: Fit | None = None,
) -> Fit:
    r"""Fit the weights W and intercepts b of K multinomial logistic regressions at once.

    .. math:: \tfrac{1}{N} \sum_i -\log \mathrm{softmax}(W x_i + b)_{y_i} + \tfrac{1}{2 C N} \lVert W \rVert^2

    is minimised. This is scikit-learn's objective, with the penalty doubled for two classes. The solver is L-BFGS with
    a preconditioner that is recomputed from time to time. Each of the K fits takes its own steps, and one that has
    converged waits for the others. The same arguments give the same result on the same machine and number of threads.

    Arguments:
        features: ``(K, N, D)``, in single or double precision. Single precision suffices for the default tolerance,
            whatever the features' scales. The weights of a column of zeros are exactly zero.
        labels: integers, ``(K, N)``, or ``(1, N)`` if all sets share them.
        C: inverse strength of the penalty.
        max_iter: maximum number of iterations, each of which evaluates the objective once.
        tolerance: a fit has converged when no entry of its gradient is larger, where the entry of a weight is divided
            by the standard deviation of its feature. A fit to non-finite features never converges and is abandoned.
        start: a fit to start from, such as one with another ``C``.

    References:
        On the limited memory BFGS method for large scale optimization, Liu and Nocedal, 1989
        (https://doi.org/10.1007/BF01589116). A new conjugate gradient method with guaranteed descent and an efficient
        line search, Hager and Zhang, 2005 (https://doi.org/10.1137/030601880), for steps that change the objective by
        less than its rounding error.
    """
    classes = labels.unique()
    objective = _Objective(features, labels, classes, C)
    if start is None:
        theta = torch.zeros_like(objective.moments)
        theta[:, :, -1:] = ABSENT * (1 - objective.present)
    else:
        intercept = start.intercept[:, :, None] + start.weight @ objective.mean.mT
        theta = torch.cat([start.weight, intercept], 2).double()
    unit = objective.squares.sqrt().clamp(min=torch.finfo(torch.float64).tiny)
    value, gradient, _ = objective(theta)
    length, scale = torch.ones_like(value), torch.ones_like(value)
    memory: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=MEMORY)
    for iteration in range(max_iter + 1):
        error = (gradient.abs() / unit).amax((1, 2), keepdim=True)
        active = error > tolerance
        if iteration == max_iter or not active.any():
            break
        # Recomputed at 0, 8, 16, 32 and so on, because the Hessian changes less and less.
        if iteration & (iteration - 1) == 0 and iteration not in (1, 2, 4):
            precondition = objective.preconditioner(theta)
        direction, shares = -gradient, []
        for s, y, inverse in reversed(memory):
            shares.append(inverse * _dot(s, direction))
            direction = direction - shares[-1] * y
        if memory:  # far from the point where it was computed, the preconditioner is off by orders of magnitude
            s, y, _ = memory[-1]
            size = _dot(y, precondition(y))
            scale = torch.where(size > 0, _dot(s, y) / size, scale)
        direction = scale * precondition(direction)
        for s, y, inverse in memory:
            direction = direction + (shares.pop() - inverse * _dot(y, direction)) * s

        trial = theta + length * direction
        new_value, new_gradient, noise = objective(trial)
        slope, new_slope = _dot(gradient, direction), _dot(new_gradient, direction)
        lower = new_value <= value + 1e-4 * length * slope
        level = (new_value <= value + noise) & (new_slope <= -0.8 * slope)
        accepted = active & (lower | level)
        # If a fit takes no step but others do, zeros fill its place in the memory, without any effect.
        s, y = torch.where(accepted, trial - theta, 0), torch.where(accepted, new_gradient - gradient, 0)
        curvature = _dot(s, y)
        if accepted.any():
            memory.append((s, y, torch.where(curvature > 0, 1 / curvature, 0)))
        theta, gradient, value = theta + s, gradient + y, torch.where(accepted, new_value, value)
        length = torch.where(accepted, 1, length / 2)
    weight = theta[:, :, :-1]
    intercept = theta[:, :, -1] - (weight @ objective.mean.mT.double())[:, :, 0]
    return Fit(weight.to(features.dtype), intercept.to(features.dtype), classes, error[:, 0, 0] <= tolerance, iteration)

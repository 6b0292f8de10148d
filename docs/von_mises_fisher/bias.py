"""Measure the bias of the gradient in the concentration, by quantiles and by a rejection sampler.

python docs/von_mises_fisher/bias.py
"""

import argparse
import math

import torch
from rejection_von_mises_fisher import RejectionVonMisesFisherDistribution
from scipy.special import ive
from torch import Tensor

from vae_lightning.posteriors import VonMisesFisherDistribution

DRAWS, PARTS = 400_000, 40


def exact(d: int, kappa: float) -> float:
    """Return the derivative of E[w], A(kappa) = I_{d/2}(kappa) / I_{d/2 - 1}(kappa), with w the cosine to the mean."""
    a = ive(d / 2, kappa) / ive(d / 2 - 1, kappa)
    return float(1 - a**2 - (d - 1) * a / kappa)


def estimated(family: type[VonMisesFisherDistribution], d: int, kappa: float) -> tuple[float, float]:
    """Return the mean gradient and its standard error."""
    mu = torch.eye(d, dtype=torch.float64)[:1]
    noise = torch.randn(DRAWS, 1, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gradients: list[Tensor] = []
    for part in noise.chunk(PARTS):
        concentration = torch.full((1, 1), kappa, dtype=torch.float64, requires_grad=True)
        w = family(mu, concentration).rsample(part)[..., 0].mean()
        gradients += torch.autograd.grad(w, concentration)
    each = torch.stack(gradients).flatten()
    return float(each.mean()), float(each.std() / math.sqrt(len(each)))


def main() -> None:
    """Print a table in Markdown."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    print("| d | kappa | rejection | ours | standard error |")
    print("| --- | --- | --- | --- | --- |")
    for d in (3, 5, 10, 20):
        for kappa in (1.0, 10.0, 50.0):
            right = exact(d, kappa)
            found = [
                estimated(family, d, kappa)
                for family in (RejectionVonMisesFisherDistribution, VonMisesFisherDistribution)
            ]
            deviations = [f"{mean / right - 1:+.2%}" for mean, _ in found]
            print(f"| {d} | {kappa:g} | {' | '.join(deviations)} | {found[1][1] / right:.2%} |", flush=True)


if __name__ == "__main__":
    main()

# %% [markdown]
# # Four posteriors and a bent target
# A posterior is as good as the densities that its family holds. Here, four families are fitted to a density that none
# of them holds: a bent one, of two latent variables. There is no encoder and no image: the parameters themselves are
# trained, with the same gradient as in a model.

# %%
import math

import torch
from torch import Tensor

from vae_lightning.posteriors import IAF, Gaussian, GaussianFull, MixtureOfGaussians


def log_target(z: Tensor) -> Tensor:
    """Return the logarithm of the target's density, ``(B,)``: it integrates to 1."""
    along, across = (z[:, 0] + z[:, 1]) / math.sqrt(2), (z[:, 1] - z[:, 0]) / math.sqrt(2)
    bent = across - 0.25 * along**2
    return -0.5 * (along / 1.5) ** 2 - 0.5 * (bent / 0.4) ** 2 - math.log(2 * math.pi * 1.5 * 0.4)


# %% [markdown]
# ## Fitting
# The loss is the KL from the posterior to the target, estimated with samples: the mean of log q(z) - log p(z). Each
# sample is a function of rows of N(0, 1) noise and of the parameters, so that the estimate has a derivative. The KL of
# a fit is the distance that is left, in nats: the gap between an ELBO and log p(x).

# %%
torch.manual_seed(0)
families = {
    "Gaussian": Gaussian(2),
    "GaussianFull": GaussianFull(2),
    "MixtureOfGaussians": MixtureOfGaussians(2, components=6),
    "IAF": IAF(2, layers=4, hidden=32),
}
fitted = {}
for name, family in families.items():
    encoded = torch.nn.Parameter(torch.randn(1, family.outputs))
    optimizer = torch.optim.Adam([encoded, *family.parameters()], lr=1e-2)
    for _ in range(1500):
        posterior = family(encoded)
        z, log_q = posterior.rsample_and_log_prob(torch.randn(256, family.noise_size))
        loss = (log_q.sum(-1) - log_target(z)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        z, log_q = family(encoded).rsample_and_log_prob(torch.randn(20_000, family.noise_size))
        fitted[name] = z
        print(f"{name:20} KL {(log_q.sum(-1) - log_target(z)).mean():.3f} nats")

# %% [markdown]
# ## The fits
# Lines are the target's density, points are samples of the posterior.

# %%
import matplotlib.pyplot as plt

first, second = torch.meshgrid(torch.linspace(-4, 4, 120), torch.linspace(-4, 4, 120), indexing="xy")
density = log_target(torch.stack([first, second], -1).flatten(0, 1)).exp().view_as(first)
levels = [share * float(density.max()) for share in (0.05, 0.2, 0.5, 0.8)]
figure, axes = plt.subplots(1, 4, figsize=(10, 3.2), sharex=True, sharey=True, layout="constrained")
for axis, (name, z) in zip(axes, fitted.items(), strict=True):
    axis.contour(first, second, density, levels=levels, colors="black", linewidths=0.7)
    axis.scatter(*z[:1500].T, s=2, alpha=0.5, color="tab:orange")
    axis.set(title=name, xlim=(-4, 4), ylim=(-4, 4), aspect="equal")

# %% [markdown]
# The diagonal Gaussian covers the middle, because the KL punishes samples where the target has none. A full covariance
# turns along the target, a mixture follows the bend with its components, and the flow bends itself. In a model, the
# decoder adapts to what the posterior can be, so that the families differ less: [each has its measurements on
# MNIST](../families/README.md). A [custom family](../how_to/own_posterior.md) is one file.

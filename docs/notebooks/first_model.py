# %% [markdown]
# # A first model, in a notebook
# From the reparameterization trick to a trained variational autoencoder, on 5,000 MNIST digits that ship with a
# package. `make site` runs this notebook; VS Code, PyCharm and Jupyter (with jupytext) open its file, too.
#
# ## The trick
# A random generator that draws z from N(mu, sigma²) returns a number, and automatic differentiation finds no way
# from it back to mu. Written as a function of mu, sigma and noise from outside, the same draw has derivatives:

# %%
import logging

import torch

mu, sigma = torch.tensor(0.5, requires_grad=True), torch.tensor(2.0, requires_grad=True)
drawn = torch.normal(mu.detach(), sigma.detach())
written = mu + sigma * torch.randn((), generator=torch.Generator().manual_seed(0))
print("drawn:  ", drawn.requires_grad)
print("written:", torch.autograd.grad(written, [mu, sigma]))

# %% [markdown]
# The derivative in mu is 1, and that in sigma is the noise. [Maths](../maths.md#the-reparameterization-trick) has the
# rest.
#
# ## A model and its training
# A model with two latent variables can be drawn. `Trainer` is Lightning's; `LinearProbe` fits a linear classifier to mu
# during the test.

# %%
from lightning.pytorch import Trainer

from vae_lightning import VAE, LinearProbe, MNIST5kDataModule

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
data = MNIST5kDataModule()
vae = VAE(latent_dim=2, widths=[256, 64], optimizer={"_target_": "torch.optim.Adam", "lr": 3e-3})
trainer = Trainer(
    max_epochs=20,
    accelerator="cpu",
    callbacks=[LinearProbe()],
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(vae, datamodule=data)
(results,) = trainer.test(vae, datamodule=data, verbose=False)
for name in ("test/loss", "test/recon", "test/kl", "probe/test_acc"):
    print(f"{name:15} {results[name]:.4g}")

# %% [markdown]
# The loss is the negative ELBO in nats per image: the reconstruction plus the KL from the posterior to the prior.
#
# ## Reconstructions
# Test images above what the decoder makes of their mu:

# %%
import matplotlib.pyplot as plt

vae.eval()
images, labels = (torch.cat(part) for part in zip(*data.test_dataloader(), strict=True))
shown = torch.stack([images[labels == digit][0] for digit in range(10)])
with torch.no_grad():
    reconstructed = vae.reconstruct(shown)
figure, axes = plt.subplots(2, 10, figsize=(9, 1.9), layout="constrained")
for axis, image in zip(axes.flat, torch.cat([shown, reconstructed]), strict=True):
    axis.imshow(image[0], cmap="gray", vmin=0, vmax=1)
    axis.set_axis_off()

# %% [markdown]
# ## The latent space
# On the left, each point is mu of a test image, coloured by a label that training never saw. On the right, the decoder
# draws a grid of latents.

# %%
with torch.no_grad():
    mu = vae.encode(images).mean
    grid = torch.cartesian_prod(torch.linspace(2, -2, 12), torch.linspace(-2, 2, 12)).flip(-1)
    decoded = vae.likelihood.mean(vae.decode(grid))
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
points = left.scatter(mu[:, 0], mu[:, 1], c=labels, cmap="tab10", s=6)
left.set(xlabel="mu, first latent variable", ylabel="second", title="test images")
figure.colorbar(points, ax=left, ticks=range(10))
right.imshow(decoded.view(12, 12, 28, 28).transpose(1, 2).reshape(336, 336), cmap="gray")
right.set_title("decoded latents, from -2 to 2")
right.set_axis_off()

# %% [markdown]
# Next: [the tutorial](../tutorial.md) does this from the command line, and goes on to a sweep and its report; [other
# families of posteriors](four_posteriors.py) bend the Gaussian.

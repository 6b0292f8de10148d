"""A notebook that trains, probes and inspects a variational autoencoder from Python, with a plain Trainer.

Its cells begin with ``# %%``; VS Code, PyCharm and Jupyter (with jupytext) open it as a notebook. As a script, it takes
twenty-five seconds on two cores and writes example.png:

    python docs/example.py
"""

# %% [markdown]
# # A variational autoencoder from Python
# The data are all of MNIST, downloaded once (11 MB). Without a network connection, use `MNIST5kDataModule()` instead of
# `MNISTDataModule("data")`: it has 5,000 MNIST digits that ship with a package, and needs 15 epochs.

# %%
import torch
from lightning.pytorch import Trainer
from matplotlib.figure import Figure

from vae_lightning import VAE, LinearProbe, MNISTDataModule

data = MNISTDataModule("data", seed=0)
vae = VAE(latent_dim=10, widths=[256], optimizer={"_target_": "torch.optim.Adam", "lr": 3e-3}, seed=0)

# %% [markdown]
# ## Training
# The linear probe is a callback: during the test, it fits a linear classifier to mu.

# %%
trainer = Trainer(max_epochs=5, accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[LinearProbe()])
trainer.fit(vae, datamodule=data)
(results,) = trainer.test(vae, datamodule=data)
print(f"test loss {results['test/loss']:.2f} nats per image, probe accuracy {results['probe/test_acc']:.4f}")

# %% [markdown]
# ## Reconstructions and samples
# The rows show test images, their reconstructions, and samples from the prior. The last row varies one dimension of the
# first image's mu from -3 to 3: the dimension whose mu varies most over the images.

# %%
vae.eval()
images, labels = next(iter(data.test_dataloader()))
images = torch.stack([images[labels == digit][0] for digit in range(10)])
with torch.no_grad():
    mu, logvar = vae.encode(images)
    reconstructed = vae.reconstruct(images)
    sampled = vae.sample(len(images), noise=torch.randn(len(mu), 10, generator=torch.Generator().manual_seed(0)))
    moved = mu[:1].repeat(len(mu), 1)
    moved[:, mu.std(0).argmax()] = torch.linspace(-3, 3, len(mu))
    traversed = vae.likelihood.mean(vae.decode(moved))

figure = Figure(figsize=(8, 3.6))
rows = {"image": images, "reconstructed": reconstructed, "sample": sampled, "one dimension": traversed}
for axes, (title, shown) in zip(figure.subplots(len(rows), len(mu)), rows.items(), strict=True):
    for axis, image in zip(axes, shown, strict=True):
        axis.imshow(image[0], cmap="gray", vmin=0, vmax=1)
        axis.set_axis_off()
    axes[0].set_title(title, fontsize=8, loc="left")
figure.savefig("example.png")
figure  # noqa: B018  # displayed in a notebook

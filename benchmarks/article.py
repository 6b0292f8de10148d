"""The article's way of training its model, and a plain loop over images in memory, in PyTorch alone."""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor


class ArticleVAE(nn.Module):
    """The reference architecture: 784-128-(latent_dim, latent_dim)-128-784."""

    def __init__(self, latent_dim: int = 20) -> None:
        super().__init__()
        self.hidden = nn.Linear(784, 128)
        self.mu, self.logvar = nn.Linear(128, latent_dim), nn.Linear(128, latent_dim)
        self.decoder = nn.Sequential(nn.Linear(latent_dim, 128), nn.ReLU(), nn.Linear(128, 784))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.relu(self.hidden(x))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return self.decoder(z), mu, logvar


def train_epoch(vae: ArticleVAE, optimizer: torch.optim.Optimizer, batches: Iterable[Tensor], item: bool) -> None:
    total: float | Tensor = 0.0
    device = vae.hidden.weight.device
    for images in batches:
        x = images.to(device).view(-1, 784)
        logits, mu, logvar = vae(x)
        if item:  # as in the article: probabilities first
            recon = F.binary_cross_entropy(torch.sigmoid(logits), x, reduction="sum")
        else:
            recon = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        loss = recon - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() if item else loss.detach()


def article(folder: Path, device: torch.device, latent_dim: int = 20, lr: float = 1e-3) -> Callable[[], None]:
    loader = DataLoader(MNIST(str(folder), transform=ToTensor()), batch_size=64, shuffle=True)
    vae = ArticleVAE(latent_dim).to(device)
    optimizer = torch.optim.Adam(vae.parameters(), lr=lr)
    return lambda: train_epoch(vae, optimizer, (images for images, _ in loader), item=True)


def plain(images: Tensor, latent_dim: int = 20, lr: float = 1e-3) -> tuple[ArticleVAE, Callable[[], None]]:
    vae = ArticleVAE(latent_dim).to(images.device)
    optimizer = torch.optim.Adam(vae.parameters(), lr=lr, fused=True)
    return vae, lambda: train_epoch(
        vae,
        optimizer,
        (images[rows] for rows in torch.randperm(len(images), device=images.device).split(64)),
        item=False,
    )

"""A VAE in the way of PyTorch's examples (github.com/pytorch/examples, vae), with our model, for peers.py.

    STAMPS=FILE python benchmarks/peer_example.py --data DIR

DIR holds the MNIST files where torchvision looks for them. As there: torchvision's MNIST in a DataLoader, on a GPU with
a worker and pinned memory; Adam; ``loss.item()`` at every step; after each epoch, the loss of the test images, and
pictures of reconstructions and samples. Other than there, the hidden layers have 128 units instead of 400, a batch has
64 images instead of 128, and the likelihood is Bernoulli instead of continuous Bernoulli, as in ``experiment=article``.
"""

from pathlib import Path

import torch
from peer_job import job_parser
from stamps import stamp
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor
from torchvision.utils import save_image


class VAE(nn.Module):
    """784-128-(latent_dim, latent_dim)-128-784; the decoder's output are probabilities."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(784, 128)
        self.mu, self.logvar = nn.Linear(128, latent_dim), nn.Linear(128, latent_dim)
        self.decoder_hidden, self.pixels = nn.Linear(latent_dim, 128), nn.Linear(128, 784)

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.pixels(F.relu(self.decoder_hidden(z))))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.relu(self.hidden(x.view(-1, 784)))
        mu, logvar = self.mu(h), self.logvar(h)
        std = torch.exp(0.5 * logvar)
        return self.decode(mu + std * torch.randn_like(std)), mu, logvar


def loss_function(probabilities: Tensor, x: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    recon = F.binary_cross_entropy(probabilities, x.view(-1, 784), reduction="sum")
    return recon - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())


def train(model: VAE, optimizer: torch.optim.Optimizer, loader: DataLoader[tuple[Tensor, int]], epoch: int) -> None:
    model.train()
    device, total = model.hidden.weight.device, 0.0
    for number, (images, _) in enumerate(loader):
        x = images.to(device)
        optimizer.zero_grad()
        loss = loss_function(*_outputs(model, x))
        loss.backward()
        total += loss.item()
        optimizer.step()
        if number % 10 == 0:
            print(f"epoch {epoch} [{100 * number / len(loader):.0f}%]\tloss {loss.item() / len(x):.6f}")
    print(f"epoch {epoch}\tmean loss {total / 60_000:.4f}")


@torch.no_grad()
def test(model: VAE, loader: DataLoader[tuple[Tensor, int]], folder: Path, epoch: int, latent_dim: int) -> None:
    model.eval()
    device, total = model.hidden.weight.device, 0.0
    for number, (images, _) in enumerate(loader):
        x = images.to(device)
        probabilities, _, mu, logvar = _outputs(model, x)
        total += loss_function(probabilities, x, mu, logvar).item()
        if number == 0:
            pairs = torch.cat([x[:8], probabilities.view(-1, 1, 28, 28)[:8]])
            save_image(pairs.cpu(), folder / f"reconstruction_{epoch}.png", nrow=8)
    print(f"test loss {total / 10_000:.4f}")
    samples = model.decode(torch.randn(64, latent_dim).to(device)).cpu()
    save_image(samples.view(64, 1, 28, 28), folder / f"sample_{epoch}.png")


def _outputs(model: VAE, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the arguments of the loss function: the probabilities, the images, mu and logvar."""
    probabilities, mu, logvar = model(x)
    return probabilities, x, mu, logvar


def main() -> None:
    options = job_parser(__doc__).parse_args()
    torch.manual_seed(1)
    gpu = options.device == "cuda"
    loaders = [
        DataLoader(MNIST(str(options.data), train, ToTensor()), 64, shuffle=True, num_workers=int(gpu), pin_memory=gpu)
        for train in (True, False)
    ]
    model = VAE(options.latent_dim).to(options.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    for epoch in range(1, options.epochs + 1):
        stamp()
        train(model, optimizer, loaders[0], epoch)
        stamp()
        test(model, loaders[1], Path.cwd(), epoch, options.latent_dim)


if __name__ == "__main__":
    main()

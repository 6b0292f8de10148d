"""The article's script and a plain loop over images in memory, job after job, for peers.py.

    STAMPS=FILE python benchmarks/peer_loops.py article --data DIR

DIR holds the MNIST files where torchvision looks for them.
"""

import argparse
from itertools import product
from pathlib import Path

import torch
from article import article, plain
from stamps import stamp
from torchvision.datasets import MNIST


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=["article", "plain"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--latent-dim", type=int, nargs="+", default=[20])
    parser.add_argument("--lr", type=float, nargs="+", default=[1e-3])
    options = parser.parse_args()
    device = torch.device(options.device)
    images = torch.empty(0)
    if options.way == "plain":
        images = MNIST(str(options.data)).data.flatten(1).to(device) / 255
    for latent_dim, lr in product(options.latent_dim, options.lr):
        if options.way == "plain":
            _, epoch = plain(images, latent_dim, lr)
        else:
            epoch = article(options.data, device, latent_dim, lr)
        for _ in range(options.epochs):
            stamp()
            epoch()
            stamp()


if __name__ == "__main__":
    main()

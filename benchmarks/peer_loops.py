"""The article's script and a plain loop over images in memory, job after job, for peers.py.

    STAMPS=FILE python benchmarks/peer_loops.py article --data DIR

DIR holds the MNIST files where torchvision looks for them.
"""

from itertools import product

import torch
from article import article, plain
from peer_job import job_parser
from stamps import stamp
from torchvision.datasets import MNIST


def main() -> None:
    parser = job_parser(__doc__, several=True)
    parser.add_argument("way", choices=["article", "plain"])
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

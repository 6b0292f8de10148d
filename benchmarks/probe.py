"""Compare time and accuracy of the linear probe: scikit-learn's logistic regression and ours, side by side.

    python benchmarks/probe.py --root DIR

DIR holds the MNIST files. For each latent_dim, a VAE is trained for two epochs on 60,000 images and encodes them. Each
round then fits both classifiers, scikit-learn's with its defaults except ``max_iter=1000``, and scores them on all
training and test images. Times cover only the fits.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from sklearn.linear_model import LogisticRegression

from vae_lightning import VAE, MNISTDataModule
from vae_lightning.evaluation.features import Features, encode_images
from vae_lightning.evaluation.logistic_regression import logistic_regression
from vae_lightning.runs.warnings import filter_warnings


def encoded(root: Path, latent_dim: int) -> tuple[Features, Features]:
    """Return the training and test features of a VAE trained for two epochs."""
    seed_everything(0, verbose=False)
    vae = VAE(latent_dim=latent_dim)
    data = MNISTDataModule(root=str(root), block_size=16, val_size=0)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(vae, datamodule=data)
    return encode_images(vae, data.train_dataloader()), encode_images(vae, data.test_dataloader())


def scikit_learns(train: Features, test: Features) -> tuple[float, float, float]:
    """Return scikit-learn's seconds and its accuracies on training and test images."""
    began = time.perf_counter()
    classifier = LogisticRegression(max_iter=1000).fit(*train)
    seconds = time.perf_counter() - began
    return seconds, classifier.score(*train), classifier.score(*test)


def ours(train: Features, test: Features) -> tuple[float, float, float]:
    """Return our solver's seconds and its accuracies on training and test images."""
    began = time.perf_counter()
    fit = logistic_regression(torch.from_numpy(train.mu)[None], torch.from_numpy(train.labels)[None])
    seconds = time.perf_counter() - began
    train_acc, test_acc = (
        float((fit.predict(torch.from_numpy(part.mu)[None])[0].numpy() == part.labels).mean()) for part in (train, test)
    )
    return seconds, train_acc, test_acc


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    filter_warnings()
    print(f"{torch.get_num_threads()} threads; accuracies on training and test images")
    print(f"{'latent_dim':>10}{'scikit-learn, s':>17}{'ours, s':>9}{'ratio':>7}   {'scikit-learn':17}ours")
    for latent_dim in (20, 128):
        train, test = encoded(options.root, latent_dim)
        ratios = []
        for _ in range(options.rounds):
            (theirs, *their_acc), (own, *own_acc) = scikit_learns(train, test), ours(train, test)
            ratios.append(theirs / own)
            accuracies = "   ".join(", ".join(f"{acc:.5f}" for acc in pair) for pair in (their_acc, own_acc))
            print(f"{latent_dim:10}{theirs:17.2f}{own:9.3f}{ratios[-1]:7.1f}   {accuracies}", flush=True)
        print(f"latent_dim {latent_dim}: median ratio {statistics.median(ratios):.1f}")


if __name__ == "__main__":
    main()

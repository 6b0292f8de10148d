"""What editors and type checkers see of the package."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
from lightning.pytorch import Trainer
from torch import Tensor

from vae_lightning import VAE, LinearProbe, MNIST5kDataModule

vae = VAE(latent_dim=10, widths=[256, 128])
trainer = Trainer(max_epochs=1, callbacks=[LinearProbe(C=[0.1, 1.0])])
trainer.fit(vae, datamodule=MNIST5kDataModule(block_size=16))
images: Tensor = vae.sample(count=4)
mu, logvar = vae.encode(images)
loss: Tensor = vae.elbo(images).loss
"""
WRONG = """
VAE(latent_dim="ten")
MNIST5kDataModule(blocksize=16)
number: int = vae.reconstruct(images)
"""


@pytest.mark.slow
def test_a_script_is_checked_against_the_packages_types(tmp_path: Path) -> None:
    mypy = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path / "cache")]
    for name, script in (("right.py", SCRIPT), ("wrong.py", SCRIPT + WRONG)):
        (tmp_path / name).write_text(script)
    right, wrong = (
        subprocess.run([*mypy, name], cwd=tmp_path, capture_output=True, text=True) for name in ("right.py", "wrong.py")
    )
    assert right.returncode == 0, right.stdout
    lines = [line for line in wrong.stdout.splitlines() if ": error:" in line]
    kinds = [line.rpartition("[")[2].rstrip("]") for line in lines]
    assert kinds == ["arg-type", "call-arg", "assignment"], wrong.stdout

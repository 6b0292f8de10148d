"""The earlier name of :mod:`vae_lightning.commands.train`, for job scripts with ``python -m vae_lightning.train``."""

from vae_lightning.commands.train import main

__all__ = ["main"]

if __name__ == "__main__":
    main()

"""What training makes small, one objective a file."""

from vae_lightning.objectives.beta_elbo import BetaELBO
from vae_lightning.objectives.draws import ELBO, Draws, gaussian_kl
from vae_lightning.objectives.free_bits import FreeBits
from vae_lightning.objectives.iwae import IWAE
from vae_lightning.objectives.negative_elbo import NegativeELBO
from vae_lightning.objectives.objective import Objective, Terms

__all__ = ["ELBO", "IWAE", "BetaELBO", "Draws", "FreeBits", "NegativeELBO", "Objective", "Terms", "gaussian_kl"]

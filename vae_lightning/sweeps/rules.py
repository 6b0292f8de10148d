"""Rules for the arguments of sweeps and launchers."""

from vae_lightning.config.rules import Rule, integer, optional

# The arguments of the stacked launcher, keys of hydra.launcher.
STACKED: dict[str, Rule] = {"max_stack": optional(integer(at_least=1))}

# The extra that each launcher needs.
EXTRAS = {"ray": "ray", "submitit_local": "submitit", "submitit_slurm": "submitit"}

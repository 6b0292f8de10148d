"""Rules for the arguments of sweeps and launchers."""

from collections.abc import Mapping

from vae_lightning.config.rules import Rule, integer, optional

# The arguments of the stacked launcher, keys of hydra.launcher.
STACKED: dict[str, Rule] = {"max_stack": optional(integer(at_least=1))}

# Keys of hydra.sweeper.
SWEEPER: dict[str, Rule] = {
    "max_batch_size": optional(integer(at_least=1)),
    "params": optional(Rule("a mapping of keys to the values to sweep over", lambda value: isinstance(value, Mapping))),
}

# The extra that each launcher needs.
EXTRAS = {"ray": "ray", "submitit_local": "submitit", "submitit_slurm": "submitit"}

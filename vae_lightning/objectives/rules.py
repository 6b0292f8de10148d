"""Rules for the arguments of objectives."""

from vae_lightning.config.rules import Rule, boolean, integer, number, optional, target

RULES: dict[str, dict[str, Rule]] = {
    "BetaELBO": {"beta": number(at_least=0), "schedule": optional(target)},
    "FreeBits": {"free_nats": number(at_least=0)},
    "IWAE": {"samples": integer(at_least=1), "doubly_reparameterized": boolean},
    "NegativeELBO": {},
}

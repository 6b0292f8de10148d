"""Rules for the arguments of schedules."""

from vae_lightning.config.rules import Rule, integer, number, several

RULES: dict[str, dict[str, Rule]] = {
    "Constant": {},
    "Cosine": {"steps": integer(at_least=1), "warmup_steps": integer(at_least=0), "end": number(at_least=0)},
    "Cyclical": {"period": integer(at_least=1), "rising": number(above=0)},
    "Staircase": {"at": several(integer(at_least=1)), "factors": several(number(at_least=0))},
    "WarmUp": {"steps": integer(at_least=1), "start": number(at_least=0)},
}

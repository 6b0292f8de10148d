"""Rules for the arguments of evaluation."""

from vae_lightning.config.rules import Rule, boolean, integer, number, seed, several

PROBE: dict[str, Rule] = {
    "C": Rule(
        "a finite number above 0, or a list of such numbers",
        lambda value: number(above=0).accepts(value) or several(number(above=0)).accepts(value),
        {"anyOf": [number(above=0).schema, several(number(above=0)).schema]},
    ),
    "standardize": boolean,
    "max_iter": integer(at_least=1),
}

RULES: dict[str, dict[str, Rule]] = {
    "linear_probe": PROBE,
    "log_likelihood": {"samples": integer(at_least=1), "seed": seed, "chunk_size": integer(at_least=1)},
}

"""Sizes in a configuration that exceed the memory of this machine."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import prod
from typing import Any, TypeGuard

from vae_lightning.memory import check_memory

__all__ = ["FLOAT", "check_sizes"]

FLOAT = 4  # bytes
PIXELS = 1  # unless model.image_shape is given
NOISE = 1024  # rows of noise that are drawn at once
MODULE = 1000  # bytes of a module without its weights
PROCESS = 100_000_000  # bytes of a process that has imported torch


def check_sizes(config: Mapping[str, Any]) -> None:
    """Refuse sizes whose tensors alone exceed the memory, before torch is imported or anything is allocated.

    These are lower bounds. A size that passes can still be too large, which shows when it is allocated.

    Arguments:
        config: the configuration, with values that follow the rules.

    Raises:
        InputError: naming the key.
    """
    for key, value, needed in _needs(config):
        check_memory(f"{key}={value}", needed)


def _needs(config: Mapping[str, Any]) -> Iterator[tuple[str, Any, int]]:
    """Yield keys with their values and the bytes that they need at least."""
    model = config["model"]
    latent_dim, pixels = 1, PIXELS
    if _is_ours(model):
        latent_dim, pixels = model.get("latent_dim", 1), prod(model.get("image_shape") or [PIXELS])
        yield "model.image_shape", model.get("image_shape"), FLOAT * pixels
        widths, decoder_widths = model.get("widths") or [], model.get("decoder_widths") or []
        if not model.get("encoder"):
            yield "model.widths", widths, FLOAT * sum(a * b for a, b in pairwise([pixels, *widths]))
        yield "model.decoder_widths", decoder_widths, FLOAT * sum(a * b for a, b in pairwise([*decoder_widths, pixels]))
        yield "model.latent_dim", latent_dim, FLOAT * latent_dim * NOISE
        for name in ("encoder", "decoder"):
            network = model.get(name)
            if _is_ours(network):
                channels, blocks = network.get("channels", []), network.get("blocks", 0)
                yield f"model.{name}.channels", channels, FLOAT * sum(a * b for a, b in pairwise([1, *channels]))
                yield f"model.{name}.blocks", blocks, MODULE * blocks
    for key, node in {"objective": config.get("objective"), **_under("callbacks", config["callbacks"])}.items():
        if _is_ours(node) and "samples" in node:
            yield f"{key}.samples", node["samples"], FLOAT * node["samples"] * (latent_dim + pixels)
    devices = config["trainer"].get("devices")
    if isinstance(devices, int):
        yield "trainer.devices", devices, PROCESS * devices


def _is_ours(node: Any) -> TypeGuard[Mapping[str, Any]]:
    """Return whether a node names a class of this package, whose arguments are known to follow its rules."""
    return isinstance(node, Mapping) and str(node.get("_target_")).startswith("vae_lightning.")


def _under(group: str, nodes: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{group}.{name}": node for name, node in nodes.items()}

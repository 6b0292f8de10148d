"""The names of a sweep's jobs."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from vae_lightning.config.axes import axis_values
from vae_lightning.config.hydra_versions import register_resolver

__all__ = ["job_name"]

LONGEST_NAME = 120  # bytes; file systems allow 255


def job_name(values: Mapping[str, Any]) -> str:
    """Return the values as a folder name, ``latent_dim=20,lr=0.001``, with a hash appended if it cannot hold them."""
    plain = ",".join(f"{name}={value}" for name, value in values.items()) or "job"
    encoded = re.sub(r"[^\w.,=+\[\]-]+", "_", plain).encode()
    safe = encoded[:LONGEST_NAME].decode(errors="ignore").strip(".")
    if safe != plain:
        # "surrogatepass": an argument that is not text in the terminal's encoding holds surrogates.
        safe = f"{safe}-{hashlib.sha256(plain.encode(errors='surrogatepass')).hexdigest()[:8]}"
    return safe


register_resolver(
    "job_name",
    lambda axes, *, _root_: job_name(axis_values(axes, _root_)),
    replace=True,
)

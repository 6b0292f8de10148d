"""Random streams, each derived from the run's seed and a name, and unaffected by anything else in the process."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["NormalStream", "generator", "seeded", "stream_seed"]


def stream_seed(seed: int, name: str, *indices: int) -> int:
    """Return a 63-bit seed for one stream, e.g. ``stream_seed(0, "order", epoch)``.

    The streams are:

    - ``"initialisation"``: the initial weights;
    - ``"order"``: the order of the training images, by epoch;
    - ``"noise"``: the noise of the latents in training, by epoch;
    - ``"evaluation"``: the noise of the latents in validation and test;
    - ``"likelihood"``: the noise of the latents for the estimate of log p(x), by image;
    - ``"posterior"``: the noise of the latents that split the KL into its parts;
    - ``"prior"``: samples from the prior;
    - ``"split"``: the choice of the validation images;
    - ``"pixels"``: the pixels of images that are binarised during training, by epoch;
    - ``"binarisation"``: the pixels of images that are binarised once, by split;
    - ``"gradient"``: the noise of the latents for comparisons of gradients, by epoch (or step) and purpose.

    Neighbouring seeds and indices give unrelated streams, because the key is hashed.
    """
    key = "/".join([str(seed), name, *map(str, indices)])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little") >> 1


def generator(seed: int, name: str, *indices: int) -> torch.Generator:
    """Return a CPU generator at the beginning of a stream (see :func:`stream_seed`)."""
    return torch.Generator().manual_seed(stream_seed(seed, name, *indices))


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Let torch's global CPU generator follow a stream inside the ``with`` block, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, name))
        yield


class NormalStream:
    """Standard normal rows; the i-th is always the same, however many are drawn at a time and on whatever device.

    Rows are drawn on the CPU a page at a time: ``torch.randn`` alone would give other values for other batch sizes.

    Arguments:
        generator: generator at the beginning of the stream; nothing else may use it afterwards.
        size: length of a row, e.g. ``latent_dim``.
        device: device of the returned rows.
        dtype: dtype of the rows. They are drawn in it, so that double precision is double precision throughout.
    """

    PAGE = 1024

    def __init__(
        self,
        generator: torch.Generator,
        size: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.generator, self.size, self.device, self.dtype = generator, size, device, dtype
        self.rows = torch.empty(0, size, dtype=dtype, device=device)

    def draw(self, count: int) -> Tensor:
        """Return the next rows of the stream, ``(count, size)``."""
        while len(self.rows) < count:
            page = torch.randn(self.PAGE, self.size, generator=self.generator, dtype=self.dtype)
            self.rows = torch.cat([self.rows, page.to(self.device, non_blocking=True)])
        drawn, self.rows = self.rows[:count], self.rows[count:]
        return drawn

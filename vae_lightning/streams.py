"""Random streams: each derived from the run's seed and a name, none touched by anything else in the process."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["NormalStream", "generator", "seeded", "stream_seed"]


def stream_seed(seed: int, name: str, *indices: int) -> int:
    """A 63-bit seed for one stream, e.g. ``stream_seed(0, "order", epoch)``.

    The streams are ``"initialisation"``, ``"order"`` (of the training images; by epoch), ``"noise"`` (of the latents
    in training; by epoch), ``"evaluation"`` (of the latents in validation and test), ``"likelihood"`` (of the latents
    that log p(x) is estimated with; by the image's place), ``"posterior"`` (of the latents that the KL is taken apart
    with), ``"prior"`` (samples), ``"split"`` (of the validation images), ``"pixels"`` (of images that are binarised in
    training; by epoch), ``"binarisation"`` (of images that are binarised once; by split) and ``"gradient"`` (of the
    latents that gradients are compared with; by epoch and by whose gradient it is). Neighbouring seeds and
    indices give unrelated streams, for the key is hashed.
    """
    key = "/".join([str(seed), name, *map(str, indices)])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little") >> 1


def generator(seed: int, name: str, *indices: int) -> torch.Generator:
    """A CPU generator at the beginning of a stream (see :func:`stream_seed`)."""
    return torch.Generator().manual_seed(stream_seed(seed, name, *indices))


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Within it torch's global CPU generator follows a stream; afterwards that generator is as it was found."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, name))
        yield


class NormalStream:
    """Standard normal rows, the i-th always the same, however many are drawn at a time and on whatever device.

    Rows are made on the CPU a page at a time: ``torch.randn`` alone would give other values for other batch sizes.

    Arguments:
        generator: where the stream begins; the stream alone may use it afterwards.
        size: the length of a row, e.g. ``latent_dim``.
        device: where rows are handed out.
        dtype: of the rows. They are drawn in it, so that double precision is double precision throughout.
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
        """The next rows of the stream, shape ``(count, size)``."""
        while len(self.rows) < count:
            page = torch.randn(self.PAGE, self.size, generator=self.generator, dtype=self.dtype)
            self.rows = torch.cat([self.rows, page.to(self.device, non_blocking=True)])
        drawn, self.rows = self.rows[:count], self.rows[count:]
        return drawn

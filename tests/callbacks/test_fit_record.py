"""The checksum by which a run knows whether its weights have changed."""

import torch

from vae_lightning.callbacks.fit_record import digest


def test_the_digest_is_of_the_values_in_any_layout() -> None:
    rows = torch.arange(24.0).view(4, 6)
    views = [rows[:, :1], rows[:, 2], rows[0, 0], rows.bfloat16(), torch.zeros(1, 9)[:, :1]]
    found = digest(views)
    assert found == digest([view.clone(memory_format=torch.contiguous_format) for view in views])
    rows[3, 0] += 1e-6
    rows[2, 2] = torch.nextafter(rows[2, 2], torch.tensor(99.0))
    assert digest(views) != found

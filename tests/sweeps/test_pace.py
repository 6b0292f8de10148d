"""What a sweep says where a job begins."""

import os
import time
from pathlib import Path

import pytest

from vae_lightning.sweeps.pace import announce_jobs, expect_jobs


def test_a_job_is_announced_once_with_its_number_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    expect_jobs(12)
    for numbers, seconds in (([0], 20), ([0], 0), ([1, 2], 40), ([2], 0), ([3], 1200), ([7], 40000), ([8], 0)):
        announce_jobs([Path(str(number)) for number in numbers])
        clock[0] += seconds
    assert capsys.readouterr().out.splitlines() == [
        "job 1 of 12",
        "jobs 2 to 3 of 12, about 4 min left",
        "job 4 of 12, about 3 min left",
        "job 5 of 12, about 42 min left",
        "job 6 of 12, about 16.0 h left",
    ]
    monkeypatch.setattr(os, "getpid", lambda: -1)  # a worker's process, which knows only of its own jobs
    announce_jobs([Path("9")])
    assert capsys.readouterr().out == ""

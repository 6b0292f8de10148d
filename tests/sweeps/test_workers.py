"""Workers of a search: which of them are alive."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from vae_lightning.sweeps.workers import MISSED, Worker

HOLDS = """
import sys
from pathlib import Path
from vae_lightning.sweeps.workers import Worker
worker = Worker(Path(sys.argv[1]), 60)
with worker.alive(lambda: None):
    print(worker.attributes["lock"], flush=True)
    sys.stdin.read()
"""


def test_a_worker_is_alive_while_it_holds_its_lock(tmp_path: Path) -> None:
    one, other = (Worker(tmp_path, 60) for _ in range(2))
    assert one.is_alive(one.attributes, 0.0)
    with other.alive(lambda: None):
        assert one.is_alive(other.attributes, 0.0)
        assert Path(other.attributes["lock"]).exists()
    assert not one.is_alive(other.attributes, time.time())
    assert list((tmp_path / ".workers").iterdir()) == []


def test_a_worker_that_was_killed_is_dead_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lock = process.stdout.readline().strip()
        own = Worker(tmp_path, 60)
        other = {**own.attributes, "name": "other", "lock": lock}
        assert own.is_alive(other, 0.0)
        process.kill()
    assert Path(lock).exists()
    assert not own.is_alive(other, time.time())
    assert not Path(lock).exists()


@pytest.mark.parametrize(("beats", "alive"), [(MISSED - 0.5, True), (MISSED + 0.5, False)])
@pytest.mark.parametrize("elsewhere", [{"host": "another"}, {"lock": "/nowhere/.workers/lock"}])
def test_a_worker_elsewhere_is_alive_as_long_as_it_gives_signs(
    elsewhere: dict[str, str], beats: float, alive: bool, tmp_path: Path
) -> None:
    own = Worker(tmp_path, 20)
    other = {**own.attributes, "name": "other", **elsewhere}
    assert own.is_alive(other, time.time() - beats * 20) == alive


def test_it_gives_signs_as_long_as_it_is_alive(tmp_path: Path) -> None:
    signs: list[float] = []
    with Worker(tmp_path, 0.02).alive(lambda: signs.append(time.time())):
        while len(signs) < 3:
            time.sleep(0.01)
    given = len(signs)
    time.sleep(0.06)
    assert len(signs) == given

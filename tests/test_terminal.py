import io
import os
import pty
import subprocess
import sys

import pytest

from vae_lightning.terminal import announce, clear, prepare_streams


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("arguments", "terminal", "shown"),
    [
        (["seed=1"], Terminal(), True),
        (["seed=1"], io.StringIO(), False),
        (["--help"], Terminal(), False),
        (["seed=1", "--cfg", "job"], Terminal(), False),
    ],
)
def test_a_command_is_announced_on_a_terminal_until_it_says_something_else(
    arguments: list[str], terminal: io.StringIO, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal)
    for _ in range(2):
        announce("vae-train", arguments)
    assert terminal.getvalue() == "vae-train: starting ...\r" * shown
    for _ in range(2):
        clear()
    assert terminal.getvalue() == ("vae-train: starting ...\r" + 23 * " " + "\r") * shown


def test_the_announcement_comes_before_anything_else_is_imported() -> None:
    reading, writing = pty.openpty()
    code = "import sys; sys.modules['hydra'] = None; from vae_lightning.commands.scripts import train; train()"
    done = subprocess.run([sys.executable, "-c", code], stderr=writing, stdout=writing)
    os.close(writing)
    assert os.read(reading, 1000).startswith(b"vae-train: starting ...\r")
    assert done.returncode == 1  # hydra cannot be imported


def test_a_closed_stream_takes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    prepare_streams()
    print("something", flush=True)


def test_a_stream_shows_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="ascii"))
    prepare_streams()
    print("1 ± 2", flush=True)
    assert content.getvalue() == b"1 \\xb1 2\n"

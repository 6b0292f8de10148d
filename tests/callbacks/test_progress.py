"""What a terminal shows, and a pipe and a file instead of it."""

import fcntl
import io
import json
import os
import pty
import re
import shlex
import struct
import sys
import termios
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import SMALL, Command
from tqdm import tqdm

from vae_lightning import progress_bar as bar_module
from vae_lightning.callbacks import progress
from vae_lightning.callbacks.progress import Progress
from vae_lightning.progress_bar import progress_bar

# On a terminal.


def on_a_terminal(folder: Path, columns: int, name: str, *arguments: str) -> str:
    """All that a command sends to a terminal of so many columns; it must end well."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, "-m", f"vae_lightning.commands.{name}", *arguments])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 50, columns, 0, 0))
    sent = b""
    try:
        while part := os.read(terminal, 2**16):
            sent += part
    except OSError:  # Linux says so at the end
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, sent.decode()
    return sent.decode()


def lines_left(sent: str) -> list[str]:
    """What stands on the terminal in the end, if nothing moves the cursor but line ends and returns."""
    lines = []
    for line in sent.replace("\r\n", "\n").split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def bars(sent: str) -> list[str]:
    """Each state of a bar that was shown."""
    return [part for part in re.split(r"[\r\n]", sent) if " left" in part]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("terminal")


@pytest.fixture(scope="module")
def shown(folder: Path) -> str:
    """A run with the probe in each epoch, and validation in every second and the last."""
    options = [*SMALL, "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=2", "data.block_size=1"]
    options.append("trainer.matmul_precision=highest")  # auto says something once per machine
    probe = ["callbacks.probe.every_n_epochs=1", "callbacks.probe.C=[0.1,1]"]
    return on_a_terminal(folder, 80, "train", *options, *probe, "hydra.run.dir='a run'")


EPOCH = r"epoch {}/3   train/loss \d+\.\d\d{}   \d+\.\d s"
VALIDATION = r"   val/loss \d+\.\d\d"


def test_a_run_leaves_a_line_an_epoch_and_a_table(shown: str, folder: Path) -> None:
    lines = lines_left(shown)
    metrics = json.loads((folder / "a run/metrics.json").read_text())
    losses = "".join(f"{metrics[f'{stage}/loss']:10.2f}" for stage in ("train", "val", "test"))
    accuracies = "".join(f"{metrics[f'probe/{stage}_acc']:10.4f}" for stage in ("train", "val", "test"))
    expected = [
        "a run: starting",
        *(EPOCH.format(epoch, VALIDATION if epoch in (2, 3) else "") for epoch in (1, 2, 3)),
        "",
        r" {19}train       val      test",
        re.escape(f"loss = -ELBO  {losses}"),
        r"recon  .*",
        r"kl  .*",
        re.escape(f"probe accuracy{accuracies}"),
        "",
        r"3 epochs in \d+\.\d s; losses in nats per image",
        re.escape(f"best epoch {metrics['best/epoch']:.0f}: val/loss {metrics['best/val/loss']:.2f}"),
        "numbers    a run/metrics.json",
        "curves     a run/metrics.csv",
        "pictures   a run/figures",
        "weights    a run/checkpoints/last.ckpt",
        "monitor    tensorboard --logdir 'a run'",
        "",
    ]
    # What is left of a bar is a blank line at most, and nothing else is said: no warning, no line twice.
    found = [line for line, following in pairwise([*lines, ""]) if line or following]
    assert len(found) <= len(expected), "\n".join(lines)
    for line, pattern in zip(found, expected, strict=False):
        assert re.fullmatch(pattern, line), (line, pattern)
    for line in lines:
        title, _, place = line.partition(" ")
        if title in ("numbers", "curves", "pictures", "weights"):
            assert (folder / place.strip()).exists()
    assert shlex.split(lines[lines.index("monitor    tensorboard --logdir 'a run'")])[-1] == "a run"


def test_there_is_one_bar_at_a_time_with_the_loss_and_the_time_left(shown: str) -> None:
    assert "\x1b" not in shown  # nor does it need to move about
    states = bars(shown)
    assert all(len(state) <= 80 for state in states)
    epochs = [state for state in states if re.match(r"epoch \d/3 ", state)]
    assert {state.split("|")[0].strip() for state in states} >= {"epoch 1/3   0%", "probe: images   0%", "probe   0%"}
    trained = [state for state in epochs if "loss" in state]
    assert len(trained) > 3
    for state in trained:
        assert re.fullmatch(r"epoch \d/3 +\d+%\|.*\| \d\d:\d\d, \d\d:\d\d left, loss \d+\.\d\d", state), state
    shares = [int(re.search(r"(\d+)%", state).group(1)) for state in epochs]  # type: ignore[union-attr]
    assert shares == sorted(shares)
    assert {state.partition(" ")[0].rstrip(":") for state in states} == {"epoch", "probe"}


def test_an_evaluation_shows_bars_and_leaves_tables(shown: str, folder: Path) -> None:
    sent = on_a_terminal(folder, 120, "evaluate", "run='a run'", "trainer=cpu", "samples=300", "images=300")
    assert "\x1b" not in sent
    kinds = {re.split(r" +\d+%", state)[0] for state in bars(sent)}
    assert {"mutual information", "log p(x)"} <= kinds
    left = lines_left(sent)
    assert not any(" left" in line for line in left)
    said = [line for line in left if line]
    assert len(said) == len(set(said))
    # From the first table on: nothing is told but how long it takes, if it takes long.
    assert all(line.startswith("log p(x): 300 images") for line in said[: said.index(next(filter(_is_table, said)))])
    assert said[-1] == "written to a run/evaluation.json; pictures in a run/figures"


def _is_table(line: str) -> bool:
    return line.startswith("last.ckpt")


# In a pipe and in files.


def test_a_sweep_in_a_pipe_is_plain_text_with_the_best_configuration_at_its_end(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    options = [*SMALL, "hydra/launcher=stacked", "sweep.name='my sweep'", "trainer.max_epochs=1"]
    options.append("trainer.matmul_precision=highest")
    done = command("train", "-m", *options, "model.latent_dim=2,5", "optimizer.lr=1e-3,1e30")
    assert done.returncode == 1
    sweep = tmp_path / "outputs/sweeps/my sweep"
    texts = {"stdout": done.stdout, "stderr": done.stderr} | {
        str(path): path.read_bytes().decode()
        for path in sweep.rglob("*")
        if path.suffix in (".log", ".csv", ".json", ".md", ".yaml")
    }
    assert sum(name.endswith(".log") for name in texts) == 2  # of the two that fail
    for name, text in texts.items():
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", text), name
    lines = done.stdout.splitlines()
    said = [line for line in lines if line.startswith("[")]
    jobs = [line for line in said if "val/loss" in line]
    assert [re.findall(r"latent_dim=\d+,lr=\S+", line) for line in jobs] == [
        ["latent_dim=2,lr=0.001"],
        ["latent_dim=5,lr=0.001"],
    ]
    assert lines[1] == "jobs 1 to 4 of 4"
    assert re.fullmatch(r"epoch 1/1   train/loss \S+ to \S+   val/loss \S+ to \S+   \S+ s", lines[2])
    summary = (sweep / "summary.md").read_text()
    best = min(jobs, key=lambda line: float(re.search(r"val/loss (\S+)", line).group(1)))  # type: ignore[union-attr]
    values = re.search(r"latent_dim=\d+,lr=\S+", best).group().replace(",", ", ")  # type: ignore[union-attr]
    loss = re.search(r"val/loss \S+", best).group()  # type: ignore[union-attr]
    assert "test/" not in done.stdout.partition("\nbest  ")[0]
    assert re.fullmatch(r"test       test/loss \d+\.\d\d   probe/test_acc 0\.\d{4}", lines[-5])
    assert lines[-4].startswith("second     latent_dim=")
    assert [lines[-6], *lines[-3:]] == [
        f"best       {values}   {loss}",
        "results    outputs/sweeps/my sweep/results.csv",
        "report     outputs/sweeps/my sweep/report.html",
        "monitor    tensorboard --logdir 'outputs/sweeps/my sweep'",
    ]
    assert loss.split()[1] in summary
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["failed", "failed"]


# By itself.


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    # Not the real one, which pytest sets too.
    for module in (bar_module, progress):
        monkeypatch.setattr(module, "sys", SimpleNamespace(stdout=stream))
    return stream


def test_a_bar_is_gone_when_its_block_ends_and_takes_the_place_of_the_one_around_it(terminal: Terminal) -> None:
    with progress_bar(2, "outer") as outer:
        outer.update()
        with progress_bar(1, "inner") as inner:
            inner.update()
    sent = terminal.getvalue()
    assert "\n" not in sent
    assert "\x1b" not in sent
    assert {"outer", "inner"} <= {state.split()[0] for state in bars(sent)}
    assert lines_left(sent) == [""]


@pytest.mark.parametrize("how", ["dumb", "pipe", "not shown"])
def test_nothing_is_shown_elsewhere(how: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    if how == "pipe":
        monkeypatch.setattr(Terminal, "isatty", lambda self: False)
    with progress_bar(2, "outer", shown=how != "not shown") as bar:
        bar.update()
    assert terminal.getvalue() == ""


def trainers(max_epochs: int | None, batches: int, epochs: int, first: int = 0) -> Iterator[Any]:
    """A Trainer's state at each batch."""
    for epoch in range(first, epochs):
        for batch in range(batches):
            yield SimpleNamespace(
                max_epochs=max_epochs,
                num_training_batches=batches,
                current_epoch=epoch,
                is_global_zero=True,
                callback_metrics={},
                progress_bar_metrics={"loss": 1.5},
                is_last_batch=batch + 1 == batches,
                batch=batch,
            )


@pytest.mark.parametrize("refresh_rate", [1, 3, 10])
@pytest.mark.parametrize("first", [0, 2])
def test_the_bar_counts_every_batch_also_of_a_resumed_run(refresh_rate: int, first: int, terminal: Terminal) -> None:
    shown, module = Progress(refresh_rate), SimpleNamespace()
    for place, trainer in enumerate(trainers(4, 7, 4, first)):
        if place == 0:
            shown.on_train_start(trainer, module)  # type: ignore[arg-type]
            assert shown._shown.n == 7 * first
        if trainer.batch == 0:
            shown.on_train_epoch_start(trainer, module)  # type: ignore[arg-type]
        shown.on_train_batch_end(trainer, module, None, None, trainer.batch)  # type: ignore[arg-type]
        if trainer.is_last_batch:
            assert shown._shown.n == 7 * (trainer.current_epoch + 1)
    assert shown._shown.total == 28
    shown.on_train_end(trainer, module)  # type: ignore[arg-type]
    assert not tqdm._instances  # type: ignore[attr-defined]


@pytest.mark.parametrize("max_epochs", [None, -1])
def test_without_a_last_epoch_there_is_no_time_left(max_epochs: int | None, terminal: Terminal) -> None:
    shown = Progress()
    for trainer in trainers(max_epochs, 1, 2):
        if trainer.current_epoch == 0:
            shown.on_train_start(trainer, None)  # type: ignore[arg-type]
        shown.on_train_epoch_start(trainer, None)  # type: ignore[arg-type]
        shown.on_train_batch_end(trainer, None, None, None, 0)  # type: ignore[arg-type]
        shown.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    shown.on_train_end(trainer, None)  # type: ignore[arg-type]
    left = [line for line in lines_left(terminal.getvalue()) if line]
    assert [re.sub(r"[\d.]+ s", "T s", line) for line in left] == ["epoch 1   T s", "epoch 2   T s"]
    assert "? left" in terminal.getvalue()

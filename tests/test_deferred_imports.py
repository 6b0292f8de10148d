"""Nothing of a package is hidden by its deferral: what users do with it works as if it had been imported."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vae_lightning.deferred_imports import defer_imports

# Runs the code of each line in a process of its own, forked after Lightning has been imported with the deferral.
SERVER = """
import io, json, os, sys, traceback
from contextlib import redirect_stderr
from vae_lightning.deferred_imports import defer_imports
defer_imports()
defer_imports()  # as when a console script calls the command's own main
import lightning.pytorch, torch, vae_lightning.models.vae
for line in sys.stdin:
    ours, theirs = os.pipe()
    if not os.fork():
        try:
            exec(json.loads(line), {"__name__": "users_own"})
        except BaseException:
            os.write(theirs, traceback.format_exc().encode()[-4000:])
        os._exit(0)
    os.close(theirs)
    with open(ours) as said:
        print(json.dumps(said.read()), flush=True)
    os.wait()
"""
# What the packages would import.
HEAVY = "{'torchvision', 'scipy', 'sympy', 'triton', 'torch._inductor', 'torchmetrics.image'}"
# A step of an optimiser, which calls the compiler's functions.
STEP = """
weight = torch.nn.Parameter(torch.ones(2))
optimizer = torch.optim.Adam([weight], fused=True)
weight.sum().backward()
optimizer.step()
optimizer.zero_grad()
"""


@pytest.fixture(scope="module")
def after_import() -> Iterator[Callable[[str], str]]:
    """Runs code where Lightning has been imported with the deferral; returns the traceback, or nothing."""
    arguments = [sys.executable, "-c", SERVER]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:

        def run(code: str) -> str:
            assert server.stdin is not None
            assert server.stdout is not None
            print(json.dumps(f"import sys, torch\n{code}"), file=server.stdin, flush=True)
            failure: str = json.loads(server.stdout.readline())
            return failure

        yield run


def test_an_optimiser_steps_without_the_packages(after_import: Callable[[str], str]) -> None:
    assert after_import(f"{STEP}\nassert not {HEAVY} & {{*sys.modules}}, {HEAVY} & {{*sys.modules}}") == ""


@pytest.mark.parametrize(
    "code",
    [
        # Each first line executes a package in another way.
        "import torchmetrics; torchmetrics.image.StructuralSimilarityIndexMeasure()\n"
        "torchmetrics.functional.image.peak_signal_noise_ratio; torchmetrics.functional.text.word_error_rate",
        "import torchmetrics; assert 'Accuracy' in dir(torchmetrics)\n"
        "assert torchmetrics.__version__ and not hasattr(torchmetrics, 'no_such_name')\n"
        "import logging; assert logging.getLogger('torchmetrics').handlers",
        "from torchmetrics import Accuracy, Metric; assert isinstance(Accuracy('binary'), Metric)",
        "from torchmetrics import *; MeanMetric()",
        "import torchmetrics.image.psnr; torchmetrics.image.psnr.PeakSignalNoiseRatio(1.0)",
        "import torchmetrics; torchmetrics.Accuracy = 3; torchmetrics.MeanMetric(); assert torchmetrics.Accuracy == 3",
        "import torchvision; torchvision.ops.nms\nimport scipy.signal; scipy.signal.windows.hamming(3)",
        "import torch._dynamo; torch._dynamo.config.recompile_limit",
        "from torch._inductor.cpp_builder import get_cpp_compiler; get_cpp_compiler()",
        "import torch._dynamo.config as config; from torch._dynamo import convert_frame, reset\n"
        "assert convert_frame.config is config is sys.modules['torch._dynamo.config']\n"
        "assert type(config.__spec__.loader).__name__ == 'SourceFileLoader'",
        "assert torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)) == 2",
        "from torch.utils.flop_counter import FlopCounterMode as Counter\n"
        "with Counter(display=False) as counter: torch.ones(2, 2) @ torch.ones(2, 2)\n"
        "assert counter.get_total_flops() == 16",
        "from lightning.pytorch.utilities.model_summary import ModelSummary, model_summary\n"
        "from lightning.pytorch.demos.boring_classes import BoringModel\n"
        "assert ModelSummary(BoringModel()).total_parameters == 66\n"
        "from torch.utils.flop_counter import FlopCounterMode; assert model_summary.FlopCounterMode is FlopCounterMode",
    ],
)
def test_whatever_is_asked_for_is_there(code: str, after_import: Callable[[str], str]) -> None:
    assert after_import(code) == ""


def test_metrics_are_lightnings(after_import: Callable[[str], str]) -> None:
    code = """
import pickle, torchmetrics
from lightning.pytorch.core import module
from lightning.pytorch.utilities import types
assert torchmetrics.Metric is module.Metric is types.Metric
assert torchmetrics.MetricCollection is module.MetricCollection
psnr = pickle.loads(pickle.dumps(torchmetrics.image.PeakSignalNoiseRatio(data_range=1.0)))
assert isinstance(psnr, module.Metric) and isinstance(psnr, torchmetrics.image.PeakSignalNoiseRatio)
"""
    assert after_import(code) == ""


def test_a_model_logs_a_metric(after_import: Callable[[str], str]) -> None:
    code = """
import torchmetrics, lightning.pytorch as pl
from torch.utils.data import DataLoader
from vae_lightning import VAE
class Own(VAE):
    def __init__(self):
        super().__init__(image_shape=[1, 4, 4], widths=[8], latent_dim=2)
        self.brightness = torchmetrics.MeanMetric()
    def validation_step(self, batch, index):
        super().validation_step(batch, index)
        self.brightness(batch[0])
        self.log("brightness", self.brightness)
data = DataLoader([(torch.full((1, 4, 4), 0.25), 0), (torch.full((1, 4, 4), 0.75), 0)])
trainer = pl.Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
trainer.validate(Own(), data, verbose=False)
assert trainer.callback_metrics["brightness"] == 0.5
"""
    assert after_import(code) == ""


def test_lightning_recognises_what_is_compiled_later(after_import: Callable[[str], str]) -> None:
    code = """
from lightning.fabric import wrappers
from lightning.pytorch.utilities import compile
compiled = torch.compile(torch.nn.Linear(2, 2), backend="eager")
from torch._dynamo import OptimizedModule
assert wrappers.OptimizedModule is compile.OptimizedModule is OptimizedModule
assert isinstance(compiled, OptimizedModule)
assert wrappers._unwrap_compiled(compiled)[0] is compiled._orig_mod
"""
    assert after_import(code) == ""


@pytest.mark.parametrize("function", ["users", "_ResultCollection.log", "_ResultCollection.update_metrics"])
def test_the_compiler_skips_what_is_decorated(function: str, after_import: Callable[[str], str]) -> None:
    code = f"""
from lightning.pytorch.trainer.connectors.logger_connector.result import _ResultCollection
@torch.compiler.disable
def users():
    pass
torch.compile(lambda x: x, backend="eager")(torch.ones(1))
assert {function}._torchdynamo_disable
"""
    assert after_import(code) == ""


def test_the_compiler_skips_what_has_been_called_before(after_import: Callable[[str], str]) -> None:
    code = f"""
function = torch.optim.Optimizer.add_param_group
while hasattr(function, "__wrapped__"):
    function = function.__wrapped__
{STEP}
assert vars(function)["__dynamo_disable"] is function
torch.compile(lambda x: x, backend="eager")(torch.ones(1))
{STEP}
assert vars(function)["__dynamo_disable"]._torchdynamo_disable
"""
    assert after_import(code) == ""


def test_packages_that_are_imported_already_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._dynamo
    import torchmetrics

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    before = [*sys.meta_path]
    defer_imports()
    assert sys.meta_path == before
    assert {type(torchmetrics), type(torch._dynamo)} == {type(sys)}


def test_a_run_ends_without_the_packages(tmp_path: Path) -> None:
    small = ["data=mnist_5k", "trainer=cpu", "trainer.max_epochs=1", "data.val_size=3000", "callbacks.probe.max_iter=5"]
    code = f"import sys; from vae_lightning.commands.scripts import train; train(); print({HEAVY} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code, *small], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout.splitlines()[-1]) == (0, "", "set()")

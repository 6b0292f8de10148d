"""The documents: links, the configuration's reference, and every command and example, composed here and run."""

import argparse
import doctest
import importlib
import importlib.util
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from conftest import composing
from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf, open_dict

from vae_lightning.commands.arguments import hydra_arguments
from vae_lightning.commands.command import CONF
from vae_lightning.commands.rules import ENCODE, EVALUATE, EXPLORE, EXPORT
from vae_lightning.config.explanations import explained
from vae_lightning.config.resolving import resolved
from vae_lightning.config.rules import check
from vae_lightning.runs.checking import check_config

SOURCE = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(SOURCE)): path
    for path in sorted(
        [
            *SOURCE.glob("*.md"),
            *SOURCE.glob("docs/**/*.md"),
            SOURCE / "benchmarks/README.md",
            SOURCE / "outputs/README.md",
        ]
    )
}
# Programs that are run, and those that are not.
RUN = ("vae-train", "vae-eval", "vae-encode", "vae-explore", "vae-export", "vae-report", "python", "torchrun")
NEITHER_RUN = ("conda", "eval", "make", "pip", "python3", "source", "tensorboard", "uv")
MODULES = {"vae-train": "train", "vae-report": "report"}
MODULES |= {"vae-eval": "evaluate", "vae-encode": "encode", "vae-explore": "explore", "vae-export": "export"}
OTHER_RULES = {"vae-eval": EVALUATE, "vae-encode": ENCODE, "vae-explore": EXPLORE, "vae-export": EXPORT}

# What stands for something of the user's own.
PLACEHOLDERS = {"DIR": "outputs/runs/first", "HOST": "localhost", "NAME": "long"}

# Not run for real, but composed all the same, and why; each is a word of the command or its beginning.
NOT_RUN = {
    "trainer=ddp": "it needs GPUs",
    "trainer.num_nodes=2": "it needs two machines",
    "hydra/launcher=submitit_slurm": "it needs a SLURM cluster; test_engines.py plays one",
    "hydra.launcher.ray.remote.num_gpus=1": "it needs a GPU",
    "hydra.launcher.ray.init.address=": "it needs a Ray cluster; test_engines.py starts one",
    "logger=wandb": "it needs an account, but for logger.wandb.offline=true",
    "data.path=FOLDER": "the images are the user's own; the tutorial has some",
    "docs/": "it takes minutes, or the runs of a long sweep",
    "sweep.name=von_mises_fisher": "its module lies in docs/von_mises_fisher",
    "benchmarks/": "it takes minutes of a quiet machine, and the full MNIST files; its options are parsed",
}

# What shrinks an experiment beside debug=fast.
SHRUNKEN = {
    "experiment=latent_lr": ["model.latent_dim=2,20", "optimizer.lr=1e-3"],
    "experiment=concrete": ["posterior=concrete_bernoulli", "seed=1"],
    "experiment=families": ["posterior=gaussian,laplace", "seed=1", "data.binarisation=none"],
    "experiment=disarm": ["estimator=disarm,leave_one_out", "seed=1,2"],
    "experiment=relax": ["estimator=rebar,relax", "seed=1"],
    "experiment=priors": ["prior=standard,mixture", "seed=1"],
    "experiment=search": ["hydra.sweeper.n_trials=2"],
    "experiment=my_search": ["hydra.sweeper.n_trials=2"],
    "experiment=objectives": ["hydra.sweeper.n_trials=2"],
    "experiment=estimators": [
        "estimator=none,score_function",
        "callbacks.gradients.estimates=2",
        "callbacks.gradients.references=2",
    ],
    "experiment=trade_off": ["model.widths=[8],[8,8]", "model.latent_dim=8", "objective.beta=1"],
}
OFFLINE = "logger.wandb.offline=true"
ENGINES = ("hydra/launcher=ray", "hydra/launcher=submitit_local")


class Step(NamedTuple):
    """What a reader does next on a page."""

    kind: str  # command, python, pycon, or file
    text: str
    path: str = ""  # of a file


def steps(page: Path) -> Iterator[Step]:
    """Commands, examples, and files that are shown under their name, in the order of the page."""
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        named = re.match(r"(?:# @package _global_\n)?# (\S+\.(?:py|yaml))\n", text)
        if named:
            yield Step("file", text, named[1])
        elif language in ("python", "pycon"):
            yield Step(language, text)
        elif language == "":
            for line in text.replace("\\\n", " ").splitlines():
                command = line.partition(" #")[0].strip()
                if command.partition(" ")[0] in RUN:
                    yield Step("command", command)


def words_of(command: str) -> list[str]:
    for name, value in PLACEHOLDERS.items():
        command = re.sub(rf"\b{name}\b", value, command)
    if "DATE_TIME" in command:
        command = command.replace("DATE_TIME", max(Path("outputs/runs").glob("20*")).name)
    return shlex.split(command)


COMMANDS = [(name, step.text) for name, page in PAGES.items() for step in steps(page) if step.kind == "command"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, whose modules can be imported."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delenv("VAE_DATA_ROOT", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))  # where decoded images are kept
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def write(step: Step) -> None:
    Path(step.path).parent.mkdir(parents=True, exist_ok=True)
    Path(step.path).write_text(step.text)


def run_example(step: Step, names: dict[str, Any]) -> None:
    """Run an example; one with prompts must print what it says."""
    code = step.text.replace("max_epochs=20", "max_epochs=1")
    if step.kind == "python":
        exec(compile(code, "<example>", "exec"), names)
    else:
        test = doctest.DocTestParser().get_doctest(code, names, "example", None, 0)
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        said: list[str] = []
        runner.run(test, out=said.append, clear_globs=False)
        names.update(test.globs)
        assert not runner.failures, "".join(said)


# Quick: links, the reference, examples, and commands as far as composing them.


@pytest.mark.parametrize("name", PAGES)
def test_every_link_and_picture_is_there(name: str) -> None:
    page = PAGES[name]
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        linked = page.parent / path if path else page
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            titles = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target


@pytest.mark.parametrize("name", PAGES)
def test_every_fence_is_of_a_known_kind(name: str) -> None:
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```", PAGES[name].read_text(), re.DOTALL | re.MULTILINE):
        assert language in ("", "python", "pycon", "yaml", "text")
        if language == "":
            for line in text.replace("\\\n", " ").splitlines():
                assert line.split()[0] in (*RUN, *NEITHER_RUN), line


def test_every_page_of_docs_can_be_found_from_its_index() -> None:
    index = SOURCE / "docs/README.md"
    linked, indexes = {index}, [index]
    while indexes:
        page = indexes.pop()
        found = {(page.parent / target).resolve() for target in re.findall(r"\]\(([^)#]+)", page.read_text())} - linked
        linked |= found
        indexes += [target for target in found if target.name == "README.md" and SOURCE / "docs" in target.parents]
    assert {page for name, page in PAGES.items() if name.startswith("docs/")} <= linked


def reference() -> Any:
    spec = importlib.util.spec_from_file_location("configuration", SOURCE / "docs/configuration.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_conf_gives_and_explains_every_key() -> None:
    configuration = reference()
    assert (SOURCE / "docs/configuration.md").read_text() == configuration.page(), "make docs writes it anew"
    for members in explained(configuration.files()).values():
        for file in members:
            assert [key.name for key in file.keys if not key.comment] == [], file.path


def test_the_reference_knows_every_key_and_default() -> None:
    for members in reference().files().values():
        for file in members:
            content = OmegaConf.load(file.path)
            text = file.path.read_text()
            if isinstance(content, type(OmegaConf.create({}))) and "defaults" in content:
                del content["defaults"]
            within = "" if "@package _global_" in text else ".".join(file.path.relative_to(CONF).parent.parts)
            expected = {
                f"{within}.{name}".lstrip("."): value for name, value in leaves(OmegaConf.to_container(content))
            }
            found = {key.name: key.default for key in file.keys if key.default is not None}
            assert found.keys() == expected.keys(), file.path
            for name, default in found.items():
                if default != "(several lines)":
                    assert OmegaConf.to_container(OmegaConf.create(f"value: {default}")) == {"value": expected[name]}


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for key, child in node.items():
        name = f"{path}.{key}".lstrip(".")
        if isinstance(child, dict) and child:
            yield from leaves(child, name)
        else:
            yield name, child


def test_what_is_not_run_is_there() -> None:
    given = [word for _, command in COMMANDS for word in command.split()]
    assert [known for known in NOT_RUN if not any(map(matching(known), given))] == []


def matching(known: str) -> Callable[[str], bool]:
    return lambda word: word.startswith(known) if known.endswith(("=", "/")) else word == known


@pytest.mark.parametrize("name", sorted({name for name, _ in COMMANDS} | {"conf"}))
def test_every_command_composes(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("outputs/runs/2026-01-31_12-00-00").mkdir(parents=True)
    if name == "conf":  # in its comments
        comments = "\n".join(path.read_text() for path in CONF.rglob("*.yaml"))
        commands = re.findall(
            r"^# +((?:vae-train|vae-eval|vae-encode|vae-explore|vae-export) .*)$", comments, re.MULTILINE
        )
        assert len(commands) > 5
    else:
        commands = [step.text for step in steps(PAGES[name]) if step.kind == "command"]
        for step in steps(PAGES[name]):
            if step.kind == "file":
                write(step)
    for command in commands:
        program, *arguments = words_of(command)
        if program == "torchrun":
            program, arguments = "vae-train", arguments[arguments.index("vae_lightning.commands.train") + 1 :]
        if program == "python":
            check_options(arguments, monkeypatch)
        elif program == "vae-report":
            assert arguments
        else:
            check_composes(program, arguments)


def check_composes(program: str, arguments: list[str]) -> None:
    several = "-m" in arguments
    given = hydra_arguments(arguments, bare=None if program == "vae-train" else "run")
    overrides = [argument for argument in given if argument not in ("-m", "--help")]
    if "--config-dir" in overrides:
        place = overrides.index("--config-dir")
        overrides[place : place + 2] = [f"hydra.searchpath=[file://{Path(overrides[place + 1]).resolve()}]"]
    parsed = OverridesParser.create().parse_overrides(overrides)
    assert several or not any(override.is_sweep_override() for override in parsed), "-m is missing"
    for place in (0, -1) if several else (0,):  # a sweep's first job, and its last
        chosen = [
            f"{override.get_key_element()}={[*override.sweep_string_iterator()][place]}"
            if override.is_sweep_override()
            else str(override.input_line)
            for override in parsed
        ]
        with composing():
            run_dir = ["run_dir=run"] if program == "vae-train" else []
            cfg = compose(MODULES[program], [*chosen, *run_dir], return_hydra_config=True)
        with open_dict(cfg):
            del cfg["hydra"]
        config = resolved(cfg)
        if program == "vae-train":
            check_config(config)
        else:
            check(config, OTHER_RULES[program])


class OptionsParsed(Exception):  # noqa: N818  # no error
    pass


def check_options(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a script parse its options, and end it there."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *given: Any) -> None:
        parse(self, *given)
        raise OptionsParsed

    script = SOURCE / arguments[0]
    with monkeypatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", stop)
        patched.setattr(sys, "argv", [str(script), *arguments[1:]])
        patched.syspath_prepend(script.parent)
        with pytest.raises(OptionsParsed):
            runpy.run_path(str(script), run_name="__main__")


# Those that read what the page's commands have written are run with them, below.
EXAMPLES = {
    name: [step for step in steps(page) if step.kind != "command" and '"outputs/' not in step.text]
    for name, page in PAGES.items()
    if any(step.kind in ("python", "pycon") for step in steps(page))
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_python_examples_run(name: str, folder: Path) -> None:
    names: dict[str, Any] = {}
    for step in EXAMPLES[name]:
        if step.kind == "file":
            write(step)
        else:
            run_example(step, names)


def run_notebook(*changes: tuple[str, str]) -> None:
    text = (SOURCE / "docs/example.py").read_text()
    for written, run in (("max_epochs=5", "max_epochs=1"), *changes):
        assert written in text
        text = text.replace(written, run)
    exec(compile(text, "example.py", "exec"), {"__name__": "__main__"})
    assert Path("example.png").stat().st_size > 10_000


@pytest.mark.mnist
def test_the_notebook_runs(folder: Path, mnist_root: Path) -> None:
    run_notebook(('"data"', repr(str(mnist_root))))


def test_the_notebook_runs_without_a_network(folder: Path) -> None:
    run_notebook(('MNISTDataModule("data", ', "MNISTDataModule("), ("MNISTDataModule", "MNIST5kDataModule"))


# As they are run; slow: a page from its beginning to its end.


def shrunken(program: str, arguments: list[str]) -> list[str]:
    """The same command in seconds, on the packaged digits."""
    if program == "vae-eval":
        return [*arguments, "samples=10", "images=20", "trainer=cpu"]
    if program == "vae-encode":
        return [word.replace("data=mnist", "data=mnist_5k") for word in arguments if not word.startswith("data.root=")]
    if program != "vae-train" or "--help" in arguments or any(word.startswith("resume=") for word in arguments):
        return arguments
    downloaded = (
        "data=mnist",
        "data=fashion_mnist",
        "data=kmnist",
        "data=emnist",
        "data.root=",
        "data.mirror=",
        "data.split=",
    )
    kept = [word for word in arguments if not word.startswith((*downloaded, "hydra.sweeper.n_trials="))]
    given = {word.partition("=")[0] for word in kept}
    more = ["debug=fast"] if "debug" not in given else []
    more += ["trainer.max_epochs=1", "callbacks.probe.max_iter=20"]
    more += ["trainer=cpu"] if "trainer" not in given else []
    more += ["data=mnist_5k", "data.val_size=3000"] if "data" not in given else []
    more += ["callbacks.figures=null"] if "-m" in kept else []
    for experiment, overrides in SHRUNKEN.items():
        if experiment in kept:
            more += [override for override in overrides if override.partition("=")[0] not in given]
    return [*kept, *more]


def run_command(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *arguments = words_of(command)
    if program == "vae-explore":  # it serves a page until Ctrl-C; tests/explorer does that
        return
    if any(matching(known)(word) for known in NOT_RUN for word in arguments) and OFFLINE not in arguments:
        return
    if program == "torchrun":
        place = arguments.index("vae_lightning.commands.train") + 1
        small = shrunken("vae-train", arguments[place:])
        done = subprocess.run([sys.executable, "-m", "torch.distributed.run", *arguments[:place], *small], timeout=120)
        assert done.returncode == 0, command
    elif any(engine in arguments for engine in ENGINES):
        small = shrunken(program, arguments)
        done = subprocess.run([sys.executable, "-m", "vae_lightning.commands.train", *small], timeout=300)
        assert done.returncode == 0, command
    else:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", [program, *shrunken(program, arguments)])
            patched.setenv("HYDRA_FULL_ERROR", "1")
            importlib.import_module(f"vae_lightning.commands.{MODULES[program]}").main()


def test_a_network_of_ones_own_is_what_is_trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One command of a page in the short run of the tests too."""
    for step in steps(PAGES["docs/how_to/own_network.md"]):
        if step.kind == "file":
            write(step)
    run_command("vae-train --config-dir my_conf model=mine hydra.run.dir=run", monkeypatch)
    content = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert content["hyper_parameters"]["encoder"]["_target_"] == "my_module.Encoder"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({name for name, _ in COMMANDS if name != "benchmarks/README.md"}))
def test_every_command_runs_in_the_order_of_its_page(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {}
    for step in steps(PAGES[name]):
        if step.kind == "file":
            write(step)
        elif step.kind == "command":
            run_command(step.text, monkeypatch)
        else:
            run_example(step, names)

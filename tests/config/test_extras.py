"""A feature whose extra is missing, through the real commands: one line with the command that installs it."""

import os
import re
import tomllib
from pathlib import Path

import pytest
from conftest import SMALL, Command

from vae_lightning.config.errors import InputError
from vae_lightning.config.extras import check_installed

SOURCE = Path(__file__).parents[2]
PROJECT = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
SEARCH = ["-m", *SMALL, "experiment=search"]

# What to hide, what to run, the feature that is named, and the extra.
CASES = [
    ("hydra_plugins.hydra_joblib_launcher", ["-m", *SMALL, "seed=1,2", "hydra/launcher=joblib"], "", "joblib"),
    ("ray", ["-m", *SMALL, "seed=1,2", "hydra/launcher=ray"], "", "ray"),
    ("submitit", ["-m", *SMALL, "seed=1,2", "hydra/launcher=submitit_local"], "", "submitit"),
    ("submitit", ["-m", *SMALL, "seed=1,2", "hydra/launcher=submitit_slurm"], "", "submitit"),
    ("optuna", SEARCH, "hydra/sweeper=search", "optuna"),
    ("optuna", ["-m", *SMALL, "seed=1,2", "hydra/sweeper=optuna"], "", "optuna"),
    (
        "optuna",
        ["-m", *SMALL, "seed=1,2", "hydra/sweeper=grid", "hydra/sweeper/pruner=median"],
        "hydra.sweeper.pruner._target_=optuna.pruners.MedianPruner",
        "optuna",
    ),
    (
        "cmaes",
        [*SEARCH, "hydra/sweeper/sampler=cmaes"],
        "hydra.sweeper.sampler._target_=optuna.samplers.CmaEsSampler",
        "optuna",
    ),
    ("psycopg", [*SEARCH, "hydra.sweeper.storage=postgresql+psycopg://HOST/NAME"], "", "postgresql"),
    ("psycopg", [*SEARCH, "hydra.sweeper.storage=postgresql://HOST/NAME"], "", "postgresql"),
    ("wandb", [*SMALL, "logger=wandb"], "", "wandb"),
    ("mlflow", ["-m", *SMALL, "seed=1,2", "logger=mlflow"], "", "mlflow"),
]


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize(
    ("hidden", "arguments", "feature", "extra"), CASES, ids=[f"{case[0]}-{case[1][-1]}" for case in CASES]
)
def test_a_missing_extra_is_refused_with_the_command_that_installs_it(
    hidden: str,
    arguments: list[str],
    feature: str,
    extra: str,
    command: Command,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # None in sys.modules is how Python says that there is no such module; Hydra 1.4 warns of it.
    site = tmp_path_factory.mktemp("site")
    lines = ["import sys, warnings", "warnings.simplefilter('ignore')", f"sys.modules[{hidden!r}] = None"]
    (site / "sitecustomize.py").write_text("\n".join(lines))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ["PYTHONPATH"]]))
    done = command("train", *arguments)
    assert done.returncode == 2
    line = f"error: {feature or arguments[-1]}: needs an extra: pip install 'vae-lightning[{extra}]'\n"
    assert (done.stdout, done.stderr) == ("", line)
    assert list(tmp_path.iterdir()) == []


def test_installed_packages_are_accepted() -> None:
    check_installed("numbers", "torch", "json", "email.message")
    with pytest.raises(InputError, match=r"^numbers: needs an extra: pip install 'vae-lightning\[x\]'$"):
        check_installed("numbers", "x", "json", "no_such_package")


def test_every_document_and_message_names_extras_that_exist_in_one_way() -> None:
    pages = [*SOURCE.glob("*.md"), *SOURCE.glob("docs/**/*.md")]
    sources = [path for folder in ("conf", "vae_lightning") for path in (SOURCE / folder).rglob("*.*")]
    texts = {path: path.read_text() for path in [*pages, *sources] if path.suffix in (".md", ".yaml", ".py")}
    named = {extra for text in texts.values() for extra in re.findall(r"vae-lightning\[([a-z]+)\]", text)}
    assert named <= PROJECT["optional-dependencies"].keys()
    installing = SOURCE / "docs/how_to/installing.md"
    assert [path for path, text in texts.items() if re.search(r"'\.\[", text) and path != installing] == []
    for extra in PROJECT["optional-dependencies"]:
        assert f"`{extra}`" in texts[installing]

"""The floors of the package: imports go downwards alone, also inside functions, and no file is part of a circle."""

import ast
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

import vae_lightning
from vae_lightning.commands.command import CONF
from vae_lightning.config.targets import find_class

PACKAGE = Path(vae_lightning.__file__).parent

# From the top down. Folders of one floor may import each other, as long as no file is part of a circle.
FLOORS = [
    ["vae_lightning", "train", "_plugins"],  # the public names, the earlier name of a command, what Hydra looks for
    ["commands"],
    ["explorer"],
    ["sweeps", "reports"],
    ["runs"],
    ["callbacks"],
    ["evaluation", "trackers"],
    ["data"],
    ["models"],
    ["estimators", "networks"],
    ["objectives"],
    ["priors"],
    ["posteriors"],
    ["likelihoods", "schedules"],
    [
        *("config", "cpu", "deferred_imports", "distributed", "matmul_precision", "memory", "palette", "precision"),
        *("progress_bar", "signals", "streams", "terminal", "user_cache", "whole_files", "wrapping"),
    ],
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}

# conf/<group> -> the module of the base class and its name; other groups hold no class of ours.
GROUPS = {
    "callbacks": "lightning.pytorch.Callback",
    "data": "vae_lightning.data.ImageDataModule",
    "estimator": "vae_lightning.estimators.Estimator",
    "likelihood": "vae_lightning.likelihoods.Likelihood",
    "model": "torch.nn.Module",
    "objective": "vae_lightning.objectives.Objective",
    "posterior": "vae_lightning.posteriors.Posterior",
    "prior": "vae_lightning.priors.Prior",
    "schedule": "vae_lightning.schedules.Schedule",
}


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Each module's full name and file."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: Mapping[str, Path]) -> Iterator[tuple[str, int]]:
    """The package's modules that a file imports anywhere, and the lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                module = f"{node.module}.{alias.name}"  # a name may be a module itself
                target = module if module in known else node.module
                if target in known:
                    yield target, node.lineno


def place(module: str) -> str:
    """The folder of a module, or the module itself on the ground floor."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def upward(package: Path = PACKAGE) -> list[str]:
    """The imports that go up, as ``file:line imports module``."""
    known = modules(package)
    return [
        f"{path.relative_to(package.parent)}:{line} imports {target}"
        for module, path in known.items()
        for target, line in imported(path, known)
        if FLOOR[place(target)] < FLOOR[place(module)]
    ]


def circles(package: Path = PACKAGE) -> list[str]:
    """The modules that import themselves through others."""
    known = modules(package)
    direct = {module: {target for target, _ in imported(path, known)} - {module} for module, path in known.items()}
    found = []
    for module in known:
        reached: set[str] = set()
        waiting = [*direct[module]]
        while waiting:
            target = waiting.pop()
            if target not in reached:
                reached.add(target)
                waiting += direct[target]
        if module in reached:
            found.append(module)
    return found


def test_imports_go_downwards_alone() -> None:
    assert {place(module) for module in modules()} == set(FLOOR)
    assert upward() == []


def test_no_module_is_part_of_a_circle() -> None:
    assert circles() == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("objectives/elbo.py", "from vae_lightning.models.vae import VAE"),
        ("streams.py", "import vae_lightning.runs.directory"),
        ("runs/directory.py", "def late() -> None:\n    from vae_lightning.sweeps import study"),
    ],
)
def test_an_upward_import_is_found(file: str, line: str, tmp_path: Path) -> None:
    package = tmp_path / "vae_lightning"
    for path in modules().values():
        copy = package / path.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    (package / file).write_text((package / file).read_text() + "\n" + line + "\n")
    (found,) = upward(package)
    assert found.startswith(f"vae_lightning/{file}:")


def test_a_circle_is_found(tmp_path: Path) -> None:
    package = tmp_path / "vae_lightning"
    package.mkdir()
    for name, line in {
        "__init__": "",
        "cpu": "import vae_lightning.streams",
        "streams": "import vae_lightning.cpu",
    }.items():
        (package / f"{name}.py").write_text(line)
    assert circles(package) == ["vae_lightning.cpu", "vae_lightning.streams"]


def named(node: object) -> Iterator[str]:
    """The classes that a file of conf/ names at its top, or one key below."""
    assert isinstance(node, dict)
    for child in (node, *node.values()):
        if isinstance(child, dict) and "_target_" in child:
            yield str(child["_target_"])


@pytest.mark.parametrize("group", GROUPS)
def test_a_hydra_group_is_a_folder_is_a_base_class(group: str) -> None:
    base = pkgutil.resolve_name(GROUPS[group])
    parts = ["models", "networks", "posteriors", "priors"]
    folders = {"callbacks": ["callbacks"], "data": ["data"], "model": parts}.get(group, [f"{group}s"])
    places = tuple(f"vae_lightning.{folder}." for folder in folders)
    ours = {
        target
        for path in (CONF / group).glob("*.yaml")
        for target in named(yaml.safe_load(path.read_text()))
        if target.startswith("vae_lightning.") and not (group == "objective" and ".schedules." in target)
    }
    assert ours
    for target in ours:
        assert target.startswith(places)
        assert find_class(group, target, base).__module__.startswith(places)


def test_a_choice_is_found_in_the_file_of_its_name() -> None:
    elsewhere = {
        f"{group}/{path.stem}": target.rpartition(".")[0]
        for group in GROUPS
        for path in (CONF / group).glob("*.yaml")
        for target in named(yaml.safe_load(path.read_text()))
        if target.startswith("vae_lightning.") and ".schedules." not in target
        if pkgutil.resolve_name(target).__module__.rpartition(".")[2] != path.stem
    }
    # Names that are older than the files; images.py holds what all data modules read.
    assert set(elsewhere) == {"callbacks/probe", "data/images", "estimator/none", "model/mlp"}


def test_rules_and_public_names_import_nothing_heavy() -> None:
    rules = [name for name in modules() if name.endswith(".rules")]
    folders = [name for name, path in modules().items() if path.name == "__init__.py" and "_plugins" not in name]
    assert len(rules) > 10
    heavy = "sys.exit(', '.join({'torch', 'lightning'} & {*sys.modules}) or 0)"
    script = f"import sys, {', '.join([*rules, *folders])}; {heavy}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")

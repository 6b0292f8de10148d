"""docs/schema.json, with which editors check configurations."""

import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from omegaconf import OmegaConf

import vae_lightning
from vae_lightning.commands.command import CONF
from vae_lightning.commands.rules import ENCODE, EVALUATE, EXPORT
from vae_lightning.config.moved_names import MOVED
from vae_lightning.config.rules import Rule
from vae_lightning.config.targets import rules_of
from vae_lightning.models.rules import OPTIMIZER
from vae_lightning.runs.rules import SETTINGS, SWEEP, TRAINER
from vae_lightning.sweeps.rules import STACKED

SOURCE = Path(__file__).parents[1]
PATH = SOURCE / "docs/schema.json"
SCHEMA = json.loads(PATH.read_text())
OBJECTIVES = "vae_lightning.objectives"


def errors(content: Any, part: str | None = None) -> set[str]:
    """The paths that the schema, or one of its definitions, refuses, unknown keys included."""
    schema = {**SCHEMA["definitions"][part], "definitions": SCHEMA["definitions"]} if part else SCHEMA
    paths: set[str] = set()
    for error in Draft7Validator(schema).iter_errors(content):
        path = ".".join(map(str, error.absolute_path))
        if error.validator == "additionalProperties":
            patterns = error.schema.get("patternProperties", {})
            unknown = set(error.instance) - set(error.schema["properties"])
            unknown -= {name for name in unknown if any(re.search(pattern, name) for pattern in patterns)}
            paths |= {f"{path}.{name}".lstrip(".") for name in unknown}
        else:
            paths.add(path)
    return paths


def read(text: str) -> Any:
    return OmegaConf.to_container(OmegaConf.create(text))


def test_the_schema_is_what_conf_and_the_rules_give() -> None:
    sys.path.insert(0, str(PATH.parent))
    try:
        page = import_module("schema").page()
    finally:
        sys.path.remove(str(PATH.parent))
    assert PATH.read_text() == page, "python docs/schema.py updates it"
    assert len(page.encode()) < 300_000


def test_it_is_a_valid_schema_whose_references_resolve() -> None:
    Draft7Validator.check_schema(SCHEMA)

    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from ([node["$ref"]] if "$ref" in node else [])
            for child in node.values():
                yield from references(child)
        elif isinstance(node, list):
            for child in node:
                yield from references(child)

    for reference in set(references(SCHEMA)):
        node = SCHEMA
        for name in reference.removeprefix("#/").split("/"):
            node = node[int(name)] if isinstance(node, list) else node[name]


def part_of(path: Path) -> str | None:
    *group, _ = path.relative_to(CONF).parts
    if not group:
        return None if path.stem == "train" else path.stem
    return None if group[0] in ("experiment", "debug") else group[-1]


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONF)))
def test_every_file_of_conf_is_valid(path: Path) -> None:
    assert errors(OmegaConf.to_container(OmegaConf.load(path)), part_of(path)) == set()


def test_every_argument_of_a_class_is_explained() -> None:
    classes = {name: node for name, node in SCHEMA["definitions"].items() if name.startswith("vae_lightning.")}
    ours = {
        f"vae_lightning.{path.parent.name}.{name}"
        for path in Path(vae_lightning.__file__).parent.glob("*/rules.py")
        for name in getattr(import_module(f"vae_lightning.{path.parent.name}.rules"), "RULES", {})
        if name[0].isupper()
    }
    bases = {"data.ImageDataModule", "data.PublishedDataModule", "posteriors.Concrete"}
    assert ours - set(classes) == {f"vae_lightning.{base}" for base in bases}
    for name, node in classes.items():
        assert set(node["properties"]) == {"_target_", "defaults", *(rules_of(name) or {})}
        unexplained = [
            key for key, value in node["properties"].items() if value is not True and not value["description"]
        ]
        assert unexplained == []
    assert "〃" not in PATH.read_text()


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        # Wrong types.
        ("seed: one", "seed"),
        ("seed: -1", "seed"),
        ("restart: 1", "restart"),
        ("run_dir: ''", "run_dir"),
        ("resume: 3", "resume"),
        ("model: 3", "model"),
        ("model: mlp", "model"),
        ("hydra: {sweeper: {n_trials: 0}}", "hydra.sweeper.n_trials"),
        ("hydra: {sweeper: {seeds: 3}}", "hydra.sweeper.seeds"),
        ("hydra: {sweeper: {pruner: median}}", "hydra.sweeper.pruner"),
        ("model: {latent_dim: '20'}", "model.latent_dim"),
        ("model: {latent_dim: 2.5}", "model.latent_dim"),
        ("model: {latent_dim: null}", "model.latent_dim"),
        ("model: {widths: 128}", "model.widths"),
        ("model: {widths: [128, wide]}", "model.widths.1"),
        ("model: {encoder: [1]}", "model.encoder"),
        ("data: {device: 0}", "data.device"),
        ("callbacks: {probe: {standardize: 1}}", "callbacks.probe.standardize"),
        ("callbacks: {mine: 3}", "callbacks.mine"),
        ("trainer: {max_epochs: ten}", "trainer.max_epochs"),
        ("hydra: 3", "hydra"),
        # Out of range.
        ("objective: {beta: -1}", "objective.beta"),
        ("objective: {samples: 0}", "objective.samples"),
        ("objective: {schedule: {start: -0.5}}", "objective.schedule.start"),
        ("model: {latent_dim: 0}", "model.latent_dim"),
        ("model: {image_shape: []}", "model.image_shape"),
        ("model: {decoder_widths: [8, 0]}", "model.decoder_widths.1"),
        ("model: {image_shape: [28, 28]}", "model.image_shape"),
        ("model: {encoder: {channels: [0]}}", "model.encoder.channels.0"),
        ("model: {optimizer: {lr: 0}}", "model.optimizer.lr"),
        ("data: {val_size: -1}", "data.val_size"),
        ("optimizer: {lr: 0}", "optimizer.lr"),
        ("optimizer: {betas: [0.9, 1]}", "optimizer.betas.1"),
        ("schedule: {at: [0], factors: [0.1]}", "schedule.at.0"),
        ("trainer: {max_epochs: 0}", "trainer.max_epochs"),
        ("trainer: {devices: 0}", "trainer.devices"),
        ("callbacks: {probe: {C: 0}}", "callbacks.probe.C"),
        ("callbacks: {probe: {C: [1, 0]}}", "callbacks.probe.C.1"),
        ("callbacks: {figures: {embedded: 1}}", "callbacks.figures.embedded"),
        ("hydra: {launcher: {max_stack: 0}}", "hydra.launcher.max_stack"),
        # Wrong choices.
        ("model: {activation: swish}", "model.activation"),
        ("data: {binarisation: true}", "data.binarisation"),
        ("data: {split: all}", "data.split"),
        ("trainer: {strategy: fsdp}", "trainer.strategy"),
        ("trainer: {precision: 8}", "trainer.precision"),
        ("sweep: {objective: test/loss}", "sweep.objective"),
        ("sweep: {on_failure: retry}", "sweep.on_failure"),
        # Misspelled keys.
        ("sed: 1", "sed"),
        ("objectve: {beta: 1}", "objectve"),
        ("model: {latnt_dim: 2}", "model.latnt_dim"),
        ("model: {encoder: {chanels: [8]}}", "model.encoder.chanels"),
        ("data: {batchsize: 64}", "data.batchsize"),
        ("objective: {bta: 1}", "objective.bta"),
        ("objective: {schedule: {stps: 1}}", "objective.schedule.stps"),
        ("likelihood: {variance: 1}", "likelihood.variance"),
        ("trainer: {max_epoch: 1}", "trainer.max_epoch"),
        ("trainer: {callbacks: []}", "trainer.callbacks"),  # the run's own
        ("callbacks: {probe: {c: 1}}", "callbacks.probe.c"),
        ("sweep: {metric: val/loss}", "sweep.metric"),
        ("objective: {defaults: [beta]}", "objective"),  # jsonschema omits the key of a false schema
        # Arguments of a known class.
        (f"objective: {{_target_: {OBJECTIVES}.IWAE, beta: 1}}", "objective.beta"),
        (f"objective: {{_target_: {OBJECTIVES}.iwae.IWAE, beta: 1}}", "objective.beta"),
        (f"objective: {{_target_: {OBJECTIVES}.BetaELBO, beta: -1}}", "objective.beta"),
        (f"objective: {{_target_: {OBJECTIVES}.beta_elbo.BetaELBO, gamma: 1}}", "objective.gamma"),  # an earlier name
        ("schedule: {_target_: vae_lightning.schedules.Cosine, at: [1]}", "schedule.at"),
        ("model: {encoder: {_target_: vae_lightning.networks.ConvEncoder, blocks: 1}}", "model.encoder.blocks"),
        ("callbacks: {mine: {_target_: vae_lightning.callbacks.Figures, images: 1}}", "callbacks.mine.images"),
        ("trainer: {_target_: lightning.pytorch.Trainer, epochs: 1}", "trainer.epochs"),
        # Unknown classes of ours.
        (f"objective: {{_target_: {OBJECTIVES}.IWEA}}", "objective._target_"),
        ("objective: {_target_: vae_lightning.schedules.WarmUp}", "objective._target_"),
        ("objective: {_target_: ''}", "objective._target_"),
        # A custom file of one group leaves the others checked.
        ("{defaults: [override /objective: squared], model: {latnt_dim: 2}}", "model.latnt_dim"),
        ("{defaults: [override /model: mine], sed: 1}", "sed"),
        ("defaults: mnist", "defaults"),
        ("defaults: [3]", "defaults.0"),
        ("defaults: [override /data: {a: 1}]", "defaults.0.override /data"),
    ],
)
def test_a_mistake_is_refused_by_its_path(text: str, refused: str) -> None:
    assert errors(read(text)) == {refused}


@pytest.mark.parametrize(
    ("part", "text", "refused"),
    [
        ("objective", "beta: -1", "beta"),
        ("objective", f"{{_target_: {OBJECTIVES}.BetaELBO, samples: 1}}", "samples"),
        ("data", "{defaults: [mnist], bach_size: 1}", "bach_size"),
        ("model", "decoder: {channels: 3}", "decoder.channels"),
        ("optimizer", "lr: -1", "lr"),
        ("trainer", "max_epoch: 1", "max_epoch"),
        ("callbacks", "probe: {max_iter: 0}", "probe.max_iter"),
        ("launcher", "max_stack: many", "max_stack"),
        ("evaluate", "split: all", "split"),
        ("evaluate", "images: 1", "images"),
        ("protocol", "samples: -1", "samples"),
        ("protocol", "split: val", "split"),
        ("evaluate", "sample: 1", "sample"),
        ("evaluate", "data: {rot: x}", "data.rot"),
        ("evaluate", "probe_C: [0]", "probe_C.0"),
        ("encode", "split: tests", "split"),
        ("encode", "output: latents.txt", "output"),
        ("encode", "data: {rot: x}", "data.rot"),
        ("export", "checkpoint: first", "checkpoint"),
        ("export", "license: the mit licence", "license"),
    ],
)
def test_a_mistake_in_another_file_is_refused_by_its_path(part: str, text: str, refused: str) -> None:
    assert errors(read(text), part) == {refused}


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "model: {encoder: {channels: [8]}}",
        "model: {encoder: {channels: [8], blocks: 2}, decoder: null}",
        "objective: {beta: 4}",
        "objective: {beta: 4, samples: 3, schedule: null}",
        "objective: {_target_: my_objective.Squared, weight: 1, beta: -1}",
        "model: {encoder: {_target_: my_module.Encoder, channels: many}}",
        "model: {_target_: my_module.VAE, latent_dim: many}",
        "data: {_target_: my_data.Stripes, stripes: 4}",
        "trainer: {_target_: my_trainer.Trainer, speed: 4}",
        "{defaults: [override /objective: squared], objective: {weight: 1}}",
        "{defaults: [burda_vae, override /data@data: mine, _self_], data: {stripes: 4}}",
        "{defaults: [/my_group: first], my_group: {a: 1}}",
        "{defaults: [optional my_group: first], my_group: {a: 1}}",
        "_widths: [8, 8]",
        "{seed: '${oc.env:SEED}', model: {latent_dim: '???', widths: '${_widths}', activation: '${a}'}}",
        "{objective: '${model.objective}', sweep: {objective: 'val/${name}'}, trainer: {devices: '${a}'}}",
        "model: {widths: [8, '${model.latent_dim}']}",
        "optimizer: {_target_: torch.optim.SGD, lr: 1e-3, nesterov: true}",
        "trainer: {gradient_clip_val: 1, max_time: '00:01:00:00', devices: [0, 1]}",
        "callbacks: {figures: null, lr: {_target_: lightning.pytorch.callbacks.LearningRateMonitor, log_momentum: 1}}",
        "callbacks: {best_checkpoint: {monitor: val/kl, save_top_k: 2}, mine: {patience: 3}}",
        "callbacks: {probe: {_target_: my_module.Probe, neighbours: 3}}",
        "logger: {wandb: {project: mine, tags: [a]}, mine: {_target_: my_module.Logger}}",
        "sweep: {name: first, axes: [model.latent_dim, seed]}",
        "hydra: {sweeper: {params: {model.latent_dim: '2,5', seed: 1}, anything: 1}, run: {dir: x}, mode: MULTIRUN}",
    ],
)
def test_what_is_allowed_passes(text: str) -> None:
    assert errors(read(text)) == set()


def test_every_earlier_name_of_a_class_is_known() -> None:
    parts = {"data": "data", "models": "model", "objectives": "objective", "priors": "prior"}
    names = {earlier: today for earlier, today in MOVED.items() if today in SCHEMA["definitions"]}
    assert len(names) > 20
    for earlier, today in names.items():
        part = parts.get(today.split(".")[1], "callbacks.mine")
        for arguments, refused in (({}, set()), ({"no_such": 1}, {f"{part}.no_such"})):
            node: dict[str, Any] = {"_target_": earlier, **arguments}
            assert errors({"callbacks": {"mine": node}} if "." in part else {part: node}) == refused


RULES: dict[str, Rule] = {
    f"{path.parent.name}.{cls}.{name}": rule
    for path in sorted(Path(vae_lightning.__file__).parent.glob("*/rules.py"))
    for cls, rules in getattr(import_module(f"vae_lightning.{path.parent.name}.rules"), "RULES", {}).items()
    for name, rule in rules.items()
}
for table in (SETTINGS, SWEEP, TRAINER, OPTIMIZER, STACKED, EVALUATE, ENCODE, EXPORT):
    RULES |= table
# Not 1.0, which is a whole number in JSON, and neither infinity nor NaN, which JSON does not have.
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 10, 32, 0.5, 1.5, -0.5),
    *(
        "",
        "1",
        "x",
        "none",
        "test",
        "auto",
        "relu",
        "continue",
        "last",
        "ddp",
        "32-true",
        "balanced",
        "discrete",
        "min",
    ),
    *("val/loss", "test/loss", "probe/val_acc"),
    *([], [0], [1], [1, 2], [1, 2, 3], [0.5, 0.5], [0.5, 1.5], ["x"], [True], [None], {}, {"_target_": "x"}),
]


def test_a_rule_and_its_schema_accept_the_same_values() -> None:
    for name, rule in RULES.items():
        validator = Draft7Validator(rule.schema)
        accepted = [*map(rule.accepts, VALUES)]
        assert [*map(validator.is_valid, VALUES)] == accepted, name
        assert {*accepted} == {True, False}, name


def test_the_page_shows_files_that_pass_and_one_that_is_refused_with_its_messages() -> None:
    page = SOURCE / "docs/how_to/editor.md"
    fences = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    experiment, of_a_group, wrong = (text for language, text in fences if language == "yaml")
    messages = fences[-1][1]
    for text in (experiment, of_a_group):
        name, reference, fragment = re.findall(
            r"^# (my_\S+)\n# yaml-.*?\$schema=([^#\n]*)#?(\S*)$", text, re.MULTILINE
        )[0]
        assert (SOURCE / name).parent.joinpath(reference).resolve() == PATH
        assert errors(read(text), fragment.removeprefix("/definitions/") or None) == set()
    assert {line.split()[0] for line in messages.splitlines()} == errors(read(wrong))
    for path, name in re.findall(r"^(\S+) +Property (\w+) is not allowed\.$", messages, re.MULTILINE):
        assert path.endswith(f".{name}")
    (least,) = re.findall(r"^model\.latent_dim +Value is below the minimum of (\d+)\.$", messages, re.MULTILINE)
    assert SCHEMA["definitions"]["vae_lightning.models.VAE"]["properties"]["latent_dim"]["minimum"] == int(least)

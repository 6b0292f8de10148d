"""Writes schema.json: a JSON Schema for the files of conf, from the package's rules and the comments of conf.

python docs/schema.py

how_to/editor.md shows how to use it in an editor. The root describes an experiment, conf/train.yaml and conf/debug;
``definitions`` has an entry for the files of each group, and for those of the other commands. The schema follows
draft 7, which yaml-language-server supports best. ``errorMessage`` and ``enumDescriptions`` are extensions of that
server; other validators ignore them.
"""

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from configuration import files
from lightning.pytorch import Trainer
from omegaconf import OmegaConf

from vae_lightning.commands.rules import ENCODE, EVALUATE, EXPLORE, EXPORT
from vae_lightning.config.explanations import File, Key, explained, without_ditto
from vae_lightning.config.moved_names import MOVED
from vae_lightning.config.rules import Rule, anything, optional, several, text
from vae_lightning.config.targets import rules_of
from vae_lightning.models.rules import OPTIMIZER
from vae_lightning.runs.rules import SETTINGS, SWEEP, TRAINER
from vae_lightning.sweeps.rules import SEARCH, STACKED, SWEEPER

Schema = dict[str, Any]
Found = Mapping[str, list[File]]

PAGE = Path(__file__).with_suffix(".json")

# The groups whose keys an experiment may change.
GROUPS = {
    "data": "The images: their source, split and batches.",
    "model": "The model and its networks.",
    "posterior": "The approximate posterior q(z|x) of the latent variables.",
    "prior": "The prior p(z) of the latent variables.",
    "likelihood": "The likelihood p(x|z) of the pixels.",
    "objective": "The training loss.",
    "estimator": "The estimator of the encoder's gradient.",
    "optimizer": "The optimiser: any torch.optim.Optimizer and its arguments.",
    "schedule": "The learning rate's factor at each optimiser step.",
    "trainer": "Lightning's Trainer and its arguments.",
    "callbacks": "Callbacks by name. null removes one; a new name with _target_ adds one.",
    "logger": "Trackers by name. null removes one; a new name with _target_ adds one.",
}
# Groups from which an experiment only chooses a file.
OTHER_GROUPS = {
    "experiment": "An experiment, a file of conf/experiment.",
    "debug": "A file of conf/debug, which overrides the experiment.",
    "hydra/launcher": "The launcher, which runs the jobs of a sweep.",
    "hydra/sweeper": "The sweeper, which chooses the jobs of a sweep.",
    "hydra/sweeper/sampler": "The sampler, which chooses the values of a search's trials.",
    "hydra/sweeper/pruner": "The pruner, which ends hopeless trials.",
}
# Files that are not of these groups.
EXPERIMENT = "An experiment: the keys that it changes, merged over the defaults of conf/train.yaml."
OTHER_FILES = {
    "launcher": "A launcher, which runs the jobs of a sweep.",
    "sweeper": "A sweeper, which chooses the jobs of a sweep.",
    "sampler": "A sampler of Optuna, which chooses the values of a search's trials.",
    "pruner": "A pruner of Optuna, which ends hopeless trials.",
    "job_logging": "The log of a command.",
    "help": "The text of --help.",
    "evaluate": "The settings of vae-eval.",
    "protocol": "How many images and samples vae-eval estimates log p(x) from.",
    "encode": "The settings of vae-encode.",
    "explore": "The settings of vae-explore.",
    "export": "The settings of vae-export.",
}
OF_DEFAULTS = "The files that this one builds on or chooses; of two that set a key, the later one wins."
# Groups whose classes have rules for all arguments, and the model's keys of that kind.
CHECKED = ["data", "model", "posterior", "prior", "likelihood", "objective", "estimator", "schedule"]
NETWORKS = ["encoder", "decoder"]
# Groups of named nodes, and what each of those is.
NAMED = {"callbacks": "callback", "logger": "tracker"}

TRAINER_CLASS = "lightning.pytorch.Trainer"
# Keys beside the Trainer's arguments, and arguments that a run sets itself.
BESIDE_THE_TRAINER = ("matmul_precision",)
SET_BY_A_RUN = ("self", "callbacks", "default_root_dir", "logger", "plugins")

# Keys that the package checks elsewhere, or not at all.
MORE_SETTINGS = {"resume": optional(text)}
MORE_OF_SWEEP = {"name": anything, "axes": optional(several(text))}
MOVED_DATA = optional(text)

# Keys of a node beside its class's arguments; ``defaults`` only where the node is a file of its own.
ALWAYS: Schema = {"_target_": True, "defaults": True}

# Strings that are allowed whatever the type: ${...} is the value of another key, ??? must be given.
INTERPOLATION = r"\$\{|^\?\?\?$"


def page() -> str:
    """Return the whole of schema.json."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def schema() -> Schema:
    """Return the schema."""
    found = _found()
    train, evaluate, encode, explore, export = ({key.name: key for key in file.keys} for file in found[""])
    protocol = {key.name: key for key in _keys(found["protocol"])}
    classes = _classes(found)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **_file("experiment", EXPERIMENT),
        "definitions": {
            **{
                group: _file(group, about) | {"properties": {"defaults": _defaults(group)}}
                for group, about in GROUPS.items()
            },
            **{part: _file(part, about) for part, about in OTHER_FILES.items()},
            "keys_of_experiment": _experiment(found, train),
            "keys_of_evaluate": _evaluate({**evaluate, **protocol}),
            "keys_of_explore": _with_moved_data(EXPLORE, explore),
            "keys_of_protocol": _closed({name: _value(EVALUATE[name], key) for name, key in protocol.items()}),
            "keys_of_encode": _with_moved_data(ENCODE, encode),
            "keys_of_export": _command(EXPORT, export),
            **{f"choice_of_{_flat(group)}": _choice(found[group], about) for group, about in _all_groups()},
            **{f"keys_of_{part}": _node(_named(found, part), classes) for part in [*CHECKED, *NETWORKS]},
            "keys_of_optimizer": _optimizer(found),
            "keys_of_trainer": _node({TRAINER_CLASS: ""}, classes),
            "keys_of_callbacks": _by_name(found, "callbacks", classes),
            "keys_of_logger": _by_name(found, "logger", classes),
            "keys_of_callback": _node(_named(found, "callbacks"), classes, any_keys=True),
            "keys_of_tracker": _node(_named(found, "logger"), classes, any_keys=True),
            "keys_of_hydra": _hydra(found, train),
            "keys_of_launcher": _launcher(found),
            "keys_of_sweeper": _sweeper(found),
            **{f"keys_of_{part}": _part_of_sweeper(found, part) for part in ("sampler", "pruner")},
            "keys_of_job_logging": {"properties": _tree(_keys(found["hydra/job_logging"]), "hydra.job_logging.")},
            "keys_of_help": {"properties": _tree(_keys(found["hydra/help"]), "hydra.help.")},
            **classes,
        },
    }


def _found() -> Found:
    """Return the files of conf by group, every key with the comment that explains it."""
    return {
        group: [file._replace(keys=[*map(_with_comment, file.keys, without_ditto(file.keys))]) for file in members]
        for group, members in explained(files()).items()
    }


def _with_comment(key: Key, comment: str) -> Key:
    return key._replace(comment=comment)


# Files: experiments, groups, commands.


def _file(part: str, about: str) -> Schema:
    """Return the schema of a file, which refers to that of its keys.

    It always has a description, a type and ``allOf``, because yaml-language-server fills in the root's where a modeline
    points at a definition without them.
    """
    return {"description": about, "type": "object", "allOf": [{"$ref": f"#/definitions/keys_of_{part}"}]}


def _experiment(found: Found, train: Mapping[str, Key]) -> Schema:
    """Return the schema of an experiment's keys: those of train.yaml, none of them required.

    A group may have any keys if ``defaults`` chooses a custom file for it, and so may the top level if ``defaults``
    chooses from a custom group.
    """
    sweep = {name: _value(rule, train[f"sweep.{name}"]) for name, rule in {**MORE_OF_SWEEP, **SWEEP}.items()}
    properties = {
        "defaults": _defaults("experiment", *dict(_all_groups())),
        # Hydra reads a group's defaults only in the group's own files.
        **{group: _place(group, about) | {"properties": {"defaults": False}} for group, about in GROUPS.items()},
        **{name: _value(rule, train[name]) for name, rule in {**SETTINGS, **MORE_SETTINGS}.items()},
        "sweep": {"description": "Settings of a sweep, vae-train -m.", **_closed(sweep), "type": "object"},
        "hydra": _place("hydra", "Settings of Hydra."),
    }
    for group in CHECKED:
        del properties[group]["allOf"]  # conditional, below
    our_groups = "|".join(map(_chosen, [*GROUPS, *OTHER_GROUPS, "hydra/.*"]))
    return {
        "properties": properties,
        "allOf": [
            *(
                _unless_chosen(
                    {"patternProperties": {_chosen(group): {"$ref": _files_of(group)}}},
                    {"properties": {group: {"$ref": f"#/definitions/keys_of_{group}"}}},
                )
                for group in CHECKED
            ),
            _unless_chosen(
                {"propertyNames": {"pattern": our_groups}},
                _closed(dict.fromkeys(properties, True)) | {"patternProperties": {"^_": True}},
            ),
        ],
    }


def _chosen(group: str) -> str:
    """Return a pattern of keys that choose a group's file in ``defaults``: ``override /data``, ``data@other.place``."""
    return f"^((override|optional) )?/?{group}(@.*)?$"


def _unless_chosen(ours: Schema, then: Schema) -> Schema:
    """Apply the schema ``then`` unless an item of ``defaults`` is a mapping that breaks the schema ``ours``."""
    custom = {"type": "object", "not": ours}
    return {"if": {"required": ["defaults"], "properties": {"defaults": {"contains": custom}}}, "else": then}


def _defaults(own: str, *others: str) -> Schema:
    """Return the schema of ``defaults``: names of files in the ``own`` group, and choices in the others."""
    choices = {group: {"$ref": f"#/definitions/choice_of_{_flat(group)}"} for group in others}
    this = {"enum": ["_self_"], "enumDescriptions": ["The keys of this file."]}
    return {
        "description": OF_DEFAULTS,
        "type": "array",
        "items": {
            "type": ["object", "string"],
            "properties": {f"override /{group}": choice for group, choice in choices.items()},
            "patternProperties": {_chosen(group): choice for group, choice in choices.items()},
            "anyOf": [this, {"$ref": _files_of(own)}, {"type": ["object", "string"]}],
        },
    }


def _files_of(group: str) -> str:
    """Return a reference to the names of a group's files, the first alternative of a choice."""
    return f"#/definitions/choice_of_{_flat(group)}/anyOf/0"


def _choice(members: list[File], about: str) -> Schema:
    """Return the schema of a choice: one file of a group, or several; a custom file may have any name."""
    names, comments = [file.path.stem for file in members], [_sentences(file.comment) for file in members]
    others = {"type": ["string", "array", "null"], "items": {"type": "string"}}
    return {"description": about, "anyOf": [{"enum": names, "enumDescriptions": comments}, others]}


def _launcher(found: Found) -> Schema:
    keys = _keys(found["hydra/launcher"])
    properties = _tree(map(_without_default, keys), "hydra.launcher.")
    by_name = {key.name.removeprefix("hydra.launcher."): key for key in keys}
    properties |= {name: _value(rule, by_name[name]) for name, rule in STACKED.items()}
    return {"properties": {**properties, "_target_": _target(_named(found, "launcher"))}}


def _sweeper(found: Found) -> Schema:
    keys = {key.name.removeprefix("hydra.sweeper."): _without_default(key) for key in _keys(found["hydra/sweeper"])}
    properties = {name: _value(rule, keys.get(name)) for name, rule in {**SWEEPER, **SEARCH}.items()}
    parts = {part: _place(part, OTHER_FILES[part], null=part == "pruner") for part in ("sampler", "pruner")}
    return {"properties": properties | parts | {"_target_": _target(_named(found, "sweeper"))}}


def _part_of_sweeper(found: Found, part: str) -> Schema:
    properties = _tree(map(_without_default, _keys(found[f"hydra/sweeper/{part}"])), f"hydra.sweeper.{part}.")
    return {"properties": {**properties, "_target_": _target(_named(found, part))}}


def _command(rules: Mapping[str, Rule], keys: Mapping[str, Key]) -> Schema:
    """Return the schema of a command's keys, with settings of Hydra."""
    properties = {name: _value(rule, keys[name]) for name, rule in rules.items()}
    more = {"defaults": {"description": OF_DEFAULTS, "type": "array"}, "hydra": _place("hydra", "Settings of Hydra.")}
    return _closed(properties | more)


def _evaluate(keys: Mapping[str, Key]) -> Schema:
    file = _with_moved_data(EVALUATE, keys)
    file["properties"]["trainer"] = _place("trainer", GROUPS["trainer"])
    return file


def _with_moved_data(rules: Mapping[str, Rule], keys: Mapping[str, Key]) -> Schema:
    file = _command(rules, keys)
    data = {name.removeprefix("data."): _value(MOVED_DATA, key) for name, key in keys.items() if "data." in name}
    file["properties"]["data"] = {"description": _sentences(keys["data"].comment), "type": "object", **_closed(data)}
    return file


# Classes, and the nodes that name them in _target_.


def _classes(found: Found) -> Schema:
    """Return the schemas of the classes that conf names and that have rules, by full name."""
    rules = {name: rules_of(name) for name in (str(key.default) for key in _targets(found))}
    of_trainer = [name for name in inspect.signature(Trainer.__init__).parameters if name not in SET_BY_A_RUN]
    rules[TRAINER_CLASS] = {name: TRAINER.get(name, anything) for name in [*of_trainer, *BESIDE_THE_TRAINER]}
    keys = _keys_by_class(found)
    keys[TRAINER_CLASS] = _documented_by_lightning() | keys[TRAINER_CLASS]
    return {
        name: _closed(
            ALWAYS
            | {argument: _argument(argument, rule, keys[name].get(argument)) for argument, rule in of_class.items()}
        )
        for name, of_class in sorted(rules.items())
        if of_class is not None
    }


def _targets(found: Found) -> Iterator[Key]:
    """Return every key that names a class, except Hydra's."""
    for group, members in found.items():
        if not group.startswith("hydra"):
            yield from (key for key in _keys(members) if key.name.endswith("._target_") and "hydra." not in key.name)


def _keys_by_class(found: Found) -> dict[str, dict[str, Key]]:
    """Return the key that explains each argument of each class, from the first file with that class."""
    by_class: dict[str, dict[str, Key]] = {}
    for members in found.values():
        for file in members:
            keys = _with_inherited(file, members)
            for name, key in keys.items():
                node, _, argument = name.rpartition(".")
                target = keys.get(f"{node}._target_")
                if target is not None:
                    by_class.setdefault(str(target.default), {}).setdefault(argument, key)
    return by_class


def _with_inherited(file: File, members: list[File]) -> dict[str, Key]:
    """Return the keys of a file and of the files in its group on which it builds."""
    keys: dict[str, Key] = {}
    for parent in members:
        if parent.path.stem in file.defaults:
            keys |= _with_inherited(parent, members)
    return keys | {key.name: key for key in file.keys}


def _documented_by_lightning() -> dict[str, Key]:
    """Return the Trainer's arguments, each with the first sentence of its entry in Lightning's docstring."""
    documented = inspect.cleandoc(Trainer.__init__.__doc__ or "")
    found = re.findall(r"^    (\w+): (.*?\.)(?=\s|\Z)", documented, re.DOTALL | re.MULTILINE)
    without_roles = [(name, re.sub(r":\w+:`~?|`", "", " ".join(said.split()))) for name, said in found]
    return {name: Key(name, None, said) for name, said in without_roles}


def _argument(name: str, rule: Rule, key: Key | None) -> Schema:
    """Return the schema of a class's argument: a value, or a node like the group of that name."""
    if name in [*GROUPS, *NETWORKS]:
        return _explained(_place(name, "", null=rule.accepts(None)), key)
    return _value(rule, key)


def _named(found: Found, part: str) -> dict[str, str]:
    """Return the classes that conf names for a part, each with the comment of the file that begins with it."""
    named: dict[str, str] = {}
    for file in (file for members in found.values() for file in members):
        for place, key in enumerate(file.keys):
            *_, within, name, last = ["", "", *key.name.split(".")]
            if last == "_target_" and part == (within if within in NAMED else name):
                named[str(key.default)] = named.get(str(key.default)) or ("" if place else _sentences(file.comment))
    return named


def _node(named: Mapping[str, str], classes: Schema, any_keys: bool = False) -> Schema:
    """Return the schema of a node's keys.

    A node that names one of these classes in ``_target_`` has the arguments of that class, and one that names a custom
    class has any. A node without ``_target_`` changes a class chosen elsewhere, so it may have the arguments of each of
    these classes, or any keys (``any_keys``).
    """
    ours = [name for name in named if name in classes]
    node = {"properties": {"_target_": _target(named, *ours)}}
    if not ours:
        return node
    return {
        **node,
        "if": {"required": ["_target_"]},
        "then": {
            "allOf": [
                {
                    "if": {"properties": {"_target_": {"pattern": f"^({_names(name)})$"}}},
                    "then": {"$ref": f"#/definitions/{name}"},
                }
                for name in ours
            ]
        },
        **({} if any_keys else {"else": _of_any(ours, classes)}),
    }


def _target(named: Mapping[str, str], *ours: str) -> Schema:
    """Return the schema of ``_target_``: a class named in conf, another name of ``ours``, or a custom class."""
    packages = sorted({name.rpartition(".")[0] for name in named})
    message = f"must be a class of {', '.join(packages)}, or a custom class"
    pattern = "|".join([r"^(?!vae_lightning\.).", *(f"^({_names(name)})$" for name in ours)])
    return {
        "description": "The class.",
        "anyOf": [
            {"enum": [*named], "enumDescriptions": [*named.values()], "errorMessage": message},
            {"type": "string", "pattern": pattern, "errorMessage": message},
        ],
    }


def _names(name: str) -> str:
    """Return a pattern of a class's names: through its folder, through its module, and those of earlier versions."""
    folder, _, own = name.rpartition(".")
    by_module = rf"{re.escape(folder)}\.(\w+\.)?{own}" if folder.startswith("vae_lightning.") else re.escape(name)
    return "|".join([by_module, *(re.escape(earlier) for earlier, today in MOVED.items() if today == name)])


def _of_any(ours: list[str], classes: Schema) -> Schema:
    """Return the schema of a node that may have the arguments of any of these classes."""
    if not ours[1:]:
        return {"$ref": f"#/definitions/{ours[0]}"}
    # A reference by argument and rule, because classes that share an argument usually share its rule.
    refs: dict[str, dict[str, Schema]] = {}
    for name in ours:
        for argument, content in classes[name]["properties"].items():
            if argument not in ALWAYS:
                rule = json.dumps({**content, "description": None, "default": None})
                ref = {"$ref": f"#/definitions/{name}/properties/{argument}"}
                refs.setdefault(argument, {}).setdefault(rule, ref)
    together = {argument: [*by_rule.values()] for argument, by_rule in refs.items()}
    return _closed(
        ALWAYS | {argument: {"anyOf": given} if given[1:] else given[0] for argument, given in together.items()}
    )


def _optimizer(found: Found) -> Schema:
    keys = {key.name.removeprefix("optimizer."): key for key in reversed(_keys(found["optimizer"]))}
    properties = {name: _value(rule, keys.get(name)) for name, rule in OPTIMIZER.items()}
    return {"properties": {**properties, "_target_": _target(_named(found, "optimizer"))}}


def _by_name(found: Found, group: str, classes: Schema) -> Schema:
    """Return the schema of callbacks or trackers by name; without ``_target_``, a name in conf stands for its class."""
    properties: Schema = {"defaults": True}
    for file in found[group]:
        for target in (key for key in file.keys if key.name.endswith("._target_")):
            name, cls = target.name.split(".")[1], str(target.default)
            place = _place(NAMED[group], _sentences(file.comment), null=True)
            if cls in classes:
                place |= {"if": {"required": ["_target_"]}, "else": {"$ref": f"#/definitions/{cls}"}}
            else:
                place |= {"properties": _tree(file.keys, f"{group}.{name}.")}
            properties[name] = place
    return {"properties": properties, "additionalProperties": _place(NAMED[group], "", null=True)}


def _place(part: str, about: str, null: bool = False) -> Schema:
    """Return the schema of a key whose value is a node, or an interpolation."""
    return {
        **({"description": about} if about else {}),
        "type": ["object", "null", "string"] if null else ["object", "string"],
        "pattern": INTERPOLATION,
        "errorMessage": "must be a mapping" + (", or null" if null else ""),
        "allOf": [{"$ref": f"#/definitions/keys_of_{part}"}],
    }


def _closed(properties: Schema) -> Schema:
    return {"properties": properties, "additionalProperties": False}


# Keys without rules.


def _hydra(found: Found, train: Mapping[str, Key]) -> Schema:
    properties = _tree([*train.values(), *map(_without_default, _keys(found["experiment"]))], "hydra.")
    return {
        "properties": {
            **properties,
            **{part: _place(part, OTHER_GROUPS[f"hydra/{part}"]) for part in ("launcher", "sweeper")},
        }
    }


def _tree(keys: Iterable[Key], within: str) -> Schema:
    """Return the schemas of the keys below ``within``: descriptions and defaults, without rules."""
    properties: Schema = {}
    for key in keys:
        *nodes, last = key.name.removeprefix(within).split(".")
        if key.name.startswith(within) and "params" not in nodes:  # a sweep's values, by key
            place = properties
            for node in nodes:
                place = place.setdefault(node, {}).setdefault("properties", {})
            place[last] = _explained({}, key) | place.get(last, {})
    return properties


def _without_default(key: Key) -> Key:
    """Return the key without its value, which is only the choice of one file."""
    return key._replace(default=None)


def _keys(members: Iterable[File]) -> list[Key]:
    return [key for file in members for key in file.keys]


def _all_groups() -> Iterable[tuple[str, str]]:
    return [*GROUPS.items(), *OTHER_GROUPS.items()]


def _flat(group: str) -> str:
    return group.replace("/", "_")


# Values and what explains them.


def _value(rule: Rule, key: Key | None) -> Schema:
    """Return the schema of a value that follows the rule or is an interpolation, with the key's comment and default."""
    # A default of null that breaks the rule marks a required value.
    missing = _default(key) == {"default": None}
    allowed = optional(rule).schema if missing and rule.schema and not rule.accepts(None) else rule.schema
    return _explained(_or_interpolation(allowed, f"must be {rule.allowed}"), key)


def _explained(content: Schema, key: Key | None) -> Schema:
    """Add the key's comment and default to a schema."""
    if key is None:
        return content
    default, types = _default(key), content.get("type")
    if isinstance(types, list) and re.search(INTERPOLATION, str(default.get("default"))):
        types.sort(key=lambda name: name != "string")  # yaml-language-server inserts a default as the first type
    return {"description": _sentences(key.comment), **content, **default}


def _default(key: Key | None) -> Schema:
    if key is None or not key.default or key.default == "(several lines)":
        return {}
    parsed: Any = OmegaConf.to_container(OmegaConf.create(f"default: {key.default}"))
    return dict(parsed)


def _sentences(comment: str) -> str:
    """Join the lines of a comment, except for indented ones: commands and tables."""
    said = before = ""
    for line in comment.splitlines():
        said += ("\n" if "  " in (line[:2], before[:2]) else " ") + line
        before = line
    return said.strip()


def _or_interpolation(schema: Mapping[str, Any], message: str) -> Schema:
    """Allow an interpolation too.

    Alternatives of different types become one schema with a list of types, so that validators report the keyword that a
    value breaks, not only that no alternative matches.
    """
    if not schema:
        return {}
    enums: list[Schema] = []
    merged: Schema = {"type": [], "errorMessage": message}
    for alternative in _alternatives(schema):
        if "enum" in alternative:
            enums.append({**alternative, "errorMessage": message})
        else:
            merged |= {**alternative, "type": [*merged["type"], alternative["type"]]}
    if "items" in merged:
        merged["items"] = _or_interpolation(merged["items"], message)
    if "string" not in merged["type"]:
        merged |= {"type": [*merged["type"], "string"], "pattern": INTERPOLATION}
    elif "pattern" in merged:
        merged["pattern"] += f"|{INTERPOLATION}"
    if len(merged["type"]) == 1:
        (merged["type"],) = merged["type"]
    return {"anyOf": [*enums, merged]} if enums else merged


def _alternatives(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Return the alternatives of a schema, those of its alternatives included."""
    if "anyOf" in schema:
        for alternative in schema["anyOf"]:
            yield from _alternatives(alternative)
    else:
        yield schema


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""Optuna's study of a sweep: where it is stored, and how it is opened."""

import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_lightning.config.errors import InputError, one_line
from vae_lightning.runs.directory import read_json
from vae_lightning.whole_files import write_json

if TYPE_CHECKING:  # optuna takes a second to import, and reports of grids need none
    import optuna
    from optuna.trial import FrozenTrial

__all__ = [
    "NOT_COUNTED",
    "SEARCH",
    "STUDY",
    "open_storage",
    "open_study",
    "record_study",
    "shown_storage",
    "stored_study",
    "study_in_memory",
]

SEARCH = Path("search.json")  # in the folder of a search: its study's name, and its storage if that is elsewhere
STUDY = Path("study.db")  # the study, unless it is stored elsewhere

NOT_COUNTED = "not_counted"  # the user attribute of a trial that does not count, with the reason

JOURNAL = "journal:"  # in front of the path of Optuna's journal file

# Seconds for which a process waits until another one has written to an SQLite file.
PATIENCE = 60

# How often the tables are created, if other commands create them at the same time, and the seconds in between.
ATTEMPTS, PAUSE = 10, 0.3


def record_study(sweep: Path, name: str, storage: str | None) -> None:
    """Store where the study of a search is, for its reports."""
    write_json(sweep / SEARCH, {"study": name, "storage": storage})


def stored_study(sweep: Path) -> "optuna.Study | None":
    """Return the study of a search; None if the sweep is a grid.

    Raises:
        InputError: if the storage cannot be opened.
    """
    try:
        record = read_json(sweep / SEARCH)
    except FileNotFoundError:
        return None
    return open_study(sweep, record["study"], record["storage"])


def open_study(sweep: Path, name: str, storage: str | None, **options: Any) -> "optuna.Study":
    """Open a study; create it if its options are given.

    Arguments:
        sweep: the sweep's folder, which holds the study if ``storage`` is None.
        name: the study's name.
        storage: a URL, ``journal:`` and a path, or None.
        options: arguments of ``optuna.create_study``; none to open one that exists.

    Raises:
        InputError: if the storage cannot be opened, there is no such study, or the study has other objectives.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    missing = f"hydra.sweeper.study_name={name}: there is no such study"
    if not options and storage is None and not (sweep / STUDY).exists():  # SQLite would create the file
        raise InputError(missing)
    opened = open_storage(f"sqlite:///{os.path.abspath(sweep / STUDY)}" if storage is None else storage)
    if not options:
        try:
            return optuna.load_study(storage=opened, study_name=name)
        except KeyError as error:
            raise InputError(missing) from error
    study = optuna.create_study(storage=opened, study_name=name, load_if_exists=True, **options)
    wanted = options.get("directions")
    found = [direction.name.lower() for direction in study.directions]
    if wanted is not None and found != [*wanted]:
        raise InputError(
            f"hydra.sweeper.study_name={name}: has the directions {', '.join(found)}, not {', '.join(wanted)}; choose "
            "another name"
        )
    return study


def study_in_memory(study: "optuna.Study", trials: "Iterable[FrozenTrial]", **options: Any) -> "optuna.Study":
    """Return a copy of a study in memory, with another sampler or pruner.

    Arguments:
        study: the study.
        trials: those of its trials that are copied.
        options: arguments of ``optuna.create_study``.
    """
    import optuna

    copied = optuna.create_study(study_name=study.study_name, directions=study.directions, **options)
    for trial in trials:
        copied.add_trial(trial)  # which copies it
    return copied


def open_storage(storage: str) -> "optuna.storages.BaseStorage":
    """Open the storage of a study.

    Arguments:
        storage: the URL of an SQL database, or ``journal:`` and the path of a file.

    Raises:
        InputError: if it cannot be opened: a wrong URL, a driver that is not installed, a server that does not answer,
            or a database of another version of Optuna.
    """
    import optuna
    import sqlalchemy
    from optuna.storages.journal import JournalFileBackend

    shown = shown_storage(storage)
    key = f"hydra.sweeper.storage={shown}"
    try:
        if storage.startswith(JOURNAL):
            return optuna.storages.JournalStorage(JournalFileBackend(storage.removeprefix(JOURNAL)))
        database = sqlalchemy.make_url(storage).database if storage.startswith("sqlite") else None
        options = {"creator": lambda: _connect(database)} if database else {}
        created = _created(lambda: optuna.storages.RDBStorage(storage, options))
        if database:  # only now, because a database that is refused stays as it is
            # Another command that is writing keeps this one from changing the mode; it has just done so itself.
            with closing(_connect(database)) as connection, suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode=WAL")
        return created
    except RuntimeError as error:  # another schema
        raise InputError(
            f"{key}: was written by another version of Optuna; optuna storage upgrade --storage {shown} updates it, "
            "and another hydra.sweeper.storage or sweep.name begins anew"
        ) from error
    except ModuleNotFoundError as error:
        raise InputError(f"{key}: needs the package {error.name}") from error
    except (
        *(ImportError, ValueError, OSError, sqlite3.Error, sqlalchemy.exc.SQLAlchemyError),
        optuna.exceptions.StorageInternalError,
    ) as error:
        driver = getattr(error, "orig", None) or error  # without SQLAlchemy's link
        raise InputError(f"{key}: cannot be opened: {one_line(driver)}") from error


def shown_storage(storage: str) -> str:
    """Return the URL of a storage with its password hidden."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", storage)


def _created(create: "Callable[[], optuna.storages.RDBStorage]") -> "optuna.storages.RDBStorage":
    """Open a database, and create its tables, which another command may do at the same moment."""
    import optuna
    from sqlalchemy.exc import DBAPIError

    for _ in range(ATTEMPTS - 1):
        try:
            return create()
        except (DBAPIError, optuna.exceptions.StorageInternalError) as error:
            said = f"{error} {error.__cause__}".lower()
            if not any(word in said for word in ("already exists", "unique", "duplicate")):
                raise
            time.sleep(PAUSE)
    return create()


def _connect(database: str) -> sqlite3.Connection:
    """Connect to an SQLite file so that a commit takes half a millisecond, once the file has a write-ahead log.

    Such a log needs no wait for the disk; a power failure may lose the last commits, a killed process none.
    """
    # A connection serves one thread at a time, but not always the same one.
    connection = sqlite3.connect(database, timeout=PATIENCE, check_same_thread=False)
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection

"""The stored Optuna study of a spec, with a sampler whose suggestions can be repeated."""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from harness.optuna_study.samplers import needs_constant_seed, sampler_for
from harness.record.masking import masked, masked_text, secrets_of
from harness.record.outage import OutageError
from harness.record.whole_database import create_whole
from harness.spec import SpecError, StudySpec
from harness.spec.database import sqlite_file

T = TypeVar("T")

SQLITE_TIMEOUT_S = 10.0
"""How long a statement waits in silence for another process's lock on the database file."""
PATIENCE_S = 600.0
"""How long a failing database is tried again before the study breaks off."""
FIRST_PAUSE_S = 0.5
"""Pause before a failing database is tried again; doubles each time, up to 15 s."""
_STUDY_ID = "study_id"


def open_database(url: str) -> RDBStorage:
    """Optuna's storage at a SQLAlchemy URL.

    Raises:
        SpecError: If it cannot be opened or is no database of this Optuna; the password is
            masked.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    is_sqlite = sqlite_file(url) is not None
    arguments: dict[str, Any] = {"pool_pre_ping": True}
    if is_sqlite:
        arguments = {"connect_args": {"timeout": SQLITE_TIMEOUT_S}}
    try:
        create_whole(url, lambda fresh: RDBStorage(fresh).engine.dispose())
        storage = RDBStorage(url, engine_kwargs=arguments)
    except ImportError as error:
        raise SpecError(
            f"database {masked(url)}: {error}; pip install 'posebins[postgres]'"
        ) from error
    except (
        OSError,
        ValueError,
        RuntimeError,
        StorageInternalError,
        SQLAlchemyError,
    ) as error:
        reason = masked_text(_reason(error), secrets_of(url))
        raise SpecError(f"database {masked(url)} cannot be used: {reason}") from None
    if is_sqlite:
        event.listen(storage.engine, "connect", _empty_the_journal_in_place)
        storage.engine.dispose()  # connections from before
    return storage


def _empty_the_journal_in_place(connection: Any, _record: object) -> None:
    # As durable as deleting it, which is SQLite's way, but without a write to the folder at each
    # of the 20 commits of a trial. A write-ahead log would be faster still, but needs memory
    # that all readers share, and on a network's file system they may be on other machines.
    connection.execute("PRAGMA journal_mode = TRUNCATE").close()


def open_study(
    spec: StudySpec, storage: RDBStorage, study_name: str, study_id: str, *, is_new: bool
) -> Study:
    """Create the Optuna study of a spec, or load it to resume it.

    Args:
        spec: The study.
        storage: From :func:`open_database`.
        study_name: Name in the storage.
        study_id: Tells this study from another of the same name.
        is_new: Whether the ledger holds no trial yet.

    Raises:
        SpecError: If the storage has another study of this name, or has lost this one.
    """
    sampler = RepeatableSampler(spec)
    directions = [metric.goal for metric in spec.objectives]
    known = study_name in optuna.get_all_study_names(storage)
    if not known and not is_new:
        raise SpecError(
            f"the database has no study {study_name}, but its ledger has trials: restore "
            "the database, or start again with --new"
        )
    study = optuna.create_study(
        storage=storage,
        study_name=study_name,
        directions=directions,
        sampler=sampler,
        pruner=optuna.pruners.NopPruner(),  # harness/optuna_study/pruners.py asks the pruner
        load_if_exists=True,
    )
    owner = study.user_attrs.get(_STUDY_ID)
    if owner is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(_STUDY_ID, study_id)
    elif owner != study_id:
        raise SpecError(
            f"the database has another study named {study_name}; give this one another name"
        )
    return study


def free_study_name(storage: RDBStorage, name: str, study_id: str) -> str:
    """``name`` if no study of the storage has it, else the name with a part of the id."""
    taken = optuna.get_all_study_names(storage)
    return name if name not in taken else f"{name}-{study_id[:8]}"


class RepeatableSampler(BaseSampler):
    """The spec's sampler, seeded anew for every trial and parameter.

    A sampler's random state is not stored. Here every draw follows from the trial's number, the
    parameter and the earlier trials alone, so a study that was killed in the middle of a
    suggestion makes the same one again.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._spec = spec
        self._asked: tuple[int, BaseSampler] | None = None
        self._constant = sampler_for(spec, 0) if needs_constant_seed(spec.method) else None

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """See :class:`optuna.samplers.BaseSampler`."""
        return self._of_trial(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See :class:`optuna.samplers.BaseSampler`."""
        return self._of_trial(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """See :class:`optuna.samplers.BaseSampler`."""
        sampler = self._constant or sampler_for(self._spec, _seed(trial.number, param_name))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """See :class:`optuna.samplers.BaseSampler`."""
        self._of_trial(trial).before_trial(study, trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """See :class:`optuna.samplers.BaseSampler`."""
        sampler = self._constant or sampler_for(self._spec, _seed(trial.number))
        sampler.after_trial(study, trial, state, values)

    def _of_trial(self, trial: FrozenTrial) -> BaseSampler:
        if self._constant is not None:
            return self._constant
        if self._asked is None or self._asked[0] != trial.number:
            self._asked = (trial.number, sampler_for(self._spec, _seed(trial.number)))
        return self._asked[1]


def _seed(*parts: int | str) -> int:
    """A seed that follows from these parts; the 0 keeps the suggestions of earlier studies."""
    digest = hashlib.sha256("/".join(map(str, (0, *parts))).encode()).digest()
    return int.from_bytes(digest[:4], "big")


class Patience:
    """Repeats calls to a database that is locked, full or unreachable for a while.

    Args:
        say: Receives one sentence when a wait begins.
        gives_up: Returns whether to stop waiting.
    """

    def __init__(self, say: Callable[[str], None], gives_up: Callable[[], bool]) -> None:
        self._say = say
        self._gives_up = gives_up

    def __call__(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Return ``call(*arguments, **named)``, which is repeated while the database fails.

        A write may have arrived although its answer was lost, so the call must be safe to repeat.

        Raises:
            OutageError: If it has failed for :data:`PATIENCE_S`, ``gives_up`` says to stop, or
                waiting cannot help.
        """
        started, pause = time.monotonic(), FIRST_PAUSE_S
        while True:
            try:
                return call(*arguments, **named)
            except (StorageInternalError, SQLAlchemyError) as error:
                has_waited = time.monotonic() - started
                if not _is_outage(error) or has_waited > PATIENCE_S or self._gives_up():
                    raise OutageError(
                        f"the database failed ({_reason(error)}); when it is back, run the same "
                        "command to resume the study"
                    ) from error
                if pause == FIRST_PAUSE_S:
                    self._say(f"the database does not answer ({_reason(error)}); waiting for it")
                time.sleep(pause)
                pause = min(2 * pause, 15.0)


def _is_outage(error: Exception) -> bool:
    """Whether the database was locked, full or unreachable, as far as its driver tells."""
    cause = error if isinstance(error, SQLAlchemyError) else error.__cause__
    is_broken = isinstance(cause, DBAPIError) and cause.connection_invalidated
    away = (OperationalError, InterfaceError, PendingRollbackError, PoolTimeoutError)
    return is_broken or isinstance(cause, away)


def _reason(error: Exception) -> str:
    """What a driver says, without the statement and its values."""
    cause = error if isinstance(error, SQLAlchemyError) else error.__cause__ or error
    lines = str(getattr(cause, "orig", None) or cause).splitlines()
    return lines[0] if lines else type(cause).__name__

"""A search's trials in Optuna's storage, shared by all processes that take part in it.

A process holds a lock while it takes a trial, so that together they start no more than was asked for, and a lock of the
trial while it trains: one that is running without its lock was interrupted, and is taken again from where it stopped.
"""

import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from recbole_conrec.options.search import Choice, Dimension, Space
from recbole_conrec.runs import lock
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import write_text

ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
LOST = "interrupted"  # attribute of a trial whose process ended before it did
WARM_UP = 2  # looks at validation before a trial may be pruned


@dataclass(frozen=True)
class Trials:
    """The trials of one search.

    Attributes:
        study: Optuna's. space: what is searched. defaults: the method's own values, of the options that have one.
        folder: of locks, shared by the processes of one file system.
        seed: of the sampler. random: draw at random instead of by TPE.
    """

    study: optuna.Study
    space: Space
    defaults: dict[str, Any]
    folder: Path
    seed: int
    random: bool = False

    @classmethod
    def open(cls, name: str, storage: str, space: Space, defaults: dict, folder: Path, **others: Any) -> "Trials":
        """The search of this name, begun by the first process that opens it.

        Args:
            storage: a URL of Optuna's; a path of a SQLite file, or of a journal (.log), which suits network disks.
            others: minimize: whether smaller values are better; seed, random.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        minimize = optuna.study.StudyDirection.MINIMIZE
        direction = minimize if others.pop("minimize") else optuna.study.StudyDirection.MAXIMIZE
        folder.mkdir(parents=True, exist_ok=True)
        pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=WARM_UP, n_min_trials=3)
        with lock.hold(folder, float("inf"), "ask"):
            if not (folder / "place").exists():
                write_text(folder / "place", uuid.uuid4().hex)
            study = optuna.create_study(
                storage=_storage(storage), study_name=name, direction=direction, pruner=pruner, load_if_exists=True
            )
            if not study.get_trials(deepcopy=False):
                study.enqueue_trial({o: encoded(v) for o, v in defaults.items()}, user_attrs={"default": True})
        return cls(study, space, defaults, folder, **others)

    @property
    def ended(self) -> list[FrozenTrial]:
        """The trials that have ended by themselves."""
        return [one for one in self.study.get_trials(deepcopy=False, states=ENDED) if LOST not in one.user_attrs]

    @property
    def seconds(self) -> float:
        """What the trials have taken so far."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        since = [one.user_attrs["started"] for one in running if "started" in one.user_attrs]
        ended = [one.user_attrs.get("result", {}).get("seconds", 0.0) for one in self.ended]
        return sum(ended) + sum(time.time() - start for start in since)

    @contextlib.contextmanager
    def take(self, most: int, seconds: float) -> Iterator[optuna.Trial | None]:
        """The next trial, held; None if there are ``most`` of them, or they took so many seconds."""
        with contextlib.ExitStack() as held:
            with lock.hold(self.folder, float("inf"), "ask"):
                running = self._running()
                trial = None
                if len(self.ended) + len(running) < most and (self.seconds < seconds or not self.ended):
                    count = len(self.study.get_trials(deepcopy=False))
                    # another seed for each trial, or every process would draw the same
                    self.study.sampler = self._sampler(self.seed * 100_003 + count, most)
                    trial = self.study.ask()
                    trial.set_user_attr("place", self._place)
                    trial.set_user_attr("started", time.time())
                    held.enter_context(lock.hold(self.folder, 0, f"trial-{trial.number}"))
            yield trial

    @property
    def _place(self) -> str:
        return (self.folder / "place").read_text(encoding="utf-8")

    def _running(self) -> list[FrozenTrial]:
        """The trials that are running; those that were interrupted wait to be taken again."""
        out = []
        for one in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if one.user_attrs.get("place", self._place) != self._place or self._is_held(one.number):
                out.append(one)
                continue
            self.study._storage.set_trial_user_attr(one._trial_id, LOST, True)
            self.study.tell(one.number, state=TrialState.FAIL)
            kept = {key: value for key, value in one.user_attrs.items() if key == "default"}
            self.study.enqueue_trial(one.params, user_attrs=kept)
        return out

    def _is_held(self, number: int) -> bool:
        try:
            with lock.hold(self.folder, 0, f"trial-{number}"):
                return False
        except lock.BusyError:
            return True

    def _sampler(self, seed: int, most: int) -> optuna.samplers.BaseSampler:
        seed %= 2**32
        if self.random:
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(10, max(4, most // 3)), constant_liar=True)

    def options(self, trial: optuna.Trial) -> dict[str, Any]:
        """The options of a trial. Drawn numbers have three digits; the first trial has the method's own values."""
        default = trial.user_attrs.get("default", False)
        asked = {o: d for o, d in self.space.items() if not default or o in self.defaults}
        return {o: _suggest(trial, o, d, self.defaults) for o, d in asked.items()}

    def same(self, options: dict[str, Any]) -> FrozenTrial | None:
        """A complete trial with these options."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        key = encoded(options)
        return next((one for one in complete if one.user_attrs.get("options") == key), None)


def encoded(value: Any) -> Any:
    """A value as Optuna stores it: simple ones as they are, others as JSON."""
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value, sort_keys=True)


def _suggest(trial: optuna.Trial, option: str, dimension: Dimension, defaults: dict[str, Any]) -> Any:
    drawn: Any
    if isinstance(dimension, Choice):
        drawn = trial.suggest_categorical(option, [encoded(value) for value in dimension.values])
    elif dimension.whole:
        low, step = int(dimension.low), int(dimension.step or 1)
        high = int(dimension.high) - (int(dimension.high) - low) % step
        drawn = trial.suggest_int(option, low, high, log=dimension.log, step=step)
    else:
        least, most = float(dimension.low), float(dimension.high)
        drawn = trial.suggest_float(option, least, most, log=dimension.log, step=dimension.step)
    if option in defaults and encoded(defaults[option]) == drawn:
        return defaults[option]
    if isinstance(dimension, Choice):
        return next(value for value in dimension.values if encoded(value) == drawn)
    if dimension.whole:
        return drawn
    digits = drawn if dimension.step else float(f"{drawn:.3g}")
    return min(max(digits, float(dimension.low)), float(dimension.high))


def _storage(given: str) -> optuna.storages.BaseStorage:
    if "://" not in given:
        path = Path(given).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".log":
            return optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        given = f"sqlite:///{path}"
    waiting = {"connect_args": {"timeout": 120}} if given.startswith("sqlite") else None
    try:
        return optuna.storages.RDBStorage(given, engine_kwargs=waiting)
    except Exception as error:  # of SQLAlchemy, a driver of a database, or a file that is none
        raise _unusable(given, error) from error


@contextlib.contextmanager
def storing(storage: str) -> Iterator[None]:
    """A storage that fails after its start, as on a full disk, becomes one line."""
    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        raise _unusable(storage, error) from error


def _unusable(storage: str, error: Exception) -> UserError:
    why = str(error.__cause__ or error).splitlines()[0]
    return UserError(
        f"storage: {storage} cannot be used ({why}); give another one, or free some space if its disk is full, "
        "and run the same command again"
    )

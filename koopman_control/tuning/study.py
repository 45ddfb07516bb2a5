"""The search: Optuna proposes settings, other processes judge them, a file keeps what they found.

Trials are proposed in batches whose size does not depend on the number of processes, and each has a
random seed of its own, so a search finds the same on any number of workers, and after it was
killed. Several machines may search with one file, each with a batch of its own.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from koopman_control.benchmark.variants import fingerprint
from koopman_control.common import (
    FileFormatError,
    FileNotWritableError,
    PathLike,
    ensure_writable_folder,
    optional_package,
    positive_int,
)
from koopman_control.common.border import CheckedFields, check_fields, checked
from koopman_control.common.files import Claim
from koopman_control.common.versions import package_versions
from koopman_control.common.workers import WorkerLostError, in_processes
from koopman_control.evaluation import PairedDifference, evaluate, paired_difference
from koopman_control.tasks import Task
from koopman_control.trajectories import total_steps
from koopman_control.tuning.settings import Range, settings_of, tuned

# No report uses these: learning seeds from 20 on, and evaluation seeds from 20,000 on.
FIRST_LEARNING, FIRST_EVALUATION = 20, 20_000
FINAL_LEARNING, FINAL_EVALUATION = 520, 520_000  # of the last comparison, which no search has seen
FINALISTS = 3
BATCHES = 20  # of a search, at most
SMALLEST_BATCH = 4
SEED = 20
DATABASES = (".db", ".sqlite", ".sqlite3")  # endings of SQLite files
PATIENCE = 1.0  # s, after which it is seen again what other processes have found

OnTrial = Callable[[int, float | None], None]  # a trial's number and mean return; None: it failed


@dataclass(frozen=True)
class Tuning(CheckedFields):
    """What is searched.

    Args:
        task: The task, as it is.
        trials: Number of trials, those of other processes and earlier calls included.
        names: Settings to search, see `settings_of`; None takes all.
        seeds: Learning seeds of each trial, from 20 on.
        episodes: Evaluation episodes of each learning seed, from reset seed 20,000 on.

    Example:
        >>> from koopman_control.tasks import TASKS
        >>> Tuning(TASKS["Pendulum"], trials=200).batch
        10
    """

    task: Task
    trials: int
    names: tuple[str, ...] | None = None
    seeds: int = 2
    episodes: int = 10

    def __post_init__(self) -> None:
        """Check the ranges of numbers, too."""
        check_fields(self)
        for name in ("trials", "seeds", "episodes"):
            positive_int(name, getattr(self, name))
        if self.names is not None and not self.names:
            raise ValueError("names is empty; expected at least one setting, or None for all")
        settings_of(self.task, self.names)

    @property
    def batch(self) -> int:
        """Trials that are proposed at a time."""
        return max(SMALLEST_BATCH, self.trials // BATCHES)

    def ranges(self) -> dict[str, Range]:
        """Return the range of each setting."""
        found = settings_of(self.task, self.names)
        return {name: setting.range(self.task) for name, setting in found.items()}


@dataclass(frozen=True)
class Judgement:
    """What settings reached, one learning seed after another.

    Args:
        returns: Returns of all episodes.
        learning_steps: Environment steps that learning used.
        judging_steps: Environment steps of the episodes.
        act_p99: 99th percentile of the time per `act`, in microseconds: of the slowest.
        error: Why there are no returns; "" if there are.
    """

    returns: tuple[float, ...] = ()
    learning_steps: int = 0
    judging_steps: int = 0
    act_p99: float = 0.0
    error: str = ""

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))


@dataclass(frozen=True)
class _Unit:
    number: int  # of the trial
    task: Task
    learning_seed: int
    reset_seeds: range


def _judged(unit: _Unit) -> Judgement:
    """Learn once and judge; settings that cannot work have their error."""
    learning = judging = 0
    try:
        with threadpool_limits(limits=1), closing(unit.task.environment()) as env:
            learned = unit.task.learn(unit.learning_seed)
            learning = total_steps(learned.data)
            found = evaluate(learned.controller, env, unit.reset_seeds)
            judging = int(found.lengths.sum())
        if not np.isfinite(found.returns).all():
            raise ValueError("a return is not finite")
    except Exception as error:  # no setting may end the search
        text = f"{type(error).__name__}: {error}"
        return Judgement((), learning, judging, error=text)
    return Judgement(tuple(found.returns.tolist()), learning, judging, found.act_us["p99"])


def _together(parts: Sequence[Judgement]) -> Judgement:
    return Judgement(
        tuple(value for part in parts for value in part.returns),
        sum(part.learning_steps for part in parts),
        sum(part.judging_steps for part in parts),
        max(part.act_p99 for part in parts),
        next((part.error for part in parts if part.error), ""),
    )


@dataclass(frozen=True)
class Tried:
    """Settings that were tried.

    Args:
        number: Its number, from 0 on; 0 has the task's own settings, or the nearest in range.
        values: The settings.
        found: What they reached; None while it is not known.
    """

    number: int
    values: Mapping[str, Any]
    found: Judgement | None


GIVEN = -1  # stands for the task as it is among the finalists


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Args:
        search: What was searched.
        trials: All trials, by number.
        finals: Trials that were compared once more, on seeds no search has seen, by number; -1 is
            the task as it is.
        importance: Share of the difference between good and bad trials that a setting explains.
    """

    search: Tuning
    trials: tuple[Tried, ...]
    finals: Mapping[int, Judgement]
    importance: Mapping[str, float]

    @property
    def best(self) -> Tried | None:
        """The best finalist that is better than the task as it is beyond chance; None: none is."""
        better = {n: found.mean for n, found in self.finals.items() if self.is_better(n)}
        return self.trials[max(better, key=lambda n: (better[n], -n))] if better else None

    @checked
    def gain(self, number: int) -> PairedDifference | None:
        """Compare a finalist with the task as it is, episode by episode; None if one failed."""
        found, given = self.finals[number], self.finals[GIVEN]
        if found.error or given.error:
            return None
        return paired_difference(found.returns, given.returns)

    @checked
    def is_better(self, number: int) -> bool:
        """Whether a finalist is better than the task as it is, with 95 % confidence."""
        if self.finals[GIVEN].error:
            return number != GIVEN and not self.finals[number].error
        gain = self.gain(number)
        return gain is not None and gain.low > 0.0

    @property
    def task(self) -> Task:
        """The task with the best settings."""
        best = self.best
        return self.search.task if best is None else tuned(self.search.task, best.values)

    @property
    def steps(self) -> dict[str, int]:
        """Environment steps that the search took, by what they were for."""
        tried = [trial.found for trial in self.trials if trial.found is not None]
        return {
            "search, learning": sum(found.learning_steps for found in tried),
            "search, judging": sum(found.judging_steps for found in tried),
            "final, learning": sum(found.learning_steps for found in self.finals.values()),
            "final, judging": sum(found.judging_steps for found in self.finals.values()),
        }


@checked
def tune(
    search: Tuning,
    storage: PathLike,
    jobs: int = 2,
    on_trial: OnTrial = lambda number, mean: None,
) -> Tuned:
    """Search settings, going on where an earlier call, or another process, is.

    In the end the best few trials and the task as it is are judged on further seeds, since the best
    of many is good by luck in part.

    Args:
        search: What is searched.
        storage: File of the trials; made if it is not there. An SQLite database if its name ends in
            .db or .sqlite, else Optuna's journal, which also works on network drives.
        jobs: Number of processes; a cluster has its own, see `koopman_control.common.cluster`.
        on_trial: Called with each trial that this process has judged.

    Returns:
        What was found, other processes' trials included.

    Raises:
        ImportError: Optuna is not installed.
        ValueError: The file holds another search.
        FileFormatError: It is damaged, or of another kind.
        FileNotWritableError: It cannot be written.
    """
    positive_int("jobs", jobs)
    kept = _Kept(search, Path(storage))
    try:
        while mine := kept.mine():
            if mine == [None]:
                time.sleep(PATIENCE)
                continue
            kept.judge([trial for trial in mine if trial is not None], jobs, on_trial)
    finally:
        kept.release()
    return kept.decided(jobs)


class _Kept:
    """The study in its file."""

    def __init__(self, search: Tuning, path: Path) -> None:
        self._optuna: Any = optional_package("optuna", "tuning")
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        ensure_writable_folder(path.parent)
        self._search, self._path = search, path
        self._claims: dict[int, Claim] = {}
        with self._alone():
            try:
                self._study = self._optuna.create_study(
                    storage=self._storage(), study_name="settings", direction="maximize",
                    load_if_exists=True,
                )  # fmt: skip
                self._study.get_trials(deepcopy=False)
            except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
                raise _no_trials(path, error) from error
            self._require_same()
            if not self._study.get_trials(deepcopy=False):
                self._study.enqueue_trial({n: r.own for n, r in search.ranges().items()})

    def mine(self) -> list[Any]:
        """Return trials to judge: those that a process left when it ended, or new ones.

        `[None]` if others still judge the last, nothing if all are done.
        """
        search, states = self._search, self._optuna.trial.TrialState
        with self._alone():
            known = self._study.get_trials(deepcopy=False)
            begun = [trial for trial in known if trial.state != states.WAITING]
            open_ones = [trial for trial in begun if trial.state == states.RUNNING]
            names = {*search.ranges()}
            mine = [
                trial if {*trial.params} == names else self._asked(trial.number)
                for trial in open_ones
                if self._take(trial.number)
            ]
            whole = -(-len(begun) // search.batch) * search.batch
            goal = whole if mine else whole + search.batch * (len(begun) == whole)
            for number in range(len(begun), min(goal, search.trials)):
                mine.append(self._asked(number))
            return mine or ([None] if open_ones else [])

    def _asked(self, number: int) -> Any:
        """Propose settings; a trial that was left before it had all of them gets the same."""
        study, running = self._study, self._optuna.trial.TrialState.RUNNING
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls parts of its sampler experimental
            study.sampler = self._sampler(number, 0)
            left = [t for t in study.get_trials(deepcopy=False) if t.number == number]
            if left and left[0].state == running:
                trial = self._optuna.trial.Trial(study, left[0]._trial_id)
            else:
                trial = study.ask()
            getattr(trial, "relative_params", None)  # now, with this sampler
            for index, (name, values) in enumerate(self._search.ranges().items(), 1):
                study.sampler = self._sampler(number, index)
                values.suggested(trial, name)
        self._take(trial.number)
        return trial

    def _sampler(self, number: int, index: int) -> Any:
        """Return the sampler of a trial, or of one of its settings, with a seed of its own."""
        seed = int(np.random.SeedSequence([SEED, number, index]).generate_state(1)[0])
        return self._optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)

    def judge(self, trials: Sequence[Any], jobs: int, on_trial: OnTrial) -> None:
        """Judge trials, and write each down as soon as it is done."""
        search = self._search
        resets = range(FIRST_EVALUATION, FIRST_EVALUATION + search.episodes)
        units = [
            _Unit(trial.number, tuned(search.task, trial.params), FIRST_LEARNING + k, resets)
            for trial in trials
            for k in range(search.seeds)
        ]
        for number, found in _judgements(units, search.seeds, jobs):
            with self._alone():
                self._tell(number, found)
            self._claims.pop(number).release()
            on_trial(number, None if found.error else found.mean)

    def release(self) -> None:
        """Leave trials that are not done to others, or to the next call."""
        for claim in self._claims.values():
            claim.release()
        self._claims.clear()

    def _tell(self, number: int, found: Judgement) -> None:
        states = self._optuna.trial.TrialState
        by_number = {trial.number: trial for trial in self._study.get_trials(deepcopy=False)}
        storage = self._study._storage
        storage.set_trial_user_attr(by_number[number]._trial_id, "found", vars(found))
        if found.error:  # the sampler takes what was given up for worse than anything
            self._study.tell(number, state=states.PRUNED)
        else:
            self._study.tell(number, found.mean)

    def decided(self, jobs: int) -> Tuned:
        """Compare the best trials with the task as it is, and return all that is known."""
        claim = Claim(self._beside("final.claim"))
        while not claim.take():
            time.sleep(PATIENCE)
        try:
            search, trials = self._search, self._trials()
            good = [t for t in trials if t.found is not None and not t.found.error]
            good.sort(key=lambda t: (-t.found.mean if t.found else 0.0, t.number))
            finalists = {GIVEN: search.task}
            finalists |= {t.number: tuned(search.task, t.values) for t in good[:FINALISTS]}
            known = self._study.user_attrs.get("finals", {})
            finals = {int(n): _read(found) for n, found in known.items()}
            resets = range(FINAL_EVALUATION, FINAL_EVALUATION + 2 * search.episodes)
            units = [
                _Unit(number, task, FINAL_LEARNING + k, resets)
                for number, task in finalists.items()
                if number not in finals
                for k in range(search.seeds + 1)
            ]
            for number, found in _judgements(units, search.seeds + 1, jobs):
                finals[number] = found
                kept = {str(n): vars(f) for n, f in sorted(finals.items())}
                with self._alone():
                    self._study.set_user_attr("finals", kept)
        finally:
            claim.release()
        return Tuned(search, trials, dict(sorted(finals.items())), self._importance())

    def _trials(self) -> tuple[Tried, ...]:
        with _faults(self._path):
            known = self._study.get_trials(deepcopy=False)
        found = [(t, t.user_attrs.get("found")) for t in known]
        return tuple(
            Tried(t.number, dict(t.params), None if f is None else _read(f)) for t, f in found
        )

    def _importance(self) -> dict[str, float]:
        """Return the importance of each setting by PED-ANOVA, if there are enough trials."""
        importance = self._optuna.importance
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = importance.get_param_importances(
                    self._study, evaluator=importance.PedAnovaImportanceEvaluator()
                )
        except (ValueError, RuntimeError):  # too few trials, or all alike
            return {}
        return {name: float(share) for name, share in found.items()}

    def _storage(self) -> Any:
        storages = self._optuna.storages
        if self._path.suffix in DATABASES:
            return storages.RDBStorage(
                f"sqlite:///{self._path.resolve()}",
                engine_kwargs={"connect_args": {"timeout": 60}},
            )
        return storages.JournalStorage(storages.journal.JournalFileBackend(str(self._path)))

    def _require_same(self) -> None:
        """Bind the file to the task, the settings, the seeds and the versions."""
        search = self._search
        ours: dict[str, Any] = {
            "task": f"{search.task.name} {fingerprint(search.task)}",
            "settings": ", ".join(search.ranges()),
            "seeds": search.seeds,
            "episodes": search.episodes,
            **package_versions(),
        }
        theirs = self._study.user_attrs.get("searched")
        if theirs is None:
            self._study.set_user_attr("searched", ours)
        elif theirs != ours:
            names = sorted(n for n in {*ours, *theirs} if ours.get(n) != theirs.get(n))
            differ = ", ".join(f"{n} {theirs.get(n)} (now {ours.get(n)})" for n in names)
            raise ValueError(
                f"{self._path} holds a search with {differ}; choose another file, or restore what "
                "it was begun with"
            )

    def _take(self, number: int) -> bool:
        claim = Claim(self._beside(f"{number}.claim"))
        if number in self._claims or not claim.take():
            return False
        self._claims[number] = claim
        return True

    def _beside(self, name: str) -> Path:
        return self._path.with_name(f".{self._path.name}-{name}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Work on the file while no other process does."""
        claim = Claim(self._beside("lock"))
        while not claim.take():
            time.sleep(0.01)
        try:
            with _faults(self._path):
                if self._path.suffix not in DATABASES:
                    _cut_torn_line(self._path)
                yield
        finally:
            claim.release()


def _cut_torn_line(path: Path) -> None:
    """Cut off what a full disk or a kill left of a line, which Optuna would take for damage."""
    if not path.is_file():
        return
    with path.open("rb+") as file:
        end = last = file.seek(0, 2)
        while last and file.seek(last - 1) >= 0 and file.read(1) != b"\n":
            last -= 1
        if last < end and last:  # else it has no line at all, and is something else
            file.truncate(last)


def _judgements(units: Sequence[_Unit], seeds: int, jobs: int) -> Iterator[tuple[int, Judgement]]:
    """Judge units and put those of a trial together, in the order of their learning seeds."""
    parts: dict[int, dict[int, Judgement]] = {}
    for unit, found in in_processes(_judged, units, min(jobs, max(1, len(units)))):
        lost = isinstance(found, WorkerLostError)
        judged = Judgement(error=f"{type(found).__name__}: {found}") if lost else found
        of_trial = parts.setdefault(unit.number, {})
        of_trial[unit.learning_seed] = judged  # type: ignore[assignment]
        if len(of_trial) == seeds:
            yield unit.number, _together([of_trial[seed] for seed in sorted(of_trial)])


def _read(found: Mapping[str, Any]) -> Judgement:
    return Judgement(**{**found, "returns": tuple(found["returns"])})


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Say in a sentence what is wrong with a file of trials."""
    try:
        yield
    except OSError as error:
        raise FileNotWritableError(
            f"cannot write {path}: {error.strerror or error}; make room, or choose another file"
        ) from error
    except FileFormatError:
        raise
    except Exception as error:
        kinds = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
        inside = "optuna" in kinds or "sqlalchemy" in kinds or "json" in kinds
        if not inside and "Invalid log format" not in str(error):
            raise
        raise _no_trials(path, error) from error


def _no_trials(path: Path, error: Exception) -> FileFormatError:
    reason = " ".join(str(error.__cause__ or error).split("\n", 1)[0].split())
    return FileFormatError(
        f"{path} is no file of trials, or it cannot be read or written ({reason}); choose another "
        "file"
    )

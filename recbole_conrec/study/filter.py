"""What the offline filter drops, how often wrongly, and what that does to the variety of lists.

Judged on the test part, in two ways (ours). What happened: its dislikes and likes of items that are new to the user;
the logged recommender showed each of them. What would be shown: for each user of the test part, the list of a
recommender that uses only likes (:func:`recbole_conrec.filtering.future.top_lists`); of the items that the filter keeps
the first ``shown`` are shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbole_conrec.filtering.calibrate import by_group, choose, sizes
from recbole_conrec.filtering.online import NegativeFilter
from recbole_conrec.filtering.predict import SetOptions, predict
from recbole_conrec.options.schema import Count, Options, Text
from recbole_conrec.runs.restore import TrainedRun
from recbole_conrec.study.filter_facts import Facts, Judged, Rule

THETAS = tuple(round(0.3 + 0.05 * n, 2) for n in range(14))  # 0.30 .. 0.95
TARGETS = (0.01, 0.05, 0.1, 0.2)  # shares of likes that may be lost, for calibration
GROUPS = 3  # of users, for calibration by activity


class FilterStudyOptions(Options):
    """Options of ``recbole-conrec study filter``."""

    run: Text
    """Folder of the trained run."""
    out: Text | None = None
    """Folder for the Predict Sets, tables and pictures; null: the folder `filter` inside that of the run."""
    size: Count = 40
    """Largest number of items in a Predict Set; an eighth, a quarter and a half of it are measured as well."""
    lists: Count = 100
    """Number of candidates of each user."""
    shown: Count = 20
    """Number of the remaining candidates that are shown."""
    overwrite: bool = False
    """Remove the sets of another prediction from the folder instead of raising an error."""

    @property
    def folder(self) -> Path:
        """Where the study is written."""
        return Path(self.run) / "filter" if self.out is None else Path(self.out)


@dataclass(frozen=True)
class Study:
    """The result of :func:`study`.

    Attributes:
        title: model and data set.
        rows: one dict per population and rule: population, rule, size, theta, and the figures of
            :meth:`Facts.measure`.
        calibrated: one dict per population, target and kind: population, target, kind, size, theta, validation (share
            of its likes lost there), and the figures.
        counts: population -> users, dislikes, likes, candidates.
        auc: population -> probability that a dislike scores higher than a like (0.5: the scores do not separate them).
        size, shown: items in a Predict Set, items shown of a list.
    """

    title: str
    rows: list[dict]
    calibrated: list[dict]
    counts: dict[str, dict]
    auc: dict[str, float]
    size: int
    shown: int


def study(run: TrainedRun, options: FilterStudyOptions) -> Study:
    """Predict as of both cuts, into the folders ``valid`` and ``test`` of ``options.folder``, and measure."""
    for part in ("valid", "test"):
        predict(run, options.folder / part, SetOptions(at=part, size=options.size, overwrite=options.overwrite))
    valid, test = (NegativeFilter.load(options.folder / part) for part in ("valid", "test"))
    facts = Facts(run, options.lists, options.shown)
    rules = facts.references(test.sets)
    scored = {}
    for size in sizes(options.size):
        scored[size] = facts.scores(test.sets.cut(size))
        rules += [Rule("filter", size, theta, _above(scored[size], theta)) for theta in THETAS]
    rows = [
        {
            "population": name,
            "rule": rule.name,
            "size": rule.size,
            "theta": rule.theta,
            **facts.measure(rule.dropped, members),
        }
        for name, members in facts.populations.items()
        for rule in rules
    ]
    calibrated = [
        {"population": name, **row, **facts.measure(dropped, members)}
        for row, dropped in _calibrated(run, valid, test, facts, scored)
        for name, members in facts.populations.items()
    ]
    return Study(
        f"{run.method} on {run.dataset}",
        rows,
        calibrated,
        facts.counts(),
        {name: facts.auc(scored[options.size], members) for name, members in facts.populations.items()},
        options.size,
        options.shown,
    )


def _above(scores: Judged, theta: float) -> Judged:
    limit = np.float32(theta)
    return Judged(scores.dislikes > limit, scores.likes > limit, scores.lists > limit)


def _calibrated(
    run: TrainedRun, valid: NegativeFilter, test: NegativeFilter, facts: Facts, scored: dict[int, Judged]
) -> Iterator[tuple[dict, Judged]]:
    """For each target, with one theta and with one per group: what was chosen on validation, and what it drops."""
    for share in TARGETS:
        for groups in (1, GROUPS):
            chosen = choose(run, valid, "lost", share, groups)
            limit, scores = by_group(chosen, test.activity), scored[chosen["size"]]  # row r is user r + 1
            dropped = Judged(
                scores.dislikes > limit[facts.dislikes[0] - 1],
                scores.likes > limit[facts.likes[0] - 1],
                scores.lists > limit[facts.users - 1][:, None],
            )
            lost = sum(above * n for above, n in zip(chosen["above"], chosen["n"], strict=True) if n)
            yield (
                {
                    "target": share,
                    "kind": "by activity" if groups > 1 else "global",
                    "size": chosen["size"],
                    "theta": chosen["values"],
                    "validation": lost / sum(chosen["n"]),
                },
                dropped,
            )

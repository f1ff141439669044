"""The data options of the YAML files, read once into one checked object."""

import json
from dataclasses import dataclass, fields

from recbole_conrec.data.events import Window
from recbole_conrec.data.feedback import FeedbackRules
from recbole_conrec.data.splits import SplitRule
from recbole_conrec.utils.errors import UserError

# RecBole's own options that change which events exist.
_FILTERS = (
    "rm_dup_inter",
    "val_interval",
    "filter_inter_by_user_or_item",
    "user_inter_num_interval",
    "item_inter_num_interval",
)


@dataclass(frozen=True)
class SwingOptions:
    """The `swing` option; see recbole_conrec.data.swing.swing for each."""

    alpha1: float = 15.0
    alpha2: float = 0.0
    theta: float = 0.3
    min_common: int = 1
    top: int = 100
    max_user_items: int = 1000
    max_item_users: int = 1000


@dataclass(frozen=True)
class Protocol:
    """What defines instances, truth and candidates: equal for every row that is compared with another.

    See properties/overall.yaml for each option. `digest` is the text that goes into the data set's fingerprint.
    """

    feedback: FeedbackRules
    split: SplitRule
    window: Window
    low_activity: int
    long_tail: int
    candidates: int
    candidate_seed: int
    digest: str

    @classmethod
    def of(cls, config) -> "Protocol":
        """Read a RecBole Config. UserError names an option that is missing, unknown or out of range."""
        counts = {name: _whole(config, name) for name in ("low_activity", "long_tail", "candidates", "candidate_seed")}
        if counts["candidates"] < 2:
            raise UserError(f"candidates: {counts['candidates']} is too few; give at least 2")
        options = {name: _mapping(config, name) for name in ("feedback", "split", "window")}
        return cls(
            feedback=_build(FeedbackRules, options["feedback"], "feedback", FeedbackRules.parse, ("negative",)),
            split=_build(SplitRule, options["split"], "split", SplitRule, ("by",)),
            window=_build(Window, options["window"], "window", Window, ("unit", "length")),
            digest=json.dumps({**options, **counts, **{f: config[f] for f in _FILTERS}}, sort_keys=True, default=str),
            **counts,
        )


def swing_options(config) -> SwingOptions:
    """The `swing` option of a RecBole Config, defaults where it is silent."""
    return _build(SwingOptions, config["swing"] or {}, "swing", SwingOptions, ())


def context_kinds(config) -> str:
    """The `context` option: 'negative' or 'both'."""
    if config["context"] not in ("negative", "both"):
        raise UserError(f"context: '{config['context']}' is unknown; give negative or both")
    return config["context"]


def _mapping(config, name: str) -> dict:
    if not isinstance(config[name], dict):
        raise UserError(f"{name}: {config[name]!r} must be a mapping; properties/overall.yaml shows its keys")
    return config[name]


def _whole(config, name: str) -> int:
    value = config[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UserError(f"{name}: {value!r} must be a whole number, 0 or more")
    return value


def _build(cls, options: dict, name: str, make, needed: tuple[str, ...]):
    known = [field.name for field in fields(cls)]
    unknown = [key for key in options if key not in known]
    absent = [key for key in needed if key not in options]
    if unknown or absent:
        what = f"'{unknown[0]}' is unknown" if unknown else f"'{absent[0]}' is missing"
        raise UserError(f"{name}: {what}; its keys are {', '.join(known)}")
    return make(**options)

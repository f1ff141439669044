"""What every result.json holds, typed: a record that lacks something is named and run again, and ends no board."""

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from recbole_conrec.options.schema import Natural, NonNegative, Number, Options
from recbole_conrec.utils.errors import UserError


class _Part(Options):
    """A part of a record, which may hold more than is listed."""

    model_config = ConfigDict(extra="allow")


class Figure(_Part):
    value: Number | None
    n: Natural


class Cost(_Part):
    fit_s: NonNegative
    eval_s: NonNegative
    peak_mb: NonNegative
    parameters: NonNegative


class Stage(_Part):
    name: str
    valid: Number | None = None
    alignment: Number | None = None
    validation: list[dict[str, Any]] = Field(default_factory=list)


class Split(_Part):
    by: str
    ratio: Any = None
    cuts: Any = None


class Window(_Part):
    unit: str
    length: Number | None


class Feedback(_Part):
    negative: str
    positive: str | None = None


def _sized(given: Any) -> Any:
    return {"size": given} if isinstance(given, int) else given


class _Candidates(_Part):
    size: Natural = 20
    pool: str = "neutral"


Candidates = Annotated[_Candidates, BeforeValidator(_sized)]


class RecordedConfig(_Part):
    """The options that tables and pages show."""

    valid_metric: str
    split: Split
    window: Window
    feedback: Feedback
    candidates: Candidates
    candidate_seed: Natural
    low_activity: Natural
    long_tail: Natural
    exclude: str = "disliked"
    as_of: str = "cut"
    beam: Any = None
    normalise: Any = None
    candidate_scores: Annotated[list[str] | None, BeforeValidator(lambda v: [v] if isinstance(v, str) else v)] = None


class Hardware(_Part):
    gpu: str | None
    cpus: int | None
    threads: int


class RecordFields(_Part):
    """The content of result.json."""

    model: str
    dataset: str
    identity: str
    seed: Natural
    data_fingerprint: str
    outcomes_sha256: str
    metrics: Annotated[dict[str, Figure], Field(min_length=1)]
    valid: dict[str, Number] = Field(default_factory=dict)
    cost: Cost
    stages: list[Stage]
    curve: list[dict[str, Any]]
    instances: dict[str, Natural]
    config: RecordedConfig
    versions: dict[str, str]
    hardware: Hardware


def fault(result: Any) -> str:
    """What is wrong with the content of a result.json; '' if nothing is."""
    try:
        RecordFields.read(result)
        if missing := {"recbole-conrec", "torch"} - set(result["versions"]):
            raise UserError(f"versions.{min(missing)} is needed")
    except UserError as error:
        return f"keys are missing or mistyped: {error}"
    return ""

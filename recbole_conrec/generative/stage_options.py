"""The options of a stage: what all stages share, what supervised ones and GRPO add, and what a prompt shows."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from recbole_conrec.data.events import Window
from recbole_conrec.llm.grpo import GRPOOptions
from recbole_conrec.llm.sft import SFTOptions
from recbole_conrec.options.schema import Count, Natural, Options, Positive
from recbole_conrec.utils.errors import UserError


class StageOptions(Options):
    """What every entry of ``stages`` takes."""

    name: str
    """Its name in records and on the command line: --stages.NAME.OPTION=VALUE."""
    task: str
    """What the stage shows the model: one of the method's tasks."""
    skip: bool = False
    """Leave the stage out; so a YAML can hold a stage that --stages.NAME.skip=false turns on."""
    algorithm: str | None = None
    """How the model learns: sft, grpo, or a function of your own as package.module:function; null: the task's."""
    algorithm_options: dict[str, Any] = Field(default_factory=dict)
    """What a function of your own reads; the built-in algorithms read the stage's other options."""
    evaluate_every: Natural | None = None
    """Steps between two validations; null or 0: only at the end of the stage."""
    save_every: Count = 500
    """Steps between two checkpoints, from which an interrupted stage resumes."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """What is validated and kept is a moving average of the weights, which keeps this share of itself at each step (.99
    averages about the last 100 steps, fewer at the start); 0: the weights themselves."""
    select: Literal["best", "last"] = "best"
    """Which weights the stage ends with: the best on validation (those it began with included), or the last."""


class SFTStage(StageOptions, SFTOptions):
    """A supervised stage."""


class GRPOStage(StageOptions, GRPOOptions):
    """A stage of group-relative policy optimisation."""

    REWARDS: ClassVar[tuple[int, str] | None] = None
    """How many rewards the task has, and what they are called; None: any number."""
    samples: Count = 2000
    """Training instances that become prompts, at most."""

    @field_validator("reward_weights")
    @classmethod
    def _one_each(cls, weights: tuple[float, ...] | None) -> tuple[float, ...] | None:
        number, names = cls.REWARDS or (None, "")
        if weights is not None and number not in (None, len(weights)):
            raise ValueError(f"{len(weights)} weights; expected {number}, of {names}")
        return weights


class StageWindow(Options):
    """A stretch of time before or after t0."""

    unit: Literal["window", "days", "seconds", "events"]
    """What the length counts; window: shares of the data set's option `window`, whatever that counts (ours)."""
    length: Positive | None
    """How long it is; null: no limit."""

    def resolve(self, protocol: Window, where: str) -> Window:
        """As a Window of the log. ``protocol`` is the data set's own; ``where`` names the option in an error."""
        if self.unit != "window":
            return Window(unit=self.unit, length=self.length)
        if self.length is None or protocol.length is None:
            raise UserError(
                f"{where}: {self.length} times the option `window` ({protocol.length} {protocol.unit}) is no length; "
                "give a share of a window that has one, or a unit of days, seconds or events"
            )
        length = self.length * protocol.length
        return Window(unit=protocol.unit, length=max(round(length), 1) if protocol.unit == "events" else length)


class PromptOptions(Options):
    """What the prompts of a stage show; null: as the method's option of that name."""

    context: Literal["negative", "both"] | None = None
    """Feedback in a prompt: dislikes only, or dislikes and likes."""
    history: Natural | None = None
    """Events in a prompt; null or 0: as the method's."""


class WindowedPromptOptions(PromptOptions):
    """What prompts show that look back only so far."""

    window: StageWindow | None = None
    """How far back from t0 a prompt looks; null: everything."""


class Clean(Options):
    """Data cleaning before a stage: prompts whose likeliest answers are too close to what the user will like."""

    threshold: float = Field(0.6, ge=-1, le=1)
    """The cosine above which an answer is too close."""
    factor: Count = 2
    """How often such a prompt is shown instead of once (ours: the paper says "augmented")."""

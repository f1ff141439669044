"""The options of a run that belong to no room of their own: where it runs, RecBole's training loop, the evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from recbole_conrec import registry
from recbole_conrec.options.schema import Count, Natural, NonNegative, Options, Positive, Seed, Several, Text
from recbole_conrec.runs.present import PresentOptions


def _as_list(given: Any) -> Any:
    return given if isinstance(given, list | tuple) else [given]


def _once(given: tuple) -> tuple:
    if twice := [str(value) for value in dict.fromkeys(given) if given.count(value) > 1]:
        raise ValueError(f"{', '.join(twice)} is given twice; expected each value once")
    return given


class ChoiceOptions(Options):
    """Which method runs on which data set, as make_config leaves them in a Config."""

    method: str
    """Name or dotted path of the method."""
    dataset: str
    """Name of the data set."""
    model_class: str | None = None
    """Dotted path of the method's class; null: that of its name."""

    @property
    def network(self) -> type:
        """The method's class."""
        return registry.find_model(self.model_class or self.method)


class PlaceOptions(Options):
    """Where a run happens, and how loudly; of these, figures depend on ``seed``, and by rounding on ``threads``."""

    data_path: Text = "dataset/"
    """Folder that holds NAME/NAME.inter."""
    checkpoint_dir: Text = "saved"
    """Folder of runs, stages, semantic IDs and caches."""
    seed: Seed = 2020
    """Seed of training."""
    reproducibility: bool = True
    """Deterministic kernels."""
    threads: Count = 1
    """Threads of the run on the CPU; with another number sums round differently, and training ends elsewhere."""
    use_gpu: bool = True
    """Whether a GPU is used where there is one."""
    gpu_id: Text | None = None
    """GPUs that may be used, as in CUDA_VISIBLE_DEVICES; '' for none."""
    show_progress: bool = True
    """Progress bars."""
    state: Text | None = "WARNING"
    """Level of RecBole's messages that reach the terminal: DEBUG, INFO, WARNING, ERROR or CRITICAL."""
    report_to: Annotated[
        Several[Literal["tensorboard", "wandb", "mlflow", "codecarbon"]], BeforeValidator(_as_list)
    ] = ()
    """Trackers that get losses, validation, rewards, times and the final figures of a run, see
    recbole_conrec/runs/trackers.py; codecarbon: the energy of the run, in its record. ``[]``: nothing is written."""

    @field_validator("state")
    @classmethod
    def _level(cls, state: str | None) -> str | None:
        levels = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
        if (state or "WARNING").upper() not in levels:
            raise ValueError(f"'{state}' is none of {', '.join(levels)}")
        return state


class EvaluationOptions(Options):
    """What is measured."""

    metrics: Annotated[Several[str], BeforeValidator(_as_list)] = ("HR", "FHR", "FRecall", "LUF", "LIF", "CandAcc")
    """What is printed and may select: our metrics (a record has them all), RecBole's of lists by name, or classes of
    your own as package.module:Class."""
    topk: Annotated[Several[Count], Field(min_length=1), AfterValidator(_once), BeforeValidator(_as_list)] = (5, 10, 20)
    """The values of K; the largest is the length of every list."""
    valid_metric: str = "FRecall@20"
    """What early stopping and model selection look at, on the validation instances."""
    present: PresentOptions = PresentOptions()
    """Recent dislikes of all users as a prior of the lists, see recbole_conrec/runs/present.py."""
    contrast_scoring: bool = True
    """Also score candidates freed of popularity (CandAcc.contrast), with weights by validation, which is scored once
    more."""
    eval_batch_size: Count = 512
    """Instances per batch of the evaluation."""
    tail_ratio: Positive = 0.1
    """What TailPercentage counts as the tail: this share of the items with training dislikes, the least popular; above
    1: those with at most this number of them."""
    metric_decimal_place: Natural = 6
    """Decimals of the figures that RecBole rounds; records keep full precision."""


class ClipOptions(Options):
    """Arguments of torch's clip_grad_norm_."""

    max_norm: Positive
    """The largest norm of the gradient."""
    norm_type: Positive = 2.0
    """The norm: 2 is the Euclidean one."""
    error_if_nonfinite: bool = False
    """Whether a gradient that is no finite number ends the run."""


class SamplingOptions(Options):
    """RecBole's sampling of wrong items."""

    distribution: Literal["uniform", "popularity"] = "uniform"
    """How items are drawn."""
    sample_num: Count = 1
    """Wrong items for each instance."""
    alpha: NonNegative = 1.0
    """Exponent of the popularity."""
    dynamic: bool = False
    """Whether the model picks, of `candidate_num` drawn items, the one with the highest score."""
    candidate_num: Natural = 0
    """Items that are drawn where `dynamic` is true."""


def _sampling(given: Any) -> Any:
    """None also for RecBole's forms of null in a Config, mappings whose distribution is 'none'."""
    none = isinstance(given, dict) and given.get("distribution", "") in ("none", "None", None)
    return None if none else given


class LoopOptions(Options):
    """RecBole's training loop; methods that are trained in stages read none of these."""

    epochs: Natural = 100
    """Passes over the training instances, at most; early stopping may end earlier."""
    train_steps: Count | None = None
    """In place of `epochs`: as many epochs as make this number of steps, so that small data are seen more often."""
    stopping_step: Natural = 5
    """Validations without a better `valid_metric` before training stops."""
    eval_step: Natural = 1
    """Epochs between two validations."""
    train_batch_size: Count = 256
    """Instances per step."""
    learner: Literal["adam", "sgd", "adagrad", "rmsprop", "sparse_adam"] = "adam"
    """The optimiser."""
    learning_rate: NonNegative = 0.001
    """Its learning rate."""
    weight_decay: NonNegative = 0.0
    """L2 penalty."""
    clip_grad_norm: ClipOptions | None = None
    """Arguments of torch's clip_grad_norm_; null: no clipping."""
    train_neg_sample_args: Annotated[SamplingOptions | None, BeforeValidator(_sampling)] = None
    """RecBole's sampling of wrong items; null: none, as losses are over all items (CE)."""
    shuffle: bool = True
    """Whether training instances are shuffled before each epoch."""
    enable_amp: bool = False
    """Mixed precision."""
    enable_scaler: bool = False
    """Gradient scaling in mixed precision."""


@dataclass(frozen=True)
class RunOptions:
    """What the harness reads of a Config, typed; the Config itself is for the classes that RecBole builds with it."""

    config: Any
    choice: ChoiceOptions
    place: PlaceOptions
    evaluation: EvaluationOptions
    loop: LoopOptions

    @classmethod
    def of(cls, config: Any) -> "RunOptions":
        """Of a RecBole Config."""
        choice, place = ChoiceOptions.of(config), PlaceOptions.of(config)
        return cls(config, choice, place, EvaluationOptions.of(config), LoopOptions.of(config))


class HistoryOptions(Options):
    """Histories of RecBole's sequential models."""

    MAX_ITEM_LIST_LENGTH: Count = 50
    """Events in the history of a sequential model, at most; the latest stay."""


LOOP: frozenset[str] = frozenset(LoopOptions.model_fields)
# options of the loop that methods trained in stages do not read, and what they read instead
STAGES_INSTEAD: Mapping[str, str] = {
    **dict.fromkeys(LOOP, "stages"),
    "epochs": "stages.NAME.epochs",
    "learning_rate": "stages.NAME.lr",
    "train_batch_size": "stages.NAME.batch_size",
    "weight_decay": "stages.NAME.weight_decay",
    "clip_grad_norm": "stages.NAME.max_grad_norm",
    "enable_amp": "stages.NAME.bf16",
}
# options of RecBole that nothing here reads, and what is read instead
NOT_HONOURED: Mapping[str, str] = {
    "eval_args": "split",
    "repeatable": "",
    "valid_metric_bigger": "",
    "save_dataset": "",
    "dataset_save_path": "",
    "save_dataloaders": "",
    "dataloaders_save_path": "",
    "config_file": "config_files",
    "log_wandb": "",
    "wandb_project": "",
    "worker": "",
}

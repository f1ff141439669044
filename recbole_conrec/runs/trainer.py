"""RecBole's training loops with this benchmark's evaluation and checkpoints.

``harnessed(StockTrainer)`` keeps the stock ``fit`` (epochs, early stopping, optimiser) and replaces what it cannot
do here: an evaluation per instance through the model contract (``recommend`` and ``score_candidates``), and saving.
"""

import contextlib
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import recbole.trainer.trainer as recbole_trainer
import torch
from recbole.trainer import Trainer
from recbole.utils import get_trainer
from tqdm import tqdm

from recbole_conrec import registry
from recbole_conrec.data.counts import training_dislikes
from recbole_conrec.evaluation.answers import gather_answers
from recbole_conrec.evaluation.collector import NegativeFeedbackCollector, variants
from recbole_conrec.evaluation.plugin import Evaluator
from recbole_conrec.evaluation.registry import columns
from recbole_conrec.evaluation.summary import single
from recbole_conrec.runs.calibration import Calibration, calibrated
from recbole_conrec.runs.checkpoints import CheckpointMixin
from recbole_conrec.runs.options import RunOptions
from recbole_conrec.runs.trackers import Listener
from recbole_conrec.utils.distributed import my_batches
from recbole_conrec.utils.errors import UserError

STEADIER = "lower learning_rate, or set clip_grad_norm, e.g. {max_norm: 1}"


@dataclass(frozen=True)
class Measured:
    """One evaluation.

    Attributes:
        result: RecBole's dict, such as {'hr@20': 0.1}.
        outcomes: float64 [N] of every metric, NaN where an instance does not count.
        figures: of all lists together, by name, as a record holds them; only of an evaluation on the test.
    """

    result: dict[str, float]
    outcomes: dict[str, np.ndarray]
    figures: dict[str, dict]


class HarnessMixin(CheckpointMixin):
    """Evaluation by instance and safe, resumable checkpoints, over any RecBole trainer.

    Attributes:
        curve: an entry per epoch; stages: an entry per stage, of methods that are trained in stages.
        listeners: get what training measures, see :meth:`report`.
    """

    stages: list[dict]

    def __init__(self, config, model, run_dir: Path | None = None):
        """``run_dir``: folder of the run; None, as in stock RecBole: a new one, which is never resumed from."""
        with _no_tensorboard():
            super().__init__(config, model)
        asked = RunOptions.of(config)
        self.method, self.place = asked.choice.method, asked.place
        self.evaluation, self.loop = asked.evaluation, asked.loop
        self.eval_collector, self.evaluator = NegativeFeedbackCollector(config), Evaluator(config)
        self.run_dir = run_dir or _new_folder(Path(self.place.checkpoint_dir), type(model).__name__)
        self.curve = []
        self.stages = []
        self.listeners: list[Listener] = []
        self._loader = None
        self._valid_result: dict = {}  # of the last validation
        self._steps_before = 0  # reported steps of what came before the epochs

    # -- training --------------------------------------------------------------------------------------------------
    def report(self, step: int, values: Mapping[str, float]) -> None:
        """Give every listener what was measured at a step."""
        for listener in self.listeners:
            listener(step, values)

    def _report_epoch(self, entry: dict, **more: float) -> None:
        """Report an entry of the curve."""
        valid = {f"valid/{self.evaluation.valid_metric}": entry["valid"]}
        self.report(self._steps_before + entry["epoch"], {**more, **valid, "loss": entry["loss"]})

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        """RecBole's ``fit``; one progress bar over the epochs, a checkpoint after each, resumed if one is there."""
        self._loader = train_data
        if self.loop.train_steps:
            self.epochs = math.ceil(self.loop.train_steps / len(train_data))
        resumed = saved and self._resume()
        bar = tqdm(
            total=self.epochs,
            initial=self.start_epoch,
            desc=f"train {self.method}",
            unit="epoch",
            disable=not show_progress,
        )
        for entry in self.curve:
            self._report_epoch(entry)
        started = time.perf_counter()

        def after_epoch(epoch, score):
            nonlocal started
            bar.update()
            bar.set_postfix_str(f"{self.evaluation.valid_metric} {score:.4f} best {self.best_valid_score:.4f}")
            self.curve.append({"epoch": epoch, "loss": self.train_loss_dict[epoch], "valid": score})
            if saved:
                self._save_last(epoch)
            now = time.perf_counter()
            more = {f"valid/{self._spelt(name)}": value for name, value in self._valid_result.items()}
            rate = self.optimizer.param_groups[0]["lr"]
            self._report_epoch(self.curve[-1], learning_rate=rate, **{"time/epoch": now - started}, **more)
            started = now
            if callback_fn:
                callback_fn(epoch, score)

        # Killed between its last epoch and its result. (RecBole would save the last weights over the best ones.)
        if resumed and (self.cur_step > self.stopping_step or self.start_epoch >= self.epochs):
            return self.best_valid_score, self.best_valid_result
        with bar:
            super().fit(train_data, valid_data, verbose, saved, False, after_epoch)
        if saved and valid_data and not np.isfinite(self.best_valid_score):  # no epoch was validated: see `eval_step`
            self.best_valid_score, self.best_valid_result = self._valid_epoch(valid_data)
            self._save_checkpoint(self.epochs - 1)
        return self.best_valid_score, self.best_valid_result

    def _spelt(self, column: str) -> str:
        """A column's name as users write it; RecBole's is in lower case."""
        known = columns(list(self.evaluation.metrics), self.evaluation.topk)
        return {name.lower(): name for name in known}.get(column, column)

    def _valid_epoch(self, valid_data, show_progress=False):
        """RecBole's; a `valid_metric` that is no number would save no epoch."""
        if not all(bool(torch.isfinite(weights).all()) for weights in self.model.parameters()):
            raise UserError(f"{self.method}: training gave weights that are no finite numbers; {STEADIER}")
        score, result = super()._valid_epoch(valid_data, show_progress)
        if not np.isfinite(score):
            raise UserError(
                f"valid_metric: {self.evaluation.valid_metric} is {score}, as it counts none of the {len(valid_data)} "
                "validation instances; give another one, such as --valid_metric=HR@20, or change `split`"
            )
        self._valid_result = dict(result)
        return score, result

    def _check_nan(self, loss):
        """RecBole's, as one line."""
        if not torch.isfinite(loss):
            raise UserError(f"{self.method}: the loss is {loss.item()} in training; {STEADIER}")

    # -- evaluation ------------------------------------------------------------------------------------------------
    def evaluate(self, eval_data, load_best_model=True, model_file=None, show_progress=False):
        """RecBole's: the figures of a NegativeFeedbackDataset, or of a loader over one; see :meth:`measure`."""
        if not eval_data:
            return None
        if load_best_model:
            self.load(model_file or self.saved_model_file)
        return self.measure(eval_data, Calibration(), show_progress).result

    @torch.no_grad()
    def measure(self, eval_data, calibration: Calibration, show_progress: bool = False) -> Measured:
        """Metrics of the weights as they are over every instance of a data set (or of a loader over one): of the test
        all of them, of other parts those that the option ``metrics`` names.
        """
        data = getattr(eval_data, "_dataset", eval_data)
        self.model.eval()
        batches = my_batches(len(data), self.evaluation.eval_batch_size)  # this process's share of them
        bar = tqdm(batches, desc=f"evaluate {self.method}", unit="batch", disable=not show_progress)
        truth, k = data.truth(data.split), max(self.evaluation.topk)
        metrics = self.eval_collector.metrics if data.split == "test" else self.eval_collector.named
        paired = any("pairs" in metric.needs for metric in metrics) and truth.further is not None
        answers = [calibration.answer(self.model, data, batch, truth, k, paired) for batch in bar]
        ids = torch.tensor([n for batch in batches for n in batch], dtype=torch.int64)
        scorings = calibration.other_scorings(self.model)
        ids, whole = gather_answers(ids, answers, scorings, k, truth.candidates.shape[1])
        self.eval_collector.add(ids, whole.items, whole.scores, whole.pairs)
        struct = self.eval_collector.finish(truth, metrics, training_dislikes(data))
        result = self.evaluator.evaluate(struct)
        figures = {name: single(value, len(truth.next)) for name, value in self.eval_collector.figures.items()}
        scores = {name: given.numpy() for name, given in whole.others.items()}
        if shortened := sum(answer.shortened for answer in answers):
            self.logger.warning(
                f"{shortened} prompts were longer than max_tokens and lost their oldest events; raise max_tokens or "
                "lower history"
            )
        return Measured(
            result,
            {**self.eval_collector.outcomes, **variants(truth, scores, metrics)},
            {**figures, **self.evaluator.figures(result, len(truth.next))},
        )

    def calibrate(self, valid_data, show_progress: bool = False) -> Calibration:
        """Load the best weights, and choose on validation what is added to their scores."""
        self.load(self.saved_model_file)
        data = getattr(valid_data, "_dataset", valid_data)
        self.model.eval()
        return calibrated(self.model, data, self.evaluation, self.place.seed, self.method, show_progress)

    @property
    def cost(self) -> dict[str, float]:
        """What training took, where the trainer knows better than the clock and the process."""
        return {}


class Harness(HarnessMixin, Trainer):
    """RecBole's Trainer under the harness."""


class _Silent:
    """A SummaryWriter that writes nothing."""

    def __getattr__(self, name: str):
        return lambda *args, **kwargs: None


@contextlib.contextmanager
def _no_tensorboard() -> Iterator[None]:
    """Inside, a trainer of RecBole's gets no SummaryWriter, which would write a folder as soon as it exists."""
    stock = recbole_trainer.get_tensorboard
    recbole_trainer.get_tensorboard = lambda logger: _Silent()
    try:
        yield
    finally:
        recbole_trainer.get_tensorboard = stock


def _new_folder(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))


@cache
def harnessed(stock: type) -> type:
    """The harness over a RecBole trainer class."""
    if issubclass(stock, HarnessMixin):
        return stock
    return type(f"Harness{stock.__name__}", (HarnessMixin, stock), {"__doc__": f"{stock.__name__} under the harness."})


def find_trainer(name: str, model_class: Any) -> type:
    """The harness's trainer for a model: its own, or RecBole's epoch loop with our evaluation."""
    own = registry.TRAINERS.get(name) or getattr(model_class, "trainer", None)
    if own:
        return registry.load(own) if isinstance(own, str) else own
    if model_class.__name__ in registry.MODELS:  # RecBole would ask the plugin, which asks here
        return Harness
    return harnessed(get_trainer(model_class.type, model_class.__name__))

"""RecBole's training loops with this benchmark's evaluation and with checkpoints that hold no pickled objects.

``harnessed(StockTrainer)`` keeps the stock ``fit`` (epochs, early stopping, optimiser) and replaces what it cannot
do here: an evaluation per instance through the model contract (``recommend`` and ``score_candidates``), and saving.
"""

import contextlib
import copy
import math
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import recbole.trainer.trainer as recbole_trainer
import torch
from recbole.trainer import S3RecTrainer as StockS3RecTrainer
from recbole.trainer import Trainer
from recbole.utils import get_trainer, init_seed
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from recbole_conrec import registry
from recbole_conrec.data.counts import training_dislikes
from recbole_conrec.evaluation.answers import Answers
from recbole_conrec.evaluation.collector import NegativeFeedbackCollector, variants
from recbole_conrec.evaluation.plugin import Evaluator
from recbole_conrec.evaluation.ranking import answer
from recbole_conrec.evaluation.registry import columns
from recbole_conrec.evaluation.summary import single
from recbole_conrec.runs import contrast
from recbole_conrec.runs.options import ChoiceOptions, EvaluationOptions, LoopOptions, PlaceOptions
from recbole_conrec.runs.present import Present, chosen, wanted
from recbole_conrec.runs.trackers import Listener
from recbole_conrec.utils.damage import check_tensors, has_tensors, set_aside, shapes
from recbole_conrec.utils.distributed import gather_by_id, my_batches, write_once
from recbole_conrec.utils.errors import UserError

WEIGHTS = "model.safetensors"  # the file of a run's weights
STEADIER = "lower learning_rate, or set clip_grad_norm, e.g. {max_norm: 1}"
LAST = "last.pt"  # the state after the last epoch
PAIRS = 3  # items that are scored beside the candidates: a dislike, a like, an exposure


class HarnessMixin(Trainer):
    """Evaluation by instance and safe, resumable checkpoints, over any RecBole trainer.

    Attributes:
        outcomes: float64 [N] of every metric, of the last evaluation.
        figures: of all its lists together, by name, as a record holds them; only of an evaluation on the test.
        curve: an entry per epoch; stages: an entry per stage, of methods that are trained in stages.
        contrast, present: weights of the scoring `contrast` of candidates, and the prior of the lists, once
            :meth:`calibrate` has chosen them.
        listeners: get what training measures, see :meth:`report`.
    """

    stages: list[dict]
    best_valid_score: float
    best_valid_result: dict | None
    train_loss_dict: dict

    def __init__(self, config, model, run_dir: Path | None = None):
        """``run_dir``: folder of the run; None, as in stock RecBole: a new one, which is never resumed from."""
        with _no_tensorboard():
            super().__init__(config, model)
        self.method = ChoiceOptions.of(config).method
        self.place, self.evaluation = PlaceOptions.of(config), EvaluationOptions.of(config)
        self.loop = LoopOptions.of(config)
        self.eval_collector, self.evaluator = NegativeFeedbackCollector(config), Evaluator(config)
        self.run_dir = run_dir or _new_folder(Path(self.place.checkpoint_dir), type(model).__name__)
        self.outcomes: dict[str, np.ndarray] = {}
        self.figures: dict[str, dict] = {}
        self.curve: list[dict] = []
        self.stages = []
        self.contrast: dict[str, float] = {}
        self.present: Present | None = None
        self.listeners: list[Listener] = []
        self._loader: Any = None
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
    @torch.no_grad()
    def evaluate(self, eval_data, load_best_model=True, model_file=None, show_progress=False):
        """Metrics over every instance of a data set (a NegativeFeedbackDataset, or a loader over one): of the test all
        of them, of other parts those that the option ``metrics`` names.

        Leaves the per-instance values in ``self.outcomes``, other figures in ``self.figures``. Returns RecBole's dict,
        such as {'hr@20': 0.1}.
        """
        if not eval_data:
            return None
        if load_best_model:
            self.load(model_file or self.saved_model_file)
        data = getattr(eval_data, "_dataset", eval_data)
        self.model.eval()
        batches = my_batches(len(data), self.evaluation.eval_batch_size)  # this process's share of them
        bar = tqdm(batches, desc=f"evaluate {self.method}", unit="batch", disable=not show_progress)
        truth, k = data.truth(data.split), max(self.evaluation.topk)
        metrics = self.eval_collector.metrics if data.split == "test" else self.eval_collector.named
        paired = any("pairs" in metric.needs for metric in metrics) and truth.further is not None
        answers = [self._answer(data, batch, truth, k, paired) for batch in bar]
        ids = torch.tensor([n for batch in batches for n in batch], dtype=torch.int64)
        ids, whole = gather_answers(ids, answers, self.other_scorings, k, truth.candidates.shape[1])
        self.eval_collector.add(ids, whole.items, whole.scores, whole.pairs)
        struct = self.eval_collector.finish(truth, metrics, training_dislikes(data))
        result = self.evaluator.evaluate(struct)
        figures = {name: single(value, len(truth.next)) for name, value in self.eval_collector.figures.items()}
        self.figures = {**figures, **self.evaluator.figures(result, len(truth.next))}
        scores = {name: given.numpy() for name, given in whole.others.items()}
        others = variants(truth, scores, metrics)
        self.outcomes = {**self.eval_collector.outcomes, **others}
        if shortened := sum(answer.shortened for answer in answers):
            self.logger.warning(
                f"{shortened} prompts were longer than max_tokens and lost their oldest events; raise max_tokens or "
                "lower history"
            )
        return result

    @torch.no_grad()
    def calibrate(self, valid_data, show_progress=False) -> None:
        """Choose on validation what is added to the scores of the best weights: for lists the prior of the option
        `present`, for candidates the weights of the scoring `contrast`.
        """
        self.load(self.saved_model_file)
        data = getattr(valid_data, "_dataset", valid_data)
        self.model.eval()
        batches = my_batches(len(data), self.evaluation.eval_batch_size)
        bar = tqdm(batches, desc=f"contrast {self.method}", unit="batch", disable=not show_progress)
        if self.evaluation.contrast_scoring:
            self.contrast = contrast.calibrated(self.model, data, bar, self.device)
        options = self.evaluation.present
        if wanted(self.model, options, data.protocol.as_of):
            k, size = max(self.evaluation.topk), self.evaluation.eval_batch_size
            self.present = chosen(self.model, data, options, k, size, self.place.seed, self.device)

    @property
    def cost(self) -> dict[str, float]:
        """What training took, where the trainer knows better than the clock and the process."""
        return {}

    @property
    def other_scorings(self) -> tuple[str, ...]:
        """Names of the model's scorings of candidates besides the one that fills CandAcc."""
        own = tuple(getattr(self.model, "scorings", ()))[1:]
        return (*own, contrast.CONTRAST) if self.contrast else own

    def _answer(self, data, batch: range, truth, k: int, paired: bool) -> Answers:
        """The model's answers to a range of instances, on the CPU. ``paired``: whether pairs are scored, too."""
        interaction = data[np.arange(batch.start, batch.stop)].to(self.device)
        candidates = torch.from_numpy(truth.candidates[batch.start : batch.stop]).to(self.device)
        pairs: torch.Tensor | None = None
        if paired:
            pairs = torch.from_numpy(truth.paired[batch.start : batch.stop]).to(self.device)
        prior = None if self.present is None else self.present.of(data, interaction)
        found = answer(self.model, interaction, candidates, k, data, pairs, prior)
        others = {name: scores.float().cpu() for name, scores in found.others.items()}
        if self.contrast and found.scores is not None:
            terms = contrast.terms(self.model, data, interaction, candidates)
            freed = contrast.combine(found.scores.cpu().numpy(), terms, self.contrast)
            others[contrast.CONTRAST] = torch.from_numpy(freed).float()
        return Answers(
            None if found.items is None else found.items.cpu(),
            None if found.scores is None else found.scores.float().cpu(),
            others,
            found.shortened,
            None if found.pairs is None else found.pairs.float().cpu(),
        )

    # -- files -----------------------------------------------------------------------------------------------------
    def _save_checkpoint(self, epoch, verbose=True, **kwargs):
        """The best model so far, as safetensors."""
        self.saved_model_file = str(self.run_dir / WEIGHTS)
        state = {k: v.detach().cpu().contiguous().clone() for k, v in self.model.state_dict().items()}
        write_once(self.saved_model_file, lambda path: save_file(state, path))

    def load(self, file) -> None:
        self.model.load_state_dict(load_file(str(file)))

    def _save_last(self, epoch: int) -> None:
        write_once(self.run_dir / LAST, lambda path: torch.save(self._state(epoch), path))

    def _state(self, epoch: int) -> dict[str, Any]:
        """Everything that the next epoch depends on: tensors, numbers and random states."""
        state = {
            "epoch": epoch,
            "cur_step": self.cur_step,
            "best": self.best_valid_score,
            "curve": self.curve,
            "best_result": dict(self.best_valid_result or {}),
            "losses": self.train_loss_dict,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "torch": torch.get_rng_state(),
            "random": list(random.getstate()[1]),
            "numpy": _numpy_state(),
            "loader": self._loader.generator.get_state(),
        }
        if self.device.type == "cuda":  # dropout draws there
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def _resume(self) -> bool:
        """Go on from the last epoch of an earlier attempt, if its files are there and whole."""
        last, best = self.run_dir / LAST, self.run_dir / WEIGHTS
        if not last.exists():
            return False
        start = copy.deepcopy(self._state(-1))
        file = best
        try:
            check_tensors(best, shapes(self.model.state_dict()))
            file = last
            self._restore(torch.load(last, weights_only=True, map_location="cpu"))
        except Exception as error:  # whatever torch raises for bytes that are no checkpoint, or half of one
            set_aside(file, error)
            (last if file == best else best).unlink(missing_ok=True)  # one is of no use without the other
            self._restore(start)
            return False
        self.saved_model_file = str(best)
        return True

    def _restore(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`_state` gave."""
        self.start_epoch, self.cur_step = state["epoch"] + 1, state["cur_step"]
        self.best_valid_score, self.best_valid_result = state["best"], state["best_result"]
        self.train_loss_dict, self.curve = state["losses"], state["curve"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch"])
        if self.device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.device)
        np.random.set_state(("MT19937", np.array(state["numpy"][0], dtype=np.uint32), *state["numpy"][1:]))
        random.setstate((3, tuple(state["random"]), None))
        self._loader.generator.set_state(state["loader"])


class Harness(HarnessMixin, Trainer):
    """RecBole's Trainer under the harness."""


class S3RecTrainer(HarnessMixin, StockS3RecTrainer):
    """S3Rec's two stages in one command: pre-training on the training histories, then fine-tuning.

    Stock RecBole wants two runs with a pickled checkpoint between them. Both stages draw the numbers that they draw
    there, so that the weights are those of the two runs to the last bit (tests/test_stock_equality.py).
    """

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        self._start_stage(train_data)
        marker = self.run_dir / "pretrained.safetensors"
        if not has_tensors(marker, shapes(self.model.state_dict())):
            epochs = tqdm(range(self.pretrain_epochs), desc="pretrain S3Rec", unit="epoch", disable=not show_progress)
            for epoch in epochs:
                loss = self._train_epoch(train_data, epoch)
                epochs.set_postfix_str(f"loss {loss:.1f}")
                self.report(epoch, {"pretrain/loss": loss})
            state = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            write_once(marker, lambda path: save_file(state, path))
        self.model.load_state_dict(load_file(str(marker)))
        self._start_stage(train_data, loaded=True)
        self.model.train_stage = "finetune"
        self.model.loss_fct = torch.nn.CrossEntropyLoss()
        self.optimizer = self._build_optimizer()
        self._steps_before = self.pretrain_epochs
        return super().fit(train_data, valid_data, verbose, saved, show_progress, callback_fn)

    def _start_stage(self, train_data, loaded: bool = False) -> None:
        """The random state in which a stage of stock RecBole starts: seeded, and one network drawn (without its second
        draw where weights are ``loaded`` over it), and a new loader's order of the instances.
        """
        init_seed(self.place.seed, self.place.reproducibility)
        stock = type(self.model)
        once = {"_init_weights": lambda self, module: None} if loaded else {}
        type(stock.__name__, (stock,), once)(self.config, train_data._dataset)
        train_data.generator.manual_seed(self.place.seed)


def gather_answers(
    ids: torch.Tensor, answers: list[Answers], others: tuple[str, ...], k: int, candidates: int
) -> tuple[torch.Tensor, Answers]:
    """The answers of all processes, ordered by instance. A process without a batch takes part with nothing.

    Args:
        ids: int64 [n], the instances of this process's answers.
        others: names of the further scorings. k: length of the lists. candidates: length of the candidate lists.
    """
    nothing = {
        "items": torch.zeros(0, k, dtype=torch.int64),
        "scores": torch.zeros(0, candidates),
        "pairs": torch.zeros(0, PAIRS),
    }
    columns = {name: [getattr(answer, name) for answer in answers] or [empty] for name, empty in nothing.items()}
    columns |= {name: [answer.others[name] for answer in answers] or [nothing["scores"]] for name in others}
    given = {name: torch.cat(parts) for name, parts in columns.items() if parts[0] is not None}
    ids, *gathered = gather_by_id(ids, *given.values())
    whole = dict(zip(given, gathered, strict=True))
    further = {name: whole[name] for name in others}
    return ids, Answers(whole.get("items"), whole.get("scores"), further, pairs=whole.get("pairs"))


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


def _numpy_state() -> list:
    _, keys, *others = np.random.get_state(legacy=True)
    return [np.asarray(keys).tolist(), *others]


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

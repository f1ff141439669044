"""RecBole's training loops with this benchmark's evaluation and with checkpoints that hold no pickled objects.

``harnessed(StockTrainer)`` keeps the stock ``fit`` (epochs, early stopping, optimiser) and replaces what it cannot
do here: an evaluation per instance through the model contract (``recommend`` and ``score_candidates``), and saving.
"""

import random
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from recbole.trainer import S3RecTrainer as StockS3RecTrainer
from recbole.trainer import Trainer
from recbole.utils import get_trainer, init_seed
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from recbole_conrec import registry
from recbole_conrec.evaluation.collector import NegativeFeedbackCollector
from recbole_conrec.evaluation.ranking import rank
from recbole_conrec.utils.distributed import gather_by_id, my_batches, write_once


class HarnessMixin:
    """Evaluation by instance and safe, resumable checkpoints, over any RecBole trainer."""

    def __init__(self, config, model):
        super().__init__(config, model)
        self.eval_collector = NegativeFeedbackCollector(config)
        # stock RecBole knows no folder per run: there a folder of its own, which nothing is resumed from
        self.run_dir = Path(config["run_dir"] or tempfile.mkdtemp(prefix=f"{config['model']}-", dir=_folder(config)))
        self.outcomes: dict[str, np.ndarray] = {}
        self.curve: list[dict] = []
        self._loader = None

    # -- training --------------------------------------------------------------------------------------------------
    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        """RecBole's ``fit``; one progress bar over the epochs, a checkpoint after each, resumed if one is there."""
        self._loader = train_data
        resumed = saved and self._resume()
        bar = tqdm(
            total=self.epochs,
            initial=self.start_epoch,
            desc=f"train {self.config['row']}",
            unit="epoch",
            disable=not show_progress,
        )

        def after_epoch(epoch, score):
            bar.update()
            bar.set_postfix_str(f"{self.config['valid_metric']} {score:.4f} best {self.best_valid_score:.4f}")
            self.curve.append({"epoch": epoch, "loss": self.train_loss_dict[epoch], "valid": score})
            if saved:
                self._save_last(epoch)
            if callback_fn:
                callback_fn(epoch, score)

        # Killed between its last epoch and its result. (RecBole would save the last weights over the best ones.)
        if resumed and (self.cur_step > self.stopping_step or self.start_epoch >= self.epochs):
            return self.best_valid_score, self.best_valid_result
        with bar:
            return super().fit(train_data, valid_data, verbose, saved, False, after_epoch)

    # -- evaluation ------------------------------------------------------------------------------------------------
    @torch.no_grad()
    def evaluate(self, eval_data, load_best_model=True, model_file=None, show_progress=False):
        """Metrics over every instance of a data set (a NegativeFeedbackDataset, or a loader over one).

        Leaves the per-instance values in ``self.outcomes``. Returns RecBole's dict, such as {'hr@20': 0.1}.
        """
        if not eval_data:
            return None
        if load_best_model:
            self.load(model_file or self.saved_model_file)
        data = getattr(eval_data, "_dataset", eval_data)
        self.model.eval()
        batches = my_batches(len(data), self.config["eval_batch_size"])  # this process's share of them
        batches = tqdm(batches, desc=f"evaluate {self.config['row']}", unit="batch", disable=not show_progress)
        truth, k = data.truth(data.split), max(self.config["topk"])
        answers = [self._rank(data, batch, truth, k) for batch in batches]
        ids = torch.tensor([n for batch in batches for n in batch], dtype=torch.int64)
        self.eval_collector.add(*_gather(ids, answers, k, truth.candidates.shape[1]))
        struct = self.eval_collector.finish(truth)
        self.outcomes = self.eval_collector.outcomes
        return self.evaluator.evaluate(struct)

    def _rank(self, data, batch, truth, k: int):
        """(items [B, k], scores [B, C]) of a range of instances, on the CPU; either may be None, see ``rank``."""
        interaction = data[np.arange(batch.start, batch.stop)].to(self.device)
        candidates = torch.from_numpy(truth.candidates[batch.start : batch.stop]).to(self.device)
        items, scores = rank(self.model, interaction, candidates, k, data)
        return None if items is None else items.cpu(), None if scores is None else scores.float().cpu()

    # -- files -----------------------------------------------------------------------------------------------------
    def _save_checkpoint(self, epoch, verbose=True, **kwargs):
        """The best model so far, as safetensors."""
        self.saved_model_file = str(self.run_dir / "model.safetensors")
        state = {k: v.detach().cpu().contiguous().clone() for k, v in self.model.state_dict().items()}
        write_once(self.saved_model_file, lambda path: save_file(state, path))

    def load(self, file) -> None:
        self.model.load_state_dict(load_file(str(file)))

    def _save_last(self, epoch: int) -> None:
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
        write_once(self.run_dir / "last.pt", lambda path: torch.save(state, path))

    def _resume(self) -> bool:
        file = self.run_dir / "last.pt"
        if not file.exists():
            return False
        state = torch.load(file, weights_only=True, map_location="cpu")
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
        self.saved_model_file = str(self.run_dir / "model.safetensors")
        return True


class Harness(HarnessMixin, Trainer):
    """RecBole's Trainer under the harness."""


class S3RecTrainer(HarnessMixin, StockS3RecTrainer):
    """S3Rec's two stages in one command: pre-training on the training histories, then fine-tuning.

    Stock RecBole wants two runs with a pickled checkpoint between them.
    """

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        init_seed(self.config["seed"], self.config["reproducibility"])
        marker = self.run_dir / "pretrained.safetensors"
        if not marker.exists():
            epochs = tqdm(range(self.pretrain_epochs), desc="pretrain S3Rec", unit="epoch", disable=not show_progress)
            for epoch in epochs:
                epochs.set_postfix_str(f"loss {self._train_epoch(train_data, epoch):.1f}")
            state = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            write_once(marker, lambda path: save_file(state, path))
        self.model.load_state_dict(load_file(str(marker)))
        init_seed(self.config["seed"], self.config["reproducibility"])  # as if the pre-training had just been loaded
        self.model.train_stage = "finetune"
        self.model.loss_fct = torch.nn.CrossEntropyLoss()
        self.optimizer = self._build_optimizer()
        return super().fit(train_data, valid_data, verbose, saved, show_progress, callback_fn)


def _gather(ids: torch.Tensor, answers: list, k: int, candidates: int):
    """The answers of all processes, by instance. A process that got no batch takes part with nothing."""
    nothing = torch.zeros(0, k, dtype=torch.int64), torch.zeros(0, candidates)
    columns = list(zip(*answers, strict=True)) or [(answer,) for answer in nothing]
    given = [n for n in (0, 1) if columns[n][0] is not None]
    ids, *gathered = gather_by_id(ids, *(torch.cat(columns[n]) for n in given))
    both = dict(zip(given, gathered, strict=True))
    return ids, both.get(0), both.get(1)


def _folder(config) -> Path:
    folder = Path(config["checkpoint_dir"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _numpy_state() -> list:
    _, keys, *rest = np.random.get_state()
    return [keys.tolist(), *rest]


@cache
def harnessed(stock: type) -> type:
    """The harness over a RecBole trainer class."""
    if issubclass(stock, HarnessMixin):
        return stock
    return type(f"Harness{stock.__name__}", (HarnessMixin, stock), {"__doc__": f"{stock.__name__} under the harness."})


def find_trainer(name: str, model_class: type) -> type:
    """The harness's trainer for a model: its own, or RecBole's epoch loop with our evaluation."""
    own = registry.TRAINERS.get(name) or getattr(model_class, "trainer", None)
    if own:
        return registry.load(own) if isinstance(own, str) else own
    if model_class.__name__ in registry.MODELS:  # RecBole would ask the plugin, which asks here
        return Harness
    return harnessed(get_trainer(model_class.type, model_class.__name__))

"""The trainer of the methods that are trained in stages."""

from collections.abc import Callable

import numpy as np
import torch
from recbole.trainer import Trainer
from safetensors.torch import load_file, save_file

from recbole_conrec.generative.stage import run_stage
from recbole_conrec.generative.stage_store import StageStore
from recbole_conrec.runs.trainer import WEIGHTS, HarnessMixin
from recbole_conrec.utils.damage import shapes
from recbole_conrec.utils.distributed import write_once
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.resources import peak_mb


class StagedTrainer(HarnessMixin, Trainer):
    """Runs a model's stages one after the other; each leaves its entry in ``stages``.

    Finished stages are kept beside the runs, by content: a run that was interrupted finds them again, and runs that
    begin with the same stages share them.
    """

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        """Train. A stage that is already on disk is not run again."""
        score = self._validation_score(valid_data)
        self.stages = []
        for number in range(len(self.model.stages)):
            store = StageStore.of(self.config, self.model, train_data._dataset, number)
            with store.hold():
                entry = store.read(shapes(self._trained()))
                if entry is None:
                    entry = run_stage(
                        self.model,
                        train_data._dataset,
                        number,
                        seed=self.place.seed,
                        store=store,
                        score=score,
                        show_progress=show_progress,
                        before=self.stages[-1]["valid"] if self.stages else None,
                    )
                    store.write(self._trained(), entry)
                else:
                    self.load(store.weights)
            self.stages.append(entry)
            self.best_valid_score = entry["valid"]
        self._save_checkpoint(len(self.stages))
        return self.best_valid_score, None

    @property
    def cost(self) -> dict[str, float]:
        """What training took, over all attempts and whichever run did it."""
        return {
            "fit_s": sum(stage["seconds"] for stage in self.stages),
            "peak_mb": max(peak_mb(), *(stage["peak_mb"] for stage in self.stages)),
        }

    def _trained(self) -> dict[str, torch.Tensor]:
        """The weights that training changes: all of a small model, the adapter of a large one."""
        parameters = self.model.lm.named_parameters()
        return {name: p.detach().cpu().contiguous().clone() for name, p in parameters if p.requires_grad}

    def _save_checkpoint(self, epoch, verbose=True, **kwargs):
        self.saved_model_file = str(self.run_dir / WEIGHTS)
        write_once(self.saved_model_file, lambda path: save_file(self._trained(), path))

    def load(self, file) -> None:
        """Read weights that :meth:`_save_checkpoint` or a StageStore wrote. Raises UserError for another model's."""
        missing, unexpected = self.model.lm.load_state_dict(load_file(str(file)), strict=False)
        needed = {name for name, p in self.model.lm.named_parameters() if p.requires_grad}
        if unexpected or needed & set(missing):
            raise UserError(f"{file}: these weights belong to another model; remove its folder to train again")

    def _validation_score(self, valid_data) -> Callable[[], float]:
        """A function: `valid_metric` (HR@K, K the largest of ``topk``, or CandAcc) of the model as it is now, on a
        fixed sample of the validation instances.
        """
        k, metric = max(self.evaluation.topk), self.evaluation.valid_metric.lower()
        valid_data = getattr(valid_data, "_dataset", valid_data)  # stock RecBole passes a loader over it
        size = min(self.model.options.valid_sample or len(valid_data), len(valid_data))
        chosen = np.random.default_rng(self.place.seed).permutation(len(valid_data))[:size]
        truth = valid_data.truth() if metric == "candacc" else None

        def hits(ids) -> int:
            interaction = valid_data[ids].to(self.device)
            if truth is None:
                items = self.model.recommend(interaction, k)
                return int((items == interaction["item_id"][:, None]).any(dim=1).sum())
            candidates = torch.from_numpy(truth.candidates[ids]).to(self.device)
            scores = self.model.score_candidates(interaction, candidates).masked_fill(candidates == 0, -torch.inf)
            own = scores[candidates == interaction["item_id"][:, None]][:, None]
            return int(((scores >= own).sum(dim=1) == 1).sum())  # a tie is no hit

        def score_now() -> float:
            self.model.eval()
            batch = self.evaluation.eval_batch_size
            return sum(hits(chosen[start : start + batch]) for start in range(0, size, batch)) / size

        return score_now

"""The trainer of the methods that are trained in stages."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from recbole.trainer import Trainer
from safetensors.torch import load_file, save_file

from recbole_conrec.generative.stage import run_stage
from recbole_conrec.generative.stage_store import StageStore
from recbole_conrec.generative.validation import validation_score
from recbole_conrec.runs.checkpoints import WEIGHTS
from recbole_conrec.runs.trainer import HarnessMixin
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
        valid = getattr(valid_data, "_dataset", valid_data)  # stock RecBole passes a loader over it
        sample = self.model.options.valid_sample
        score = validation_score(self.model, valid, self.evaluation, self.place.seed, sample)
        self.stages = []
        for number, stage in enumerate(self.model.stages):
            report = self._reporter(stage.name, sum(entry["steps"] for entry in self.stages))
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
                        report=report,
                    )
                    store.write(self._trained(), entry)
                else:
                    self.load(store.weights)
                    for step, values in _logged(entry):
                        report(step, values)
            report(entry["steps"], _summary(entry))
            self.stages.append(entry)
            self.best_valid_score = entry["valid"]
        self._save_checkpoint(len(self.stages))
        return self.best_valid_score, None

    def _reporter(self, stage: str, before: int) -> Callable[[int, Mapping[str, Any]], None]:
        """Report below the name of a stage; ``before``: steps of the stages before it."""

        def report(step: int, values: Mapping[str, Any]) -> None:
            names = {"valid": f"valid/{self.evaluation.valid_metric}"}
            self.report(before + step, {names.get(key, f"{stage}/{key}"): value for key, value in values.items()})

        return report

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


def _logged(entry: dict) -> Iterator[tuple[int, dict]]:
    """What a finished stage logged, step by step."""
    for one in sorted([*entry["curve"], *entry.get("validation", ())], key=lambda one: one.get("step", 0)):
        yield one.get("step", 0), {key: value for key, value in one.items() if key != "step"}


def _summary(entry: dict) -> dict:
    """What is measured after a stage; `valid` where the stage did not look at it before."""
    looked = {"valid"} if entry.get("validation") else set()
    return {key: value for key, value in entry.items() if key not in {"samples", "steps", *looked}}

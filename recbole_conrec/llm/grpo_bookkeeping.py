"""What GRPO needs besides its algorithm: the order of the groups, seconds per step, the names of what is logged."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator

import torch
from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from recbole_conrec.llm.training import EpochSampler, SampledTrainer


class GroupSampler(EpochSampler, RepeatSampler):
    """The order of the groups, drawn again for each epoch from its number.

    The batches of an optimizer step follow each other, and come `repeat_count` times before those of the next step, so
    that each of these passes is a step of its own. TRL would repeat each batch by itself, and accumulate the passes
    into one step. Where there are several passes, the batches at the end that do not fill a step are left out.

    Args:
        accumulate: batches per optimizer step. The others as for RepeatSampler.
    """

    seed: int

    def __init__(self, *args, accumulate: int = 1, **kwargs):
        super().__init__(*args, **kwargs)
        self.block = self.batch_size * (accumulate if self.repeat_count > 1 else 1)

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(self.seed + self.epoch)
        order = torch.randperm(self.num_samples, generator=self.generator)
        blocks = order[: self.num_samples // self.block * self.block].view(-1, 1, self.block, 1)
        return iter(blocks.expand(-1, self.repeat_count, -1, self.mini_repeat_count).flatten().tolist())

    def __len__(self) -> int:
        return self.num_samples // self.block * self.block * self.mini_repeat_count * self.repeat_count


class TimedGRPOTrainer(SampledTrainer, GRPOTrainer):
    """GRPOTrainer that knows which examples its rows are, makes each pass over completions an optimizer step, logs the
    seconds of generation and update, and drops what is constant for semantic IDs.

    Attributes:
        numbers: int64 [N], the examples of the rows whose log-probabilities are computed; None where they are unknown.
    """

    def __init__(self, *args, **kwargs):
        self.numbers: torch.Tensor | None = None
        self._drawn: dict[int, dict] = {}  # completions of each batch of the optimizer step
        self._seconds: dict[str, float] = defaultdict(float)  # since the last log entry
        self._logged_step = 0
        super().__init__(*args, **kwargs)

    def training_step(self, *args, **kwargs):
        """TRL's, timed."""
        with self._timed("step"):
            return super().training_step(*args, **kwargs)

    def _prepare_inputs(self, generation_batch):
        """Completions of a batch: drawn in the first pass over the batches of a step, used again in the others."""
        at = self._step % self.args.gradient_accumulation_steps
        if self.state.global_step % self.num_iterations == 0 or at not in self._drawn:
            self._drawn[at] = self._generate_and_score_completions(generation_batch)
        return self._drawn[at]

    def _generate_and_score_completions(self, inputs):
        with self._timed("generation"):
            device = self.accelerator.device
            self.numbers = torch.tensor([int(example["prompt"]) for example in inputs], device=device)
            batch = super()._generate_and_score_completions(inputs) | {"number": self.numbers}
            # TRL leaves the old log-probabilities out where it takes all passes over completions for one step
            if self.num_iterations > 1 and "old_per_token_logps" not in batch:
                rows = [torch.cat([batch[f"prompt_{k}"], batch[f"completion_{k}"]], 1) for k in ("ids", "mask")]
                with torch.no_grad():
                    depth = batch["completion_ids"].shape[1]
                    old = self._get_per_token_logps_and_entropies(self.model, *rows, depth)
                batch["old_per_token_logps"] = old[0]
            return batch

    def _compute_loss(self, model, inputs):
        self.numbers = inputs.get("number")
        return super()._compute_loss(model, inputs)

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self.accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        self._seconds[name] += time.perf_counter() - start

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        """TRL's metrics and the times, under names that say what they are, without lengths and clipped lengths."""
        if self._seconds:
            steps = max(self.state.global_step - self._logged_step, 1)
            self._logged_step = self.state.global_step
            logs["time/generation"] = self._seconds["generation"] / steps
            logs["time/update"] = (self._seconds["step"] - self._seconds["generation"]) / steps
            self._seconds.clear()
        metrics = self._metrics["train"]
        for key in [k for k in metrics if k.startswith("completions/") or k in ("num_tokens", "step_time")]:
            del metrics[key]
        if "frac_reward_zero_std" in metrics:
            metrics["zero_advantage"] = metrics.pop("frac_reward_zero_std")
        super().log(logs, *args, **kwargs)

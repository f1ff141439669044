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
    """TRL's order of the groups, drawn again for each epoch from its number."""

    seed: int

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()


class TimedGRPOTrainer(SampledTrainer, GRPOTrainer):
    """GRPOTrainer that logs the seconds of generation and update, and drops what is constant for semantic IDs."""

    def __init__(self, *args, **kwargs):
        self._seconds: dict[str, float] = defaultdict(float)  # since the last log entry
        self._logged_step = 0
        super().__init__(*args, **kwargs)

    def training_step(self, *args, **kwargs):
        """TRL's, timed."""
        with self._timed("step"):
            return super().training_step(*args, **kwargs)

    def _generate_and_score_completions(self, inputs):
        with self._timed("generation"):
            return super()._generate_and_score_completions(inputs)

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

"""How CoNRec's reward judges the answers of a run, whatever method the run is of.

It reads CoNRec's options and rewards; the other modules of this room know no method.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.data.events import Instances
from recbole_conrec.generative.stage_options import StageWindow
from recbole_conrec.model.conrec import RewardOptions, reward_of, targets
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest

DEFAULT = RewardOptions(name="default", task="grpo")


def judging_stage(stages: Iterable[Any], name: str | None) -> RewardOptions:
    """The stage whose reward judges: the one of this name, or the last with a reward of GTS and FPS, else DEFAULT.

    Raises UserError if no stage of this name has such a reward.
    """
    able = {stage.name: stage for stage in stages if isinstance(stage, RewardOptions)}
    if name is None:
        return list(able.values())[-1] if able else DEFAULT
    if name not in able:
        raise UserError(
            f"explain.stage: '{name}' has no reward of GTS and FPS{nearest(name, able)}; expected one of "
            f"{', '.join(able) or 'none: leave it out'}"
        )
    return able[name]


def judging_items(
    data: NegativeFeedbackDataset, part: Instances, stage: RewardOptions
) -> tuple[np.ndarray, np.ndarray]:
    """GTS and FPS of one instance: sorted item ids, int64."""
    window = stage.future
    if isinstance(window, StageWindow):
        gts, fps = targets(data, part, stage, window.resolve(data.protocol.window, f"stages.{stage.name}.future"))
    else:
        gts, fps = targets(data, part, stage)
    return gts[0], fps[0]


def rewards(model, items, gts: np.ndarray, fps: np.ndarray, stage: RewardOptions) -> list[float]:
    """The stage's reward of each of the items (int64 tensor [k])."""
    return reward_of(model, stage)(items[None], gts=[gts.tolist()], fps=[fps.tolist()])[0].tolist()

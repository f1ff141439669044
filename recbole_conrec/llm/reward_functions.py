"""Rewards of GRPO: plain functions of the generated items, or dotted paths to such functions.

    def reward(items, *, liked, **_):
        return (items[:, :, None] != torch.tensor(liked)[:, None]).all(2).float()

`items` int64 [P, G] holds the items of G completions of each of P prompts (0: no item), and every column of the
examples is passed by its name, as the list of its values of the P prompts. A function that does not need all columns
takes `**_`. It returns [P, G] numbers. Where the completions are beams, a function that takes `rank` gets int64 [P, G],
0 for the likeliest of its prompt.
"""

import inspect
from collections.abc import Callable, Sequence

import torch

from recbole_conrec.llm.grpo_forbidden import FORBIDDEN
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import load

Reward = Callable[..., torch.Tensor]


def find_rewards(
    rewards: Reward | str | Sequence[Reward | str], columns: Sequence[str], optional: Sequence[str] = ()
) -> list[Reward]:
    """The functions, those given as 'package.module:function' imported.

    `optional`: columns that training adds, for functions that take them.

    Raises UserError for what cannot be imported or called, and for a function that does not take the columns.
    """
    given = [rewards] if isinstance(rewards, str) or callable(rewards) else list(rewards)
    functions = [load(one) if isinstance(one, str) else one for one in given]
    for one, function in zip(given, functions, strict=True):
        if not callable(function):
            raise UserError(f"reward: {one!r} is no function; expected f(items, **columns), or its 'package.module:f'")
        error = _refusal(function, columns)
        if error and not takes(function, list({*columns, *optional})):
            raise UserError(
                f"reward {name_of(function)}: {error}; it is called with items and the columns "
                f"{', '.join(columns) or '(none)'}; let it take **_ for those that it does not need"
            )
    return functions


def takes(reward: Reward, columns: Sequence[str]) -> bool:
    """Whether it can be called with items and these columns."""
    return _refusal(reward, columns) is None


def _refusal(function: Reward, columns: Sequence[str]) -> TypeError | None:
    try:
        inspect.signature(function).bind(None, **dict.fromkeys(columns))
    except TypeError as error:
        return error
    except ValueError:  # a builtin without a signature
        pass
    return None


def columns_of(examples: Sequence[dict]) -> list[str]:
    """Names of the columns for rewards, those of the first example. Raises UserError for an example that lacks one."""
    for n, example in enumerate(examples):
        missing = next((name for name in examples[0] if name not in example), None)
        if missing is not None:
            raise UserError(f"training example {n}: no {missing}; the first example has it, and all must")
    return [name for name in examples[0] if name not in ("input_ids", FORBIDDEN)]


def name_of(reward: Reward) -> str:
    """The name under which a reward is logged."""
    return getattr(reward, "__name__", "reward")


def values_of(reward: Reward, items: torch.Tensor, columns: dict[str, list]) -> list[float]:
    """The rewards of items [P, G], prompt by prompt. Raises UserError unless there is a finite one for every item."""
    values = torch.as_tensor(reward(items, **columns))
    if values.shape != items.shape:
        raise UserError(
            f"reward {name_of(reward)}: it returned the shape {tuple(values.shape)}; expected one number for each of "
            f"the items {tuple(items.shape)}"
        )
    strange = ~torch.isfinite(values.double())
    if strange.any():
        raise UserError(
            f"reward {name_of(reward)}: {values[strange][0].item()} for {int(strange.sum())} of {values.numel()} "
            f"answers, the first of them item {int(items[strange.to(items.device)][0])}; expected finite numbers"
        )
    return values.flatten().tolist()

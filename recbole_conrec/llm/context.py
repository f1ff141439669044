"""Contexts that fit the model: the oldest history is left out first, the instruction never."""

from dataclasses import dataclass

from recbole_conrec.errors import UserError


@dataclass
class ContextLimit:
    """Puts prompts together so that prompt and answer fit into `limit` tokens, and counts what had to go.

    A prompt is `before` (the instruction), the history as one list of token ids per event, oldest first, and `after`
    (the question). Whole events are left out from the oldest on; `before` and `after` stay.
    """

    limit: int  # tokens that prompt and answer may have together
    prompts: int = 0  # prompts made
    cut: int = 0  # of which lost events
    events: int = 0  # events lost altogether

    def fit(self, before: list[int], history: list[list[int]], after: list[int], answer: int = 0) -> list[int]:
        """Token ids of the longest prompt that leaves `answer` tokens free. UserError if not even no history fits."""
        room = self.limit - len(before) - len(after) - answer
        if room < 0:
            raise UserError(
                f"context: the instruction and the answer need {self.limit - room} tokens and the model's limit is "
                f"{self.limit}; use a model with a longer context"
            )
        keep = len(history)
        while keep and room >= len(history[keep - 1]):
            room -= len(history[keep - 1])
            keep -= 1
        self.prompts += 1
        self.cut += keep > 0
        self.events += keep
        return [*before, *(token for event in history[keep:] for token in event), *after]

    def report(self) -> str:
        """One line for the log; '' if nothing was cut."""
        if not self.cut:
            return ""
        return (
            f"{self.cut} of {self.prompts} prompts were longer than {self.limit} tokens and lost their oldest events "
            f"({self.events} in all)"
        )

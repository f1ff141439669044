"""The options that methods of this family share. A method's own file says which of these classes it takes."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from recbole_conrec.generative.candidate_scores import SCORINGS, Scoring
from recbole_conrec.llm.backbone import BackboneOptions
from recbole_conrec.llm.t5 import T5Options
from recbole_conrec.options.schema import Count, Natural, Options, Several, Text
from recbole_conrec.tokenizer.options import TokenizerOptions, parse


class StagedOptions(Options):
    """Options of all methods that are trained in stages."""

    tokenizer: Annotated[TokenizerOptions, BeforeValidator(lambda given: parse(given))] = Field(
        default_factory=lambda: parse(None)
    )
    """The semantic IDs, see docs/tokenizer.md."""
    history: Count = 20
    """Events in a prompt, at most; the latest stay."""
    context: Literal["negative", "both"] = "negative"
    """Feedback in a prompt: dislikes only, or dislikes and likes."""
    valid_sample: Count | None = None
    """Validation instances that are scored while a stage trains; null: all of them."""
    stages: list[dict[str, Any]]
    """Training, in this order; the options of a stage depend on its task."""


class LanguageModelOptions(StagedOptions):
    """Options of the methods on a causal language model."""

    llm: Text = "tiny"
    """The backbone: tiny (embedded, fresh weights), a hub id or folder of transformers, or a .gguf file."""
    llm_options: BackboneOptions | None = None
    """How the backbone is loaded."""
    max_tokens: Count = 1024
    """Tokens in a prompt and its answer together, at most; the oldest events are dropped first."""


class TitleHistoryOptions(Options):
    """Options of the methods that also show histories of titles."""

    text_history: Natural = 20
    """Events in a prompt of titles, or in one that asks for a title."""


class IdDecodingOptions(Options):
    """Options of the methods that answer with semantic IDs."""

    beam: Count = 40
    """Width of the beam search; at least K beams are searched."""
    search: Literal["auto", "beam", "exact"] = "auto"
    """How the best IDs are found: by beam search, or exactly, by beams that grow until they provably lost none; auto:
    exactly in catalogues of up to 5,000 IDs."""
    normalise: Literal["allowed", "vocabulary"] = "allowed"
    """What the probabilities of codes are normalised over: the codes that can follow, or the whole vocabulary."""
    candidate_scores: Annotated[Several[Scoring], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)] = (
        SCORINGS[0],
    )
    """How given candidates are scored: the first fills CandAcc, the others are reported beside it."""

    @field_validator("candidate_scores")
    @classmethod
    def _each_once(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if not given or len(set(given)) < len(given):
            raise ValueError(f"{', '.join(given) or 'nothing'}; expected some of {', '.join(SCORINGS)}, each once")
        return given


class T5MethodOptions(StagedOptions, IdDecodingOptions):
    """Options of the methods on a T5 over token ids."""

    t5: T5Options | None = None
    """Sizes of the network."""

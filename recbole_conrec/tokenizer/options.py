"""The ``tokenizer:`` block of a configuration as typed options."""

from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from recbole_conrec.options import schema
from recbole_conrec.tokenizer import collaborative, opq, rqkmeans, rqvae
from recbole_conrec.tokenizer.collaborative import Options as CollaborativeOptions
from recbole_conrec.tokenizer.collisions import Strategy
from recbole_conrec.tokenizer.encoder import EncoderOptions
from recbole_conrec.tokenizer.encoders import AnyEncoder, read_encoders
from recbole_conrec.tokenizer.fitting import default_sizes
from recbole_conrec.tokenizer.opq import Options as OpqOptions
from recbole_conrec.tokenizer.rqkmeans import Options as RqkmeansOptions
from recbole_conrec.tokenizer.rqvae import Options as RqvaeOptions
from recbole_conrec.tokenizer.tfidf import TfidfOptions

TOKENIZERS: dict[str, ModuleType] = {
    "rqkmeans": rqkmeans,
    "rqvae": rqvae,
    "opq": opq,
    "collaborative": collaborative,
}  # each has Options, and fit(FitInput, Options) -> Fit


class TokenizerOptions(schema.Options):
    """How the semantic IDs of a catalogue are made."""

    name: Literal["rqkmeans", "rqvae", "opq", "collaborative"] = "rqkmeans"
    """The tokenizer; its own options are in the mapping of that name."""
    depth: Annotated[int, Field(ge=1, le=25)] = 3
    """Levels of codes, without the one that ``extra_code`` adds."""
    sizes: Literal["auto"] | schema.Count | schema.Several[schema.Count] = "auto"
    """Codes per level: ``auto`` (by the number of items), one number, or one per level."""
    collisions: Strategy = "nearest_free"
    """What happens to items that quantise to the same ID."""
    fields: schema.Several[schema.Text] | None = None
    """Item fields whose text is encoded; null: the data set's option ``item_text``."""
    encoder: schema.Several[AnyEncoder] = (TfidfOptions(name="tfidf"),)
    """A name, or a list of {name, weight and the encoder's options} whose vectors are put side by side."""
    dim: schema.Count | None = 64
    """Principal components of the encoders' vectors that are quantised; null: all dimensions."""
    centre: bool = True
    """Whether the mean of each encoder's vectors is subtracted, so that cosines separate items."""
    seed: Annotated[int, Field(ge=0, le=2_000_000_000)] = 2026
    """Fixes the IDs. On purpose not the option ``seed``: runs that differ in that one share their IDs."""
    rqkmeans: RqkmeansOptions = RqkmeansOptions()
    """Options of the tokenizer ``rqkmeans``."""
    rqvae: RqvaeOptions = RqvaeOptions()
    """Options of the tokenizer ``rqvae``."""
    opq: OpqOptions = OpqOptions()
    """Options of the tokenizer ``opq``."""
    collaborative: CollaborativeOptions = CollaborativeOptions()
    """Options of the tokenizer ``collaborative``."""

    @model_validator(mode="before")
    @classmethod
    def _a_name_alone(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else {} if given is None else given

    @field_validator(*TOKENIZERS, mode="before")
    @classmethod
    def _null_is_empty(cls, given: Any) -> Any:
        return {} if given is None else given

    @field_validator("fields", mode="before")
    @classmethod
    def _one_field(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @field_validator("encoder", mode="before")
    @classmethod
    def _encoders(cls, given: Any) -> tuple[EncoderOptions, ...]:
        return read_encoders(given)

    @model_validator(mode="after")
    def _a_size_per_level(self) -> Self:
        if isinstance(self.sizes, tuple) and len(self.sizes) != self.depth:
            raise ValueError(f"sizes lists {len(self.sizes)} numbers, but depth is {self.depth}; make them agree")
        return self

    @property
    def own(self) -> schema.Options:
        """The options of the tokenizer that ``name`` chooses."""
        return getattr(self, self.name)

    def codes_per_level(self, n_items: int) -> list[int]:
        """Codes of each level, for a catalogue of ``n_items`` items with content."""
        if self.sizes == "auto":
            return default_sizes(n_items, self.depth)
        return [self.sizes] * self.depth if isinstance(self.sizes, int) else list(self.sizes)

    def content(self) -> dict[str, Any]:
        """Everything that decides the IDs, as plain JSON values. A change of it makes all cached IDs void."""
        return {
            **self.model_dump(exclude=set(TOKENIZERS)),
            "sizes": self.sizes if self.sizes == "auto" else self.codes_per_level(0),
            "encoder": [one.content() for one in self.encoder],
            "own": self.own.model_dump(),
        }


def parse(block: dict | str | None) -> TokenizerOptions:
    """Options from the block, or from a tokenizer's name alone. Raises UserError naming the option at fault."""
    return TokenizerOptions.read({"name": block} if isinstance(block, str) else block, "tokenizer")

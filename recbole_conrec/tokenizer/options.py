"""The ``tokenizer:`` block of a configuration, read strictly: an unknown key is an error that names the nearest one."""

import dataclasses
import difflib
import inspect
from dataclasses import dataclass, field

from recbole_conrec.tokenizer import collaborative, opq, rqkmeans, rqvae
from recbole_conrec.tokenizer.collisions import STRATEGIES
from recbole_conrec.tokenizer.encoders import ENCODERS
from recbole_conrec.utils.errors import UserError

TOKENIZERS = {"rqvae": rqvae, "rqkmeans": rqkmeans, "opq": opq, "collaborative": collaborative}


@dataclass(frozen=True)
class TokenizerOptions:
    """
    name: rqkmeans | rqvae | opq | collaborative; its own options are in the mapping of that name.
    depth: levels of codes (without the one that ``extra_code`` adds).
    sizes: codes per level: 'auto' (by the number of items), one number, or one per level.
    collisions: nearest_free | sinkhorn | extra_code | shared.
    fields: item fields whose text is encoded; null for the data set's own choice.
    encoder: a name, or a list of {name, weight, and the encoder's options} whose vectors are put side by side.
    dim: principal components of the encoders' vectors that are quantised; null: all dimensions.
    centre: subtract the mean vector (see features.py).
    seed: fixes the IDs. Apart from the model's seed on purpose: runs that differ in seed share their IDs.
    """

    name: str = "rqkmeans"
    depth: int = 3
    sizes: str | int | tuple[int, ...] = "auto"
    collisions: str = "nearest_free"
    fields: tuple[str, ...] | None = None
    encoder: tuple[dict, ...] = ({"name": "tfidf"},)
    dim: int | None = 64
    centre: bool = True
    seed: int = 2026
    own: object = field(default=None)  # the named tokenizer's Options

    def content(self) -> dict:
        """Everything that decides the IDs, as plain JSON."""
        return {**dataclasses.asdict(self), "own": dataclasses.asdict(self.own)}


def parse(block: dict | str | None) -> TokenizerOptions:
    """Options from the block, or from a tokenizer's name alone. Raises UserError naming the option at fault."""
    block = {"name": block} if isinstance(block, str) else dict(block or {})
    blocks = {name: block.pop(name) or {} for name in TOKENIZERS if name in block}
    known = [f.name for f in dataclasses.fields(TokenizerOptions) if f.name != "own"]
    _check("tokenizer", block, [*known, *TOKENIZERS])
    for name, values in blocks.items():
        _check(f"tokenizer.{name}", values, [f.name for f in dataclasses.fields(TOKENIZERS[name].Options)])
    options = TokenizerOptions(**{k: v if k == "encoder" else _frozen(v) for k, v in block.items()})
    _one_of("tokenizer.name", options.name, TOKENIZERS)
    _one_of("tokenizer.collisions", options.collisions, STRATEGIES)
    if not isinstance(options.depth, int) or not 1 <= options.depth <= 25:
        raise UserError(f"tokenizer.depth: expected a whole number from 1 to 25, found {options.depth!r}")
    if isinstance(options.fields, str):
        options = dataclasses.replace(options, fields=(options.fields,))
    own = {k: _frozen(v) for k, v in blocks.get(options.name, {}).items()}
    return dataclasses.replace(
        options, encoder=_encoders(options.encoder), sizes=_sizes(options), own=TOKENIZERS[options.name].Options(**own)
    )


def _sizes(options: TokenizerOptions):
    sizes = options.sizes
    if sizes == "auto":
        return sizes
    sizes = (sizes,) * options.depth if isinstance(sizes, int) else sizes
    if not isinstance(sizes, tuple) or not all(isinstance(s, int) and s > 0 for s in sizes):
        raise UserError(
            f"tokenizer.sizes: expected 'auto', a number or a list of {options.depth} numbers, found {sizes!r}"
        )
    if len(sizes) != options.depth:
        raise UserError(f"tokenizer.sizes: {len(sizes)} sizes for tokenizer.depth {options.depth}; make them agree")
    return sizes


def _encoders(specs) -> tuple[dict, ...]:
    specs = [specs] if isinstance(specs, (str, dict)) else specs
    specs = [{"name": s} if isinstance(s, str) else dict(s) for s in specs]
    if not specs:
        raise UserError(f"tokenizer.encoder: empty; name at least one of {', '.join(ENCODERS)}")
    for spec in specs:
        _one_of("tokenizer.encoder", spec.get("name"), ENCODERS)
        parameters = dict(inspect.signature(ENCODERS[spec["name"]]).parameters)
        parameters.pop("seed")  # tokenizer.seed is for all
        where = f"tokenizer.encoder ({spec['name']})"
        _check(where, spec, ["name", "weight", *parameters])
        for name, parameter in parameters.items():
            if parameter.default is parameter.empty and not spec.get(name):
                raise UserError(f"{where}: '{name}' is needed")
    return tuple(specs)


def _check(where: str, given: dict, known) -> None:
    if not isinstance(given, dict):
        raise UserError(f"{where}: expected a mapping 'option: value', found {given!r}")
    for key in given:
        if key not in known:
            raise UserError(f"unknown option '{where}.{key}'{_meant(key, known)} (known: {', '.join(known)})")


def _one_of(where: str, value, known) -> None:
    if value not in known:
        raise UserError(f"{where}: '{value}' is none of {', '.join(known)}{_meant(value, known)}")


def _meant(value, known) -> str:
    close = difflib.get_close_matches(str(value), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _frozen(value):
    return tuple(value) if isinstance(value, list) else value

"""From a configuration and a data set to semantic IDs: encode, quantise, resolve collisions; cached by content."""

import hashlib
import json
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recbole_conrec.options.schema import Options, Text
from recbole_conrec.tokenizer import features as features_module
from recbole_conrec.tokenizer.collisions import Strategy, group_rows, resolve
from recbole_conrec.tokenizer.encoders import read_encoders
from recbole_conrec.tokenizer.features import Features
from recbole_conrec.tokenizer.fitting import Fit, FitInput
from recbole_conrec.tokenizer.inputs import Items, from_dataset
from recbole_conrec.tokenizer.options import TOKENIZERS, TokenizerOptions
from recbole_conrec.tokenizer.quantise import decode, encode, relative_error
from recbole_conrec.tokenizer.semantic_ids import FORMAT, SemanticIds
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import blocks

METHOD = 3  # raise when the same options would give other IDs than before: old caches then no longer match


class IdsOptions(Options):
    """The options of a run that its semantic IDs depend on, and where they are cached."""

    tokenizer: TokenizerOptions = TokenizerOptions()
    """How the IDs are made."""
    checkpoint_dir: Text = "saved"
    """Folder of everything that runs leave; the IDs are in its ``tokenizers/``."""

    def cache_folder(self, items: Items) -> Path:
        """Where the IDs of this catalogue are, or will be, cached."""
        return Path(self.checkpoint_dir) / "tokenizers" / cache_key(self.tokenizer, items)


def build(config, dataset) -> SemanticIds:
    """The semantic IDs of ``dataset`` by ``config['tokenizer']``, from the cache if they were made before.

    The cache is ``config['checkpoint_dir']/tokenizers/<key>/``; the key covers the options, the items' texts and ids
    and the training events, so a change of any of them makes new IDs.

    Args:
        config: RecBole Config, or a mapping with these two options.
        dataset: NegativeFeedbackDataset.
    """
    options = IdsOptions.of(config)
    options = options.model_copy(update={"tokenizer": fit_for(options.tokenizer, dataset)})
    items = catalogue(options.tokenizer, dataset)
    folder = options.cache_folder(items)
    cached = load_cached(folder)
    if cached is not None:
        return cached
    semantic_ids = train(options.tokenizer, items)
    semantic_ids.save(folder)
    return semantic_ids


def fit_for(options: TokenizerOptions, dataset) -> TokenizerOptions:
    """The options; without an .item file collaborative IDs, which come from events, get the encoder ``behaviour``.

    Raises UserError where the IDs come from texts and there are none.
    """
    if not any(encoder.reads_text for encoder in options.encoder) or dataset.item_words is not None:
        return options
    if options.name != "collaborative":
        dataset.need_texts(
            "the encoder of the semantic IDs", "give --tokenizer.encoder=behaviour or --tokenizer.name=collaborative"
        )
    return options.model_copy(update={"encoder": read_encoders("behaviour")})


def catalogue(options: TokenizerOptions, dataset) -> Items:
    """What the tokenizer of ``options`` may know of the items of a data set."""
    texts = any(encoder.reads_text for encoder in options.encoder)
    return from_dataset(dataset, list(options.fields) if options.fields else None, texts=texts)


def load_cached(folder: Path) -> SemanticIds | None:
    """The IDs in a cache folder; None if there are none, or if they are damaged, with a warning: they are made again.

    The same options and items give the same IDs, so nothing is lost.
    """
    if not (folder / "semantic_ids.json").exists():  # it is written last
        return None
    try:
        return SemanticIds.load(folder)
    except UserError as error:
        warnings.warn(f"{str(error).partition(';')[0]}; the semantic IDs are made again", stacklevel=2)
        return None


def cache_key(options: TokenizerOptions, items: Items) -> str:
    """16 hex digits of sha256 over all that decides the IDs: options, items, and the files that encoders read."""
    decisive = [FORMAT, METHOD, options.content(), items.fingerprint()]
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
    for encoder in options.encoder:
        if encoder.revision:
            digest.update(f"{encoder.name} {encoder.revision}".encode())
        digest.update("".join(encoder.commits()).encode())
        for file in encoder.files():
            for block in blocks(file):
                digest.update(block)
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Quantised:
    """A tokenizer fitted to a catalogue, before collisions are resolved. Rows are items without the padding item."""

    fit: Fit
    space: np.ndarray  # [n, dim], X through the fit's layers
    codes: np.ndarray  # [n, depth]
    content: np.ndarray  # bool [n], items of which something is known


def quantise(options: TokenizerOptions, items: Items, vectors: np.ndarray, seed: int | None = None) -> Quantised:
    """Fit the tokenizer to X = ``vectors`` [n_items, dim], row 0 the padding item; seed: other than the options'."""
    vectors = vectors[1:]
    content = (vectors != 0).any(axis=1)  # items of which nothing is known should not shape codebooks
    if not content.any():
        content[:] = True
    given = FitInput(
        vectors,
        content,
        options.codes_per_level(int(content.sum())),
        options.seed if seed is None else seed,
        {kind: matrix[:, 1:] for kind, matrix in items.interactions.items()},
    )
    fit: Fit = TOKENIZERS[options.name].fit(given, options.own)
    space = features_module.forward(vectors, fit.layers)
    return Quantised(fit, space, encode(space, fit.codebooks) if fit.codes is None else fit.codes, content)


def train(options: TokenizerOptions, items: Items) -> SemanticIds:
    """IDs of a catalogue (row 0 = padding). The same options and items give the same IDs."""
    return assemble(options, items, *encode_items(options, items))


def encode_items(options: TokenizerOptions, items: Items) -> tuple[Features, np.ndarray]:
    """The fitted encoders, and X [n_items, dim] with row 0 (padding) zero."""
    return features_module.fit(options.encoder, items, dim=options.dim, centre=options.centre, seed=options.seed)


def assemble(options: TokenizerOptions, items: Items, features: Features, vectors: np.ndarray) -> SemanticIds:
    """Quantise X = ``vectors`` and resolve collisions."""
    made = quantise(options, items, vectors)
    fit, raw = made.fit, made.codes
    strategy: Strategy = "extra_code" if fit.unique else options.collisions
    codes, codebooks = (raw, fit.codebooks) if fit.unique else resolve(strategy, made.space, raw, fit.codebooks)
    target = made.space if fit.latent else vectors[1:]  # what X^ reconstructs
    info = {
        "options": options.content(),
        "items": len(codes),
        "without_content": int((~made.content).sum()),
        **fit.info,
        "depth": raw.shape[1] - fit.unique,  # levels that say something about the item
        "collision_rate_before": collision_rate(raw),
        "collision_rate": collision_rate(codes),
        "error_before": relative_error(target, decode(raw, fit.codebooks)),
        "error": relative_error(target, decode(codes, codebooks)),
        "moved": float((codes[:, : raw.shape[1]] != raw).any(axis=1).mean()),
    }
    padding = np.full((1, codes.shape[1]), -1)
    return SemanticIds(
        np.concatenate([padding, codes]),
        codebooks,
        collisions=strategy,
        features=replace(features, layers=fit.layers),
        info=info,
    )


def collision_rate(codes: np.ndarray) -> float:
    """1 - distinct IDs / items: 0 when every item has an ID of its own."""
    return 1 - (int(group_rows(codes).max()) + 1) / len(codes)

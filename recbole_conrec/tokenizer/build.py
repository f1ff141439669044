"""From a configuration and a data set to semantic IDs: encode, quantise, resolve collisions; once per content."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from recbole_conrec.tokenizer import features as features_module
from recbole_conrec.tokenizer.collisions import group_rows, resolve
from recbole_conrec.tokenizer.fitting import Task, default_sizes
from recbole_conrec.tokenizer.inputs import Items, from_dataset
from recbole_conrec.tokenizer.options import TOKENIZERS, TokenizerOptions, parse
from recbole_conrec.tokenizer.quantise import decode, encode, relative_error
from recbole_conrec.tokenizer.semantic_ids import FORMAT, SemanticIds

METHOD = 1  # raise when the same options would give other IDs than before: old caches then no longer match


def build(config, dataset) -> SemanticIds:
    """The semantic IDs of ``dataset`` by ``config['tokenizer']``, from the cache if their content is the same.

    The cache is ``config['checkpoint_dir']/tokenizers/<key>/``; the key covers the options, the items' texts and ids
    and the training events, so a change of any of them makes new IDs.
    """
    options = parse(config["tokenizer"])
    items = from_dataset(dataset, options.fields)
    folder = Path(config["checkpoint_dir"]) / "tokenizers" / cache_key(options, items)
    if (folder / "semantic_ids.json").exists():
        return SemanticIds.load(folder)
    semantic_ids = train(options, items)
    semantic_ids.save(folder)
    return semantic_ids


def cache_key(options: TokenizerOptions, items: Items) -> str:
    """16 hex digits of sha256 over all that decides the IDs."""
    content = json.dumps([FORMAT, METHOD, options.content(), items.fingerprint()], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def train(options: TokenizerOptions, items: Items) -> SemanticIds:
    """IDs of a catalogue (row 0 = padding). The same options and items give the same IDs."""
    features, vectors = features_module.fit(list(options.encoder), items, dim=options.dim,
                                            centre=options.centre, seed=options.seed)
    vectors = vectors[1:]
    content = (vectors != 0).any(axis=1)  # items of which nothing is known do not take part in fitting
    if not content.any():
        content[:] = True
    sizes = list(options.sizes) if options.sizes != "auto" else default_sizes(int(content.sum()), options.depth)

    interactions = {kind: matrix[:, 1:] for kind, matrix in items.interactions.items()}
    fit = TOKENIZERS[options.name].fit(Task(vectors, content, sizes, options.seed, interactions), options.own)
    features = replace(features, layers=fit.layers)
    space = features_module.forward(vectors, fit.layers)
    raw, raw_codebooks = fit.codes, fit.codebooks
    if raw is None:
        raw = encode(space, raw_codebooks)
    strategy = "extra_code" if fit.unique else options.collisions
    codes, codebooks = (raw, raw_codebooks) if fit.unique else resolve(strategy, space, raw, raw_codebooks)
    target = space if fit.latent else vectors  # what X^ stands for
    info = {
        "options": options.content(), "items": len(codes), "without_content": int((~content).sum()), **fit.info,
        "collision_rate_before": collision_rate(raw), "collision_rate": collision_rate(codes),
        "error_before": relative_error(target, decode(raw, raw_codebooks)),
        "error": relative_error(target, decode(codes, codebooks)),
        "moved": float((codes[:, :raw.shape[1]] != raw).any(axis=1).mean()),
    }
    padding = np.full((1, codes.shape[1]), -1)
    return SemanticIds(np.concatenate([padding, codes]), codebooks, collisions=strategy, features=features,
                       info=info)


def collision_rate(codes: np.ndarray) -> float:
    """1 - distinct IDs / items: 0 when every item has an ID of its own."""
    return 1 - (int(group_rows(codes).max()) + 1) / len(codes)

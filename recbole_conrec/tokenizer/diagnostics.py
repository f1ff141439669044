"""Is this tokenizer any good? Each measure with the band in which it should be, and what to do if it is not.

The bands are rules of thumb (docs/tokenizer.md). A warning says where to look, not how well a model will do.
"""

from dataclasses import dataclass, replace

import numpy as np

from recbole_conrec.tokenizer import measures
from recbole_conrec.tokenizer.collisions import group_rows
from recbole_conrec.tokenizer.inputs import Items
from recbole_conrec.tokenizer.options import TokenizerOptions
from recbole_conrec.tokenizer.semantic_ids import SemanticIds
from recbole_conrec.tokenizer.stability import under_another_seed, under_noise

QUERIES, PAIRS = 1_000, 100_000  # most items whose neighbours are compared, and most pairs
SEED = 0  # of the samples and the noise


@dataclass(frozen=True)
class Measure:
    """One line of the report.

    Attributes:
        group: part of the report that it belongs to.
        name: what is measured.
        value: one number, or one per level.
        band: what it should be, in words; '' if it only informs.
        good: whether it is; None if it only informs.
        advice: what to do if it is not.
    """

    group: str
    name: str
    value: float | list[float]
    band: str = ""
    good: bool | None = None
    advice: str = ""


def diagnose(
    ids: SemanticIds,
    options: TokenizerOptions,
    items: Items,
    vectors: np.ndarray,
    categories: np.ndarray | None = None,
    *,
    stability: bool = True,
) -> list[Measure]:
    """All measures of a catalogue's IDs.

    Args:
        ids: the IDs that were made from what follows.
        options: how they were made.
        items: the catalogue.
        vectors: X [n_items, dim].
        categories: int64 [n_items, m], 0 for none; None: the purity of categories is not measured.
        stability: whether to measure how many codes noise and another seed leave; the second fit takes as long as the
            first.
    """
    rng = np.random.default_rng(SEED)
    errors, neighbours = _errors(ids), _neighbours(ids, vectors, rng)
    if options.name == "collaborative":  # its IDs are not made from vectors, so that they lose them is no fault
        errors, neighbours = ([replace(m, band="", good=None) for m in part] for part in (errors, neighbours))
    found = [*errors, *_use(ids), *_prefixes(ids, items, categories, rng), *neighbours]
    return found + (_stability(ids, options, items, vectors, rng) if stability else [])


def _errors(ids: SemanticIds) -> list[Measure]:
    info, unique = ids.info, ids.collisions != "shared"
    before, after = info["collision_rate_before"], info["collision_rate"]
    error, ratio = info["error_before"], info["error"] / max(info["error_before"], 1e-9)
    limit = info["items"] * 0.05
    lines = [
        Measure(
            "codes",
            "items without content",
            info["without_content"],
            "< 5 % of items",
            info["without_content"] <= limit,
            "they get arbitrary IDs: name more item fields in tokenizer.fields, or add the encoder behaviour",
        ),
        Measure(
            "codes",
            "reconstruction error, share of variance",
            error,
            "< 0.5",
            error < 0.5,
            "more codes (tokenizer.sizes) or levels (depth), or fewer dimensions (tokenizer.dim)",
        ),
        Measure(
            "codes",
            "collision rate before",
            before,
            "< 0.3",
            before < 0.3,
            "items are too similar for these codes: add fields or the encoder behaviour, or more codes; up to 0.3 is "
            "usual for short texts and is resolved at little cost",
        ),
        Measure(
            "codes",
            "collision rate",
            after,
            "0" if unique else "",
            after == 0 if unique else None,
            "collisions were kept on purpose",
        ),
        Measure("codes", "items moved to resolve collisions", info["moved"]),
        Measure(
            "codes",
            "error after / before collisions",
            ratio,
            "< 1.5",
            ratio < 1.5,
            "resolving moves items far: more codes on the last level, or collisions: extra_code",
        ),
    ]
    if "error_through_decoder" in info:
        error = info["error_through_decoder"]
        lines.insert(
            2,
            Measure(
                "codes",
                "error through the decoder",
                error,
                "< 0.6",
                error < 0.6,
                "the network has not learned the vectors: more rqvae.steps, a wider rqvae.latent, or rqvae.hidden",
            ),
        )
    return lines


def _use(ids: SemanticIds) -> list[Measure]:
    codes, depth = ids.codes[1:], ids.info["depth"]
    used = [measures.utilisation(codes[:, d], ids.sizes[d]) for d in range(ids.depth)]
    even = [measures.perplexity(codes[:, d]) / ids.sizes[d] for d in range(ids.depth)]
    return [
        Measure(
            "codes",
            "codes in use, per level",
            used,
            "> 0.95",
            min(used[:depth]) > 0.95,
            "fewer codes (tokenizer.sizes); rqvae: a higher dead_code or a lower decay",
        ),
        Measure(
            "codes",
            "perplexity / codes, per level",
            even,
            "> 0.5",
            min(even[:depth]) > 0.5,
            "a few codes hold most items: rqkmeans.balanced, fewer codes, or tokenizer.centre: true",
        ),
    ]


def _prefixes(ids: SemanticIds, items: Items, categories: np.ndarray | None, rng: np.random.Generator) -> list[Measure]:
    codes = ids.codes[1:]
    groups = [group_rows(codes[:, :d]) for d in range(1, max(ids.info["depth"], 2))]
    ginis = [measures.gini(np.bincount(g)) for g in groups]
    lines = [
        Measure(
            "prefixes",
            "Gini of items per prefix, per length",
            ginis,
            "< 0.6",
            max(ginis) < 0.6,
            "uneven prefixes: rqkmeans.balanced, or other sizes",
        )
    ]
    if categories is not None and (categories[1:] > 0).any():
        pure = [measures.purity(g, categories[1:]) for g in groups]
        by_chance = [measures.chance(measures.purity, g, categories[1:], rng=rng) for g in groups]
        lines += [
            Measure(
                "prefixes",
                "purity of categories, per length",
                pure,
                "> by chance + 0.1",
                pure[0] > by_chance[0] + 0.1,
                "first codes do not follow categories: put the category field into "
                "tokenizer.fields, or use a better encoder",
            ),
            Measure("prefixes", "the same by chance", by_chance),
        ]
    negative = items.interactions.get("negative")
    if negative is not None:
        pairs, random = measures.pairs_of_users(negative, PAIRS, rng)
        if len(pairs) and len(random):
            lines.append(_co_disliked(groups, pairs, random))
    return lines


def _co_disliked(groups: list[np.ndarray], pairs: np.ndarray, random: np.ndarray) -> Measure:
    """How much more often items that a user dislikes share a prefix than random ``pairs`` [n, 2] of items do."""
    same = [float((g[pairs[:, 0] - 1] == g[pairs[:, 1] - 1]).mean()) for g in groups]
    by_chance = [float((g[random[:, 0] - 1] == g[random[:, 1] - 1]).mean()) for g in groups]
    lift = [s / max(c, 1 / len(random)) for s, c in zip(same, by_chance, strict=True)]
    return Measure(
        "prefixes",
        "co-disliked pairs in one prefix / by chance",
        lift,
        "> 1.2",
        lift[0] > 1.2,
        "prefixes say little about who dislikes what: add the encoder behaviour (weight 0.5), or rqvae.contrastive",
    )


def _neighbours(ids: SemanticIds, vectors: np.ndarray, rng: np.random.Generator) -> list[Measure]:
    x, made = vectors[1:], ids.embeddings()[1:]
    n = len(x)
    if n < 20:
        return []
    pairs = rng.integers(0, n, (min(PAIRS, n * n), 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    cosines = measures.cosine(made, pairs)
    agreement = measures.neighbour_agreement(x, made, rng.choice(n, min(QUERIES, n), replace=False))
    rank, mean = measures.spearman(measures.cosine(x, pairs), cosines), float(cosines.mean())
    return [
        Measure(
            "vectors",
            "10 nearest neighbours shared with the encoder",
            agreement,
            "> 0.25",
            agreement > 0.25,
            "IDs lose which items are near each other: more codes or levels, or a smaller tokenizer.dim",
        ),
        Measure(
            "vectors",
            "rank correlation of cosines with the encoder",
            rank,
            "> 0.6",
            rank > 0.6,
            "rewards and the filter compare these cosines: more codes or levels, or a smaller tokenizer.dim",
        ),
        Measure(
            "vectors",
            "mean cosine of random items",
            mean,
            "< 0.2",
            mean < 0.2,
            "all items look alike: tokenizer.centre: true",
        ),
        Measure(
            "vectors",
            "random pairs with a cosine above 0.6",
            float((cosines > 0.6).mean()),
            "< 0.1",
            bool((cosines > 0.6).mean() < 0.1),
            "a threshold of 0.6 would separate few items: tokenizer.centre: true",
        ),
    ]


def _stability(
    ids: SemanticIds, options: TokenizerOptions, items: Items, vectors: np.ndarray, rng: np.random.Generator
) -> list[Measure]:
    lines = []
    what = "events left out" if options.name == "collaborative" else "noise"
    advice = "fewer codes, or a smaller tokenizer.dim; the ID of an item whose text changes a little will change too"
    if options.name == "collaborative":
        advice = (
            "usual for clusters of few events, which cannot take in new ones: keep the saved IDs, and do not compare "
            "models whose IDs were made at different times"
        )
    for change, shares in under_noise(ids, options, items, vectors, rng).items():
        judged = change == 0.01
        lines.append(
            Measure(
                "stability",
                f"codes kept at {change:.0%} {what}, per level",
                shares,
                "mean > 0.9" if judged else "",
                float(np.mean(shares)) > 0.9 if judged else None,
                advice if judged else "",
            )
        )
    shares = under_another_seed(ids, options, items, vectors)
    lines.append(
        Measure(
            "stability",
            "codes kept with another seed, per level",
            shares,
            "first > 0.5",
            shares[0] > 0.5,
            "IDs depend on the seed: keep tokenizer.seed and the saved IDs, or use fewer codes",
        )
    )
    return lines

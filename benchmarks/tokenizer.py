"""Speed and quality of the tokenizers, against public implementations with the same vectors and code sizes.

    python benchmarks/tokenizer.py                              # 10,000 and 100,000 items, a few minutes
    python benchmarks/tokenizer.py --items 1000000 --parts methods --methods rqkmeans rqvae
    python benchmarks/tokenizer.py --lcrec /path/to/LC-Rec      # a clone of github.com/zhengbw0324/LC-Rec
    python benchmarks/tokenizer.py --parts trie

Parts: `methods` (seconds to a given reconstruction error), `sizes` (cost and quality of a code size), `collisions`
(seconds to unique IDs) and `trie`. The vectors are a mixture of clusters within clusters in 384 dimensions with a
spectrum that falls like that of sentence embeddings, or those of `--vectors FILE.npy`. Seconds are CPU time of one
thread. Prints Markdown.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import faiss
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from recbole_conrec.tokenizer import Trie, rqkmeans, rqvae
from recbole_conrec.tokenizer.collisions import resolve
from recbole_conrec.tokenizer.features import forward
from recbole_conrec.tokenizer.fitting import FitInput
from recbole_conrec.tokenizer.measures import perplexity, utilisation
from recbole_conrec.tokenizer.pipeline import collision_rate
from recbole_conrec.tokenizer.quantise import decode, encode, relative_error

DIM, SIZES = 384, (256, 256, 256)
CLOCK = time.process_time  # other processes do not lengthen it


def synthetic(n: int, seed: int = 0) -> np.ndarray:
    """float32 [n, 384]: sqrt(n) topics of 8 subtopics each, plus noise of each item; centred, mean square length 1."""
    rng = np.random.default_rng(seed)
    spectrum = (np.arange(1, DIM + 1) ** -0.25 * np.exp(-np.arange(DIM) / 400)).astype(np.float32)
    topics = int(n**0.5)
    popularity = rng.lognormal(0, 0.7, topics)
    topic = rng.choice(topics, n, p=popularity / popularity.sum())
    subtopic = topic * 8 + rng.integers(0, 8, n)
    vectors = rng.standard_normal((topics, DIM), dtype=np.float32)[topic]
    vectors += 0.7 * rng.standard_normal((topics * 8, DIM), dtype=np.float32)[subtopic]
    vectors += 0.7 * rng.standard_normal((n, DIM), dtype=np.float32)
    vectors *= spectrum
    vectors -= vectors.mean(axis=0)
    return vectors / np.sqrt((vectors**2).sum(axis=1).mean())


# ---- methods: each yields (seconds of work so far, codes [n, depth], X^ [n, dim])


def ours(module, options):
    def run(vectors, sizes):
        begin = CLOCK()
        fit = module.fit(FitInput(vectors, np.ones(len(vectors), dtype=bool), list(sizes), 0), options)
        codes = encode(forward(vectors, fit.layers), fit.codebooks)
        spent = CLOCK() - begin
        yield spent, codes, fit.info.get("error_through_decoder", decode(codes, fit.codebooks))

    return run


def faiss_residual(vectors, sizes):
    """The additive quantiser of faiss, in one fit."""
    begin = CLOCK()
    quantiser = faiss.ResidualQuantizer(vectors.shape[1], len(sizes), int(np.log2(sizes[0])))
    quantiser.train(vectors[: 256 * 256 * 4])
    packed = quantiser.compute_codes(vectors)
    spent = CLOCK() - begin
    yield spent, packed[:, : len(sizes)].astype(np.int64), quantiser.decode(packed)  # 8 bits a code: a byte each


def vq_as_is(vectors, sizes):
    """ResidualVQ in the training loop of its README: its defaults, k-means initialisation, expiry of dead codes."""
    from vector_quantize_pytorch import ResidualVQ

    torch.manual_seed(0)
    quantiser = ResidualVQ(
        dim=vectors.shape[1], codebook_size=tuple(sizes), kmeans_init=True, kmeans_iters=10, threshold_ema_dead_code=2
    )
    data, spent = torch.from_numpy(vectors), 0.0
    while True:
        begin = CLOCK()
        for _ in range(20):
            quantiser(data[torch.randint(len(data), (2048,))][None])
        spent += CLOCK() - begin
        books = [layer.codebook.numpy() for layer in quantiser.layers]
        codes = encode(vectors, books)
        yield spent, codes, decode(codes, books)


def lcrec(folder):
    """The RQ-VAE of LC-Rec (also TIGER's shape) with the defaults of its index/main.py, from a clone."""

    def run(vectors, sizes):
        sys.path.insert(0, str(Path(folder) / "index"))
        from models.rqvae import RQVAE

        torch.manual_seed(0)
        model = RQVAE(
            in_dim=vectors.shape[1],
            num_emb_list=list(sizes),
            e_dim=32,
            layers=[2048, 1024, 512, 256, 128, 64],
            beta=0.25,
            kmeans_init=True,
            kmeans_iters=100,
            sk_epsilons=[0.0] * len(sizes),
            sk_iters=50,
        )
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
        data, spent = torch.from_numpy(vectors), 0.0
        while True:
            begin = CLOCK()
            model.train()
            for _ in range(20):
                x = data[torch.randint(len(data), (2048,))]
                out, quantisation, _ = model(x)
                loss, _ = model.compute_loss(out, quantisation, xs=x)
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
            spent += CLOCK() - begin
            model.eval()
            with torch.inference_mode():
                parts = [model(x, use_sk=False) for x in data.split(8192)]
            yield spent, torch.cat([p[2] for p in parts]).numpy(), torch.cat([p[0] for p in parts]).numpy()

    return run


METHODS = {  # name on the command line -> (name in the table, function)
    "rqkmeans": ("`rqkmeans`", ours(rqkmeans, rqkmeans.Options())),
    "rqvae": ("`rqvae`", ours(rqvae, rqvae.Options())),
    "latent": ("`rqvae`, latent 32", ours(rqvae, rqvae.Options(latent=32, hidden=(128,)))),
    "faiss": ("faiss ResidualQuantizer", faiss_residual),
    "vq": ("vector-quantize-pytorch ResidualVQ", vq_as_is),
}


def methods(vectors, sizes, limit, chosen):
    target: float | None = None
    for name, run in chosen:
        for result in run(vectors, sizes):
            seconds, codes, made = result
            error = made if isinstance(made, float) else relative_error(vectors, made)
            target = target or 1.03 * error  # of the first method
            reached = error <= target
            if reached or seconds > limit:
                break
        used = [utilisation(codes[:, d], sizes[d]) for d in range(len(sizes))]
        even = [perplexity(codes[:, d]) / sizes[d] for d in range(len(sizes))]
        when = f"{seconds:.1f}" if reached else f"not in {seconds:.0f}"
        row(
            f"{len(vectors):,}",
            name,
            f"{target:.3f}",
            when,
            f"{error:.3f}",
            f"{min(used):.2f}",
            f"{min(even):.2f}",
            f"{collision_rate(codes):.3f}",
        )


def sizes_table(vectors):
    n = len(vectors)
    for size in (16, 32, 64, 128, 256, 1024):
        if size * 16 > n:
            continue
        begin = CLOCK()
        books = rqkmeans.fit(FitInput(vectors, np.ones(n, dtype=bool), [size] * 3, 0), rqkmeans.Options()).codebooks
        codes = encode(vectors, books)
        seconds = CLOCK() - begin
        even = [perplexity(codes[:, d]) / size for d in range(3)]
        row(
            f"{n:,}",
            str(size),
            f"{n / size:,.0f}",
            f"{relative_error(vectors, decode(codes, books)):.3f}",
            f"{min(even):.2f}",
            f"{collision_rate(codes):.3f}",
            f"{seconds:.1f}",
        )


def collisions_table(vectors):
    """Three tenths of the items are copies of others, so that there are collisions to resolve."""
    n, rng = len(vectors), np.random.default_rng(0)
    vectors = vectors.copy()
    copies = rng.choice(n, int(0.3 * n), replace=False)
    vectors[copies] = vectors[rng.integers(0, n, len(copies))]
    books = rqkmeans.fit(FitInput(vectors, np.ones(n, dtype=bool), list(SIZES), 0), rqkmeans.Options()).codebooks
    codes = encode(vectors, books)
    before = relative_error(vectors, decode(codes, books))
    for strategy in ("nearest_free", "sinkhorn", "extra_code"):
        begin = CLOCK()
        made, more = resolve(strategy, vectors, codes, books)
        seconds = CLOCK() - begin
        row(
            f"{n:,}",
            strategy,
            f"{collision_rate(codes):.3f}",
            f"{collision_rate(made):.3f}",
            f"{relative_error(vectors, decode(made, more)) / before:.3f}",
            f"{seconds:.1f}",
        )


def trie_table():
    for n in (10**5, 10**6, 10**7):
        codes = np.random.default_rng(0).integers(0, 1024, (n + 1, 3))
        codes[0] = -1
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begin = CLOCK()
        trie = Trie.from_codes(codes)
        seconds = CLOCK() - begin
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) / 2**20
        row(f"{n:,}", f"{trie.n_leaves:,}", f"{seconds:.1f}", f"{trie.nbytes / 2**30:.2f}", f"{peak:.2f}")


def row(*cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def head(*names):
    print()
    row(*names)
    row(*["---"] * len(names))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--vectors", help=".npy of float vectors [n, dim] instead of generated ones")
    parser.add_argument("--parts", nargs="+", default=["methods", "sizes", "collisions", "trie"])
    parser.add_argument(
        "--methods",
        nargs="+",
        default=list(METHODS),
        choices=METHODS,
        help="methods of the first table; the target is 1.03 times the error of the first",
    )
    parser.add_argument("--limit", type=float, default=120, help="seconds after which a method is stopped")
    parser.add_argument("--lcrec", help="folder with a clone of LC-Rec")
    arguments = parser.parse_args()
    threadpool_limits(1)
    torch.set_num_threads(1)
    chosen = [METHODS[name] for name in arguments.methods]
    if arguments.lcrec:
        chosen.append(("LC-Rec's RQ-VAE, latent 32", lcrec(arguments.lcrec)))
    columns = {
        "methods": (
            "items",
            "method",
            "target",
            "seconds to target",
            "error",
            "codes in use",
            "perplexity / codes",
            "collisions",
        ),
        "sizes": ("items", "codes a level", "items a code", "error", "perplexity / codes", "collisions", "seconds"),
        "collisions": ("items", "strategy", "collisions before", "after", "error after / before", "seconds"),
    }
    for part, names in columns.items():
        if part not in arguments.parts:
            continue
        head(*names)
        for n in [None] if arguments.vectors else arguments.items:
            vectors = synthetic(n) if n else np.load(arguments.vectors).astype(np.float32)
            vectors -= vectors.mean(axis=0)
            if part == "methods":
                methods(vectors, SIZES, arguments.limit, chosen)
            else:
                {"sizes": sizes_table, "collisions": collisions_table}[part](vectors)
    if "trie" in arguments.parts:
        head("IDs", "distinct", "seconds", "tables, GiB", "peak beside the codes, GiB")
        trie_table()


if __name__ == "__main__":
    main()

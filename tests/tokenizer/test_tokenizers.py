"""Each tokenizer against what it must achieve on data whose structure is known."""

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score

from recbole_conrec.tokenizer import Items, collaborative, opq, parse, rqkmeans, rqvae, train
from recbole_conrec.tokenizer.fitting import FitInput, default_sizes
from recbole_conrec.tokenizer.kmeans import kmeans
from recbole_conrec.tokenizer.quantise import decode, encode, nearest, relative_error
from recbole_conrec.utils.errors import UserError


def blobs(n=240, dim=9, centres=6, noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    label = np.arange(n) % centres
    return (rng.normal(size=(centres, dim))[label] + noise * rng.normal(size=(n, dim))).astype(np.float32), label


def given(vectors, sizes, seed=0, **more):
    return FitInput(vectors, np.ones(len(vectors), dtype=bool), list(sizes), seed, **more)


def test_greedy_codes_are_the_nearest_code_of_every_residual():
    rng = np.random.default_rng(0)
    vectors, books = rng.normal(size=(30, 4)).astype("f4"), [rng.normal(size=(k, 4)).astype("f4") for k in (5, 7)]
    codes = encode(vectors, books)
    for x, code in zip(vectors, codes, strict=True):
        residual = x.copy()
        for level, book in enumerate(books):
            assert code[level] == ((residual - book) ** 2).sum(axis=1).argmin()
            residual = residual - book[code[level]]
        np.testing.assert_allclose(decode(code[None], books)[0], x - residual, atol=1e-6)


@pytest.mark.parametrize("name", [rqkmeans, rqvae])
def test_first_codes_find_the_clusters_and_deeper_ones_lower_the_error(name):
    vectors, label = blobs()
    fit = name.fit(given(vectors, (6, 8, 8)), name.Options())
    space = vectors
    for weight, bias in fit.layers:
        space = space @ weight.T + bias
    codes = encode(space, fit.codebooks)
    assert adjusted_rand_score(label, codes[:, 0]) > 0.99
    errors = [relative_error(vectors, decode(codes[:, :d], fit.codebooks[:d])) for d in (1, 2, 3)]
    assert errors[0] < 0.05 and errors[0] > errors[1] > errors[2]


def test_kmeans_survives_an_outlier_at_the_origin_of_the_residuals():
    """A start at the origin attracts nearly all of many-dimensional noise; k-means++ starts elsewhere."""
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.normal(size=(2000, 128)), np.zeros((60, 128))]).astype("f4")
    for seed in range(5):
        counts = np.bincount(nearest(vectors, kmeans(vectors, 16, seed=seed)), minlength=16)
        assert counts.min() > 0 and counts.max() < 800


def test_balanced_codes_hold_equally_many_items():
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.normal(size=(150, 5)) * 0.1, rng.normal(size=(50, 5)) + 5]).astype("f4")
    plain = rqkmeans.fit(given(vectors, (8, 8)), rqkmeans.Options())
    even = rqkmeans.fit(given(vectors, (8, 8)), rqkmeans.Options(balanced=True))
    assert np.bincount(encode(vectors, plain.codebooks)[:, 0]).max() > 50
    for level in range(2):
        assert np.bincount(even.codes[:, level], minlength=8).max() == 25


def test_rqvae_meets_its_loss_and_leaves_the_global_random_state_alone():
    vectors, _ = blobs(noise=0.5)
    state = torch.random.get_rng_state()
    fit = rqvae.fit(given(vectors, (8, 8, 8)), rqvae.Options())
    assert torch.equal(torch.random.get_rng_state(), state)
    ((weight, bias),) = fit.layers
    space = vectors @ weight.T + bias
    error = relative_error(vectors, decode(encode(space, fit.codebooks), fit.codebooks))
    assert fit.info["error_through_decoder"] == pytest.approx(error, rel=1e-3)
    assert error < relative_error(vectors, decode(encode(vectors, (b := _kmeans_books(vectors))), b)) * 1.15


def _kmeans_books(vectors):
    return rqkmeans.fit(given(vectors, (8, 8, 8)), rqkmeans.Options()).codebooks


def test_a_dead_code_restarts_only_where_the_reset_is_on(monkeypatch):
    vectors, _ = blobs(n=200, noise=0.6)
    start = rqvae._start

    def with_a_dead_code(quantiser, *more):
        start(quantiser, *more)
        state = quantiser.layers[0]._codebook
        state.embed[0, 0], state.embed_avg[0, 0], state.cluster_size[0, 0] = 1000, 500, 0.5

    monkeypatch.setattr(rqvae, "_start", with_a_dead_code)
    reset, left = (
        rqvae.fit(given(vectors, (8,)), rqvae.Options(dead_code=d, steps=3)).codebooks[0] for d in (0.125, 0.0)
    )
    assert np.abs(reset).max() < 10 < np.abs(left).max()


def test_codes_that_see_less_than_an_item_a_batch_are_not_dead():
    vectors = np.random.default_rng(0).normal(size=(1500, 8)).astype("f4")
    left, reset = (
        rqvae.fit(given(vectors, (256,)), rqvae.Options(batch=64, steps=60, decay=0.99, dead_code=d))
        for d in (0.0, 0.125)
    )
    assert reset.info["error_through_decoder"] < 1.1 * left.info["error_through_decoder"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"rotation_trick": True}, {"latent": 4}, {"latent": 4, "hidden": (12,)}, {"latent": 4, "rotation_trick": True}],
)
def test_variants_of_the_network_train(options):
    vectors, _ = blobs()
    fit = rqvae.fit(given(vectors, (6, 8)), rqvae.Options(steps=300, lr=3e-3, **options))
    assert fit.info["error_through_decoder"] < 0.1
    assert fit.codebooks[0].shape == (6, options.get("latent", 9))


def test_hidden_layers_need_a_latent_space():
    with pytest.raises(UserError, match="tokenizer.rqvae: hidden layers need a latent space; set latent"):
        parse({"name": "rqvae", "rqvae": {"hidden": [8]}})
    assert parse({"name": "rqvae", "rqvae": {"hidden": [8], "latent": 4}}).rqvae.hidden == (8,)


def test_contrastive_loss_is_info_nce_over_items_with_behaviour():
    rng = np.random.default_rng(0)
    items = torch.tensor(rng.normal(size=(5, 3)))
    behaviour = torch.nn.functional.normalize(torch.tensor(rng.normal(size=(5, 3))), dim=1)
    behaviour[3] = 0
    keep = [0, 1, 2, 4]
    unit = torch.nn.functional.normalize(items, dim=1)
    expected = -np.mean(
        [
            float((unit[i] @ behaviour[i]) / 0.2)
            - np.log(sum(np.exp(float(unit[i] @ behaviour[j]) / 0.2) for j in keep))
            for i in keep
        ]
    )
    assert float(rqvae.contrastive_loss(items, behaviour, 0.2)) == pytest.approx(expected)
    assert float(rqvae.contrastive_loss(items, behaviour * 0, 0.2)) == 0


def communities(groups=4, per_group=15, users=240, seed=0):
    """Items of a group share users; the last three items have none."""
    rng = np.random.default_rng(seed)
    n = groups * per_group
    matrix = np.zeros((users, n + 3), dtype=np.int64)
    for user in range(users):
        own = np.arange(n) % groups == user % groups
        matrix[user, :n] = rng.random(n) < np.where(own, 0.4, 0.02)
    return scipy.sparse.csr_matrix(matrix), np.arange(n) % groups


@pytest.mark.slow
def test_collaborative_term_brings_items_with_the_same_users_together():
    events, label = communities()
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(63, 40)).astype("f4") / 40**0.5  # content says nothing of the groups
    alike = []
    for weight in (0.0, 3.0):
        fit = rqvae.fit(
            given(vectors, (8, 8), interactions={"negative": events, "positive": events * 0}),
            rqvae.Options(contrastive=weight, steps=300, lr=3e-3, commitment=1.0, behaviour={"dim": 4}),
        )
        ((matrix, bias),) = fit.layers
        made = decode(encode(vectors @ matrix.T + bias, fit.codebooks), fit.codebooks)[:60]
        distance = ((made[:, None] - made) ** 2).sum(axis=2) + 1e9 * np.eye(60)
        alike.append((label[distance.argsort(axis=1)[:, :5]] == label[:, None]).mean())
    assert alike[0] < 0.35 and alike[1] > alike[0] + 0.1


def test_spectral_split_finds_communities_as_scikit_learn_does():
    events, label = communities()
    options = collaborative.Options(clusters=4, leaf=20, feedback=("negative",))
    paths = collaborative.split(events.tocsc().astype(float), options, seed=0)
    graph = (events.T @ events).toarray().astype(float)
    np.fill_diagonal(graph, 0)
    reference = SpectralClustering(4, affinity="precomputed", random_state=0).fit_predict(graph[:60, :60])
    assert adjusted_rand_score(paths[:60, 0], reference) > 0.99 and adjusted_rand_score(paths[:60, 0], label) > 0.99
    assert (paths[60:, 0] == 4).all()  # items without users are a cluster of their own


def test_the_embedding_is_of_the_normalised_graph():
    events, _ = communities(users=60)
    matrix = events[:, :60].tocsc().astype(float)
    graph = (matrix.T @ matrix).toarray()
    np.fill_diagonal(graph, 0)
    degree = graph.sum(axis=1)
    values, vectors = np.linalg.eigh(graph / np.sqrt(np.outer(degree, degree)))
    got = collaborative._embed(matrix, degree, 4, seed=0)
    top = vectors[:, np.argsort(-values)[:4]]
    top /= np.linalg.norm(top, axis=1, keepdims=True)
    np.testing.assert_allclose(got @ got.T, top @ top.T, atol=1e-4)  # equal up to a rotation


@pytest.mark.parametrize(("clusters", "leaf"), [(4, 4), (3, 9), (2, 200)])
def test_leaves_are_small_and_ids_unique(clusters, leaf):
    events, _ = communities()
    items = Items(
        [""] + ["word"] * 63,
        interactions={
            "negative": scipy.sparse.hstack([scipy.sparse.csr_matrix((240, 1), dtype=np.int64), events]).tocsr(),
            "positive": scipy.sparse.csr_matrix((240, 64), dtype=np.int64),
        },
    )
    ids = train(parse({"name": "collaborative", "collaborative": {"clusters": clusters, "leaf": leaf}}), items)
    assert len(np.unique(ids.codes[1:], axis=0)) == 63 and ids.sizes[-1] <= leaf
    assert not ids.codebooks[-1].any() and ids.trie.n_leaves == 63
    more = ids.extend(np.zeros((5, ids.codebooks[0].shape[1])))
    assert len(np.unique(more.codes[1:], axis=0)) == 68 and (more.codes[:64] == ids.codes).all()


def test_opq_rotates_correlated_vectors_into_parallel_codes():
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(2000, 8)) * [5, 4, 3, 2, 0.1, 0.1, 0.1, 0.1]).astype("f4")
    plain, rotated = (opq.fit(given(vectors, (16, 16)), opq.Options(rotations=r)).codebooks for r in (0, 25))
    errors = [relative_error(vectors, decode(encode(vectors, b), b)) for b in (plain, rotated)]
    assert errors[1] < 0.7 * errors[0]
    np.testing.assert_allclose(rotated[0] @ rotated[1].T, 0, atol=1e-3)  # levels code orthogonal subspaces


def test_opq_pads_dimensions_that_do_not_divide():
    vectors, _ = blobs(dim=10)
    books = opq.fit(given(vectors, (8, 8, 8)), opq.Options()).codebooks
    assert [b.shape for b in books] == [(8, 10)] * 3
    assert relative_error(vectors, decode(encode(vectors, books), books)) < 0.3


def test_more_codes_than_items_is_the_users_mistake():
    for name in (rqvae, rqkmeans, opq):
        with pytest.raises(UserError, match="300 codes for 240 items"):
            name.fit(given(blobs()[0], (300,)), name.Options())


@pytest.mark.parametrize(
    ("n", "size"), [(1, 1), (3, 3), (1_682, 64), (3_255, 64), (18_049, 256), (10**6, 256), (10**8, 1024)]
)
def test_default_sizes_grow_with_the_catalogue(n, size):
    assert default_sizes(n, 3) == [size] * 3
    assert size**3 >= n

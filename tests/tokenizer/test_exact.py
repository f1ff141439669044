"""Semantic IDs are the same, bit for bit, on every machine and for every number of threads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from recbole_conrec.runs.threads import pinned
from recbole_conrec.tokenizer import Items, exact, parse, train
from recbole_conrec.tokenizer.kmeans import kmeans

HERE = Path(__file__).parent
OLD = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V4"


def fingerprints(rqvae: bool) -> list[str]:
    """Of the IDs of one catalogue, made in several ways by this process."""
    rng = np.random.default_rng(0)
    n, users = 400, 100
    topic = rng.integers(0, 25, n)
    words = rng.integers(0, 400, (25, 12))
    texts = [" ".join(f"w{w}" for w in [*rng.choice(words[t], 5), *rng.integers(0, 400, 2)]) for t in topic]
    events = scipy.sparse.csr_matrix((rng.random((users, n + 1)) < 0.04).astype(np.int64))
    events = events + scipy.sparse.csr_matrix(np.pad(topic[None] == np.arange(users)[:, None] % 25, ((0, 0), (1, 0))))
    sequences = np.repeat(np.arange(users), 40), rng.integers(1, n + 1, users * 40)
    numbers, kinds = [str(i) for i in range(n + 1)], {"negative": events, "positive": events[::-1] > 1}
    items = Items(["", *texts], numbers, kinds, sequences)
    encoders = ["tfidf", {"name": "behaviour", "dim": 16}, {"name": "neighbourhood", "dim": 16}]
    blocks = [
        {"encoder": encoders},
        {"rqkmeans": {"balanced": True}, "collisions": "extra_code", "sizes": 16},
        {"collisions": "sinkhorn", "encoder": {"name": "tfidf", "dim": 100}, "dim": 30},
        {"name": "opq", "opq": {"rotations": 2}, "encoder": encoders},
        {"name": "collaborative", "collaborative": {"clusters": 6, "leaf": 60}},
    ]
    if rqvae:
        blocks.append({"name": "rqvae", "rqvae": {"steps": 5}})
    return [train(parse(block), items).fingerprint for block in blocks]


def fingerprints_there(rqvae: bool, environment) -> list[str]:
    """By a process of its own: its environment decides how NumPy, OpenBLAS and faiss compute."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import test_exact as t; print(t.json.dumps(t.fingerprints({rqvae})))"],
        capture_output=True,
        text=True,
        cwd=HERE,
        env=os.environ | environment | {"PYTHONPATH": str(HERE.parent.parent)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def ours():
    """Those of this process, with one thread however the tests were started."""
    with pinned(1):
        return fingerprints(rqvae=True)


CASES = {  # name: number of threads, kind of core, whether training (rqvae) is compared
    "two threads without AVX-512": ("2", "Haswell", True),
    "one thread without AVX": ("1", "Prescott", False),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_other_instructions_and_numbers_of_threads_give_the_same(ours, case):
    """In NumPy, OpenBLAS and faiss."""
    threads, core, rqvae = CASES[case]
    environment = {f"{library}_NUM_THREADS": threads for library in ("OMP", "OPENBLAS", "MKL")}
    environment["OMP_WAIT_POLICY"] = "passive"  # threads that wait leave the processor to others
    instructions = {"OPENBLAS_CORETYPE": core, "FAISS_OPT_LEVEL": "generic", "FAISS_SIMD_LEVEL": "NONE"}
    found = fingerprints_there(rqvae, {**environment, **instructions, "NPY_DISABLE_CPU_FEATURES": OLD})
    assert found == ours[: len(found)] and len(found) == 5 + rqvae


def test_a_product_does_not_depend_on_the_order_of_summation():
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(40, 300)) * 10.0 ** rng.integers(-9, 9, (40, 1)), rng.normal(size=(300, 30))
    product = exact.matmul(left, right)
    order = rng.permutation(300)
    assert (exact.matmul(left[:, order], right[order]) == product).all()
    assert (exact.matmul(scipy.sparse.csr_matrix(left), right) == product).all()
    assert (exact.matmul(left[7:9], right) == product[7:9]).all()  # no row depends on the others
    lengths = np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=0)
    assert (np.abs(product - left @ right) / lengths).max() < 1e-6
    assert (exact.matmul(np.zeros((1, 300)), right) == 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (8, 5), (30, 30)])
def test_svd_is_that_of_lapack(shape):
    matrix = np.random.default_rng(1).normal(size=shape)
    matrix[:, -1] = matrix[:, 0]  # of lower rank, but for a single column
    left, lengths, right = exact.svd(matrix)
    np.testing.assert_allclose(lengths, np.linalg.svd(matrix)[1], atol=1e-10)
    np.testing.assert_allclose(left * lengths @ right.T, matrix, atol=1e-10)
    np.testing.assert_allclose(right.T @ right, np.eye(shape[1]), atol=1e-10)


def test_top_eigenvectors_span_those_of_lapack():
    rng = np.random.default_rng(2)
    root = rng.normal(size=(60, 40)) * 0.8 ** np.arange(40)
    square = root.T @ root
    vectors = exact.top_eigenvectors(lambda y: exact.matmul(square, y), 40, 6, seed=0, iterations=20)
    wanted = np.linalg.eigh(square)[1][:, ::-1][:, :6]
    np.testing.assert_allclose(vectors @ vectors.T, wanted @ wanted.T, atol=1e-5)


@pytest.mark.parametrize("shape", [(50, 20), (20, 50)])
def test_components_are_those_of_the_svd(shape):
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(shape[0], 15)) * 0.6 ** np.arange(15) @ rng.normal(size=(15, shape[1]))
    found = exact.components(scipy.sparse.csr_matrix(matrix), 4, seed=0)
    wanted = np.linalg.svd(matrix)[2][:4]
    np.testing.assert_allclose(found.T @ found, wanted.T @ wanted, atol=1e-5)


def test_solve_meets_its_equation():
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(12, 12))
    matrix = matrix @ matrix.T + np.eye(12)
    right = rng.normal(size=(12, 3))
    np.testing.assert_allclose(matrix @ exact.solve(matrix, right), right, atol=1e-9)


def test_a_dependent_column_of_a_basis_is_zero():
    columns = np.random.default_rng(5).normal(size=(9, 3))
    basis = exact.orthonormal(np.column_stack([columns, columns[:, 0]]))
    np.testing.assert_allclose(basis.T @ basis, np.diag([1, 1, 1, 0]), atol=1e-12)


@pytest.mark.parametrize("rows", [8, 9, 40])
def test_kmeans_of_few_or_equal_vectors(rows):
    vectors = np.repeat(np.eye(4, dtype=np.float32), 10, axis=0)[:rows]
    centroids = kmeans(vectors, 8, seed=0)
    assert centroids.shape == (8, 4) and np.isfinite(centroids).all()
    distances = ((vectors[:, None] - centroids) ** 2).sum(axis=2).min(axis=1)
    assert distances.max() < 1e-12

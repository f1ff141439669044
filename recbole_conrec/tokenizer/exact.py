"""Linear algebra whose result is the same, bit for bit, on every machine and for every number of threads.

Libraries add up products in an order that depends on the processor and the number of threads, and every order rounds
differently. Here nothing depends on the order: the factors of a product are first rounded to so few bits that float64
holds all sums of their products exactly (:func:`matmul`). Everything else is NumPy's elementwise arithmetic, and its
sums over an axis, which follow IEEE 754 in a fixed order.
"""

from collections.abc import Callable

import numpy as np
import scipy.sparse

BITS = 26  # of a factor, relative to the length of its vector: |a . b| <= |a| |b|, so that 2 x 26 bits hold every sum
SWEEPS = 30  # most sweeps of Jacobi rotations; 6 to 10 are usual
TOLERANCE = 1e-12  # cosine below which two vectors count as orthogonal
SPARE = 10  # vectors of a subspace beyond those that are wanted
POWERS = 7  # times that a matrix and its transpose are applied for a truncated SVD, before the last time


def matmul(left, right: np.ndarray) -> np.ndarray:
    """Left @ right, float64 [n, m]: the exact product of factors rounded to 26 bits.

    A row of ``left`` [n, k] (dense, or sparse CSR) and a column of ``right`` [k, m] are rounded to multiples of
    2^-26 times the power of two at or above their length; so no row depends on the others.
    """
    return rounded_rows(left) @ rounded_columns(right)


def rounded_rows(matrix):
    """float64 rows of a dense or sparse (CSR) matrix rounded as left factors of :func:`matmul`."""
    if not scipy.sparse.issparse(matrix):
        matrix = np.asarray(matrix, dtype=np.float64)
        return _rounded(matrix, np.sqrt((matrix * matrix).sum(axis=1, keepdims=True)))
    values, lengths = _lengths(matrix)
    return scipy.sparse.csr_matrix((_rounded(values, lengths), matrix.indices, matrix.indptr), matrix.shape)


def unit_rows(matrix: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    """float64 rows scaled to length 1; an empty row stays empty."""
    values, lengths = _lengths(matrix)
    return scipy.sparse.csr_matrix((values / np.maximum(lengths, 1e-300), matrix.indices, matrix.indptr), matrix.shape)


def _lengths(matrix: scipy.sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """float64, per entry of a sparse matrix: its value, and the length of its row."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    values = matrix.data.astype(np.float64)
    return values, np.sqrt(np.bincount(row, values * values, minlength=matrix.shape[0]))[row]


def rounded_columns(matrix: np.ndarray) -> np.ndarray:
    """float64 columns rounded as right factors of :func:`matmul`."""
    matrix = np.asarray(matrix, dtype=np.float64)
    return _rounded(matrix, np.sqrt((matrix * matrix).sum(axis=0, keepdims=True)))


def _rounded(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """``values`` as multiples of 2^-BITS times the power of two at or above ``lengths`` (broadcast)."""
    scale = np.ldexp(1.0, np.minimum(BITS - np.frexp(lengths)[1], 1000))
    result = values * scale
    np.rint(result, out=result)
    result *= 1 / scale  # a power of two, so that nothing is rounded twice
    return result


def svd(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(U [m, n], s [n] descending, V [n, n]) of ``matrix`` [m, n], m >= n, with matrix = U diag(s) V^T.

    One-sided Jacobi rotations, in rounds of disjoint pairs of columns. Columns of U whose s is zero are zero. For a
    symmetric matrix without negative eigenvalues, s and V are these and their vectors.
    """
    m, n = matrix.shape
    rows = np.concatenate([np.asarray(matrix, dtype=np.float64).T, np.eye(n)], axis=1)  # row j: column j, and that of V
    for _ in range(SWEEPS):
        largest = 0.0
        for first, second in _rounds(n):
            one, two = rows[first], rows[second]
            a, b, c = ((x[:, :m] * y[:, :m]).sum(axis=1) for x, y in ((one, one), (two, two), (one, two)))
            size = np.sqrt(a) * np.sqrt(b)
            turn = np.abs(c) > TOLERANCE * size
            if not turn.any():
                continue
            largest = max(largest, float((np.abs(c[turn]) / size[turn]).max()))
            one, two, first, second = one[turn], two[turn], first[turn], second[turn]
            zeta = (b[turn] - a[turn]) / (2 * c[turn])
            tangent = np.where(zeta < 0, -1.0, 1.0) / (np.abs(zeta) + np.sqrt(1 + zeta * zeta))
            cosine = 1 / np.sqrt(1 + tangent * tangent)
            sine = cosine * tangent
            rows[first] = cosine[:, None] * one - sine[:, None] * two
            rows[second] = sine[:, None] * one + cosine[:, None] * two
        if largest == 0:
            break
    lengths = np.sqrt((rows[:, :m] * rows[:, :m]).sum(axis=1))
    order = np.argsort(-lengths, kind="stable")
    left = rows[order, :m] / np.where(lengths[order] > 0, lengths[order], 1)[:, None]
    return left.T, lengths[order], rows[order, m:].T


def _rounds(n: int):
    """All pairs of 0..n-1, in n - 1 (or n) rounds of disjoint pairs, as in a tournament."""
    players = np.arange(n + n % 2)
    for _ in range(len(players) - 1):
        first, second = players[: len(players) // 2], players[: len(players) // 2 - 1 : -1]
        plays = (first < n) & (second < n)
        yield np.minimum(first, second)[plays], np.maximum(first, second)[plays]
        players = np.concatenate([players[:1], players[-1:], players[1:-1]])


def orthonormal(vectors: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the columns of ``vectors`` [n, k], float64 (modified Gram-Schmidt).

    A column that depends on those before it becomes zero.
    """
    rows = np.ascontiguousarray(vectors.T, dtype=np.float64)
    before = np.sqrt((rows * rows).sum(axis=1))
    for place, row in enumerate(rows):
        length = np.sqrt((row * row).sum())
        if length <= TOLERANCE * before[place]:
            row[:] = 0
            continue
        row /= length
        others = rows[place + 1 :]
        others -= (others * row).sum(axis=1)[:, None] * row
    return rows.T


def components(matrix: scipy.sparse.csr_matrix, k: int, seed: int) -> np.ndarray:
    """The first k right singular vectors of a sparse matrix [n, m], float32 [k, m], as truncated SVD has them."""
    n, m = matrix.shape
    rows, columns = rounded_rows(matrix), rounded_rows(matrix.T.tocsr())

    def product(first, second):
        return lambda vectors: second @ rounded_columns(first @ rounded_columns(vectors))

    if m <= n:
        right = top_eigenvectors(product(rows, columns), m, k, seed=seed, iterations=POWERS)
    else:  # the smaller side is the cheaper one
        right = columns @ rounded_columns(top_eigenvectors(product(columns, rows), n, k, seed=seed, iterations=POWERS))
        lengths = np.sqrt((right * right).sum(axis=0))
        right = right / np.where(lengths > 0, lengths, 1)
    return np.ascontiguousarray(right.T, dtype=np.float32)


def top_eigenvectors(
    product: Callable[[np.ndarray], np.ndarray], size: int, k: int, *, seed: int, iterations: int
) -> np.ndarray:
    """About the eigenvectors [size, k] of the k largest eigenvalues of a symmetric matrix without negative ones.

    Subspace iteration with SPARE more vectors than are wanted, then the best within the subspace (Halko, Martinsson and
    Tropp 2011, arXiv 0909.4061).

    Args:
        product: float64 [size, m] -> the matrix times it, exact (:func:`matmul`).
        k: at most ``size``.
        seed: of the first subspace.
        iterations: how often the matrix is applied.
    """
    vectors = orthonormal(np.random.default_rng(seed).random((size, min(size, k + SPARE))) - 0.5)
    for _ in range(iterations):
        vectors = orthonormal(product(vectors))
    vectors = orthonormal(vectors)  # twice is enough, whatever the vectors
    applied = product(vectors)
    inner = matmul(vectors.T, applied)
    return orthonormal(matmul(applied, svd((inner + inner.T) / 2)[2][:, :k]))


def solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """X of matrix @ X = right for a symmetric positive definite matrix [n, n] and right [n, m] (Cholesky)."""
    lower, rest = np.zeros_like(matrix, dtype=np.float64), np.array(matrix, dtype=np.float64)
    n = len(rest)
    for j in range(n):
        lower[j:, j] = rest[j:, j] / np.sqrt(rest[j, j])
        rest[j + 1 :, j + 1 :] -= lower[j + 1 :, j, None] * lower[None, j + 1 :, j]
    result = np.array(right, dtype=np.float64)
    for j in range(n):
        result[j] /= lower[j, j]
        result[j + 1 :] -= lower[j + 1 :, j, None] * result[j]
    for j in reversed(range(n)):
        result[j] /= lower[j, j]
        result[:j] -= lower[j, :j, None] * result[j]
    return result

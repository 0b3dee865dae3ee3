"""The covariance of clustered estimates: one formula, used by every estimator.

    V = A^-1 (q sum_c s_c s_c') A^-1,   q = J / (J - 1) * (n - 1) / (n - k)

s_c is the sum of the scores of cluster c, J the number of clusters, A the negative hessian or the
cross product of the regressors (Liang and Zeger 1986; Cameron and Miller 2015, section II).
"""

from __future__ import annotations

import numpy as np


def cluster_sums(scores: np.ndarray, cluster: np.ndarray, count: int | None = None) -> np.ndarray:
    """(J, K) scores (n, K) summed within clusters; cluster : (n,) integers 0 ... J - 1.

    count : J, where some clusters may have no row (default: the largest number and one more).
    """
    j = int(cluster.max()) + 1 if count is None else count
    return np.column_stack([np.bincount(cluster, column, minlength=j) for column in scores.T])


def clustered_covariance(
    inverse: np.ndarray, scores: np.ndarray, cluster: np.ndarray, estimated: int = 1
) -> np.ndarray:
    """(K, K) covariance of an estimate whose scores (n, K) are correlated within clusters.

    inverse : A^-1, (K, K).  estimated : the k of (n - 1) / (n - k), the number of estimated
    parameters where that correction is wanted; 1 leaves it out.  With one cluster only its own
    sum is counted, without a correction for the number of clusters.
    """
    sums, n = cluster_sums(scores, cluster), len(scores)
    j = len(sums)
    q = (j / (j - 1) if j > 1 else 1.0) * ((n - 1) / (n - estimated) if estimated > 1 else 1.0)
    return np.asarray(inverse @ (sums.T @ sums * q) @ inverse)

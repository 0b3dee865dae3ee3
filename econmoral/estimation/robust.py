"""The covariance of clustered estimates: one formula, used by every estimator.

    V = A^-1 (q sum_c s_c s_c') A^-1,   q = J / (J - 1) * (n - 1) / (n - k)

s_c is the sum of the scores of cluster c, J the number of clusters, A the negative hessian or the
cross product of the regressors (Liang and Zeger 1986; Cameron and Miller 2015, section II).  With
few clusters the jackknife, which leaves one out after the other, is more reliable.
"""

from __future__ import annotations

import numpy as np


def cluster_sums(scores: np.ndarray, cluster: np.ndarray, count: int | None = None) -> np.ndarray:
    """(J, K) scores (n, K) summed within clusters; cluster : (n,) integers 0 ... J - 1.

    count : J, where some clusters may have no row (default: the largest number and one more).
    """
    j = int(cluster.max()) + 1 if count is None else count
    return np.column_stack([np.bincount(cluster, column, minlength=j) for column in scores.T])


def small_sample(clusters: int, n: int, estimated: int = 1) -> float:
    """q = J / (J - 1) * (n - 1) / (n - k) for J clusters of together n rows.

    estimated : k, the number of estimated parameters where that correction is wanted; 1 leaves it
    out.  With one cluster there is no correction for the number of clusters.
    """
    q = clusters / (clusters - 1) if clusters > 1 else 1.0
    return q * ((n - 1) / (n - estimated) if estimated > 1 else 1.0)


def sandwich(inverse: np.ndarray, sums: np.ndarray, n: int, estimated: int = 1) -> np.ndarray:
    """(K, K) covariance of an estimate from the scores of its clusters, (J, K), of n rows together.

    inverse : A^-1, (K, K).  estimated : see ``small_sample``.
    """
    q = small_sample(len(sums), n, estimated)
    return np.asarray(inverse @ (sums.T @ sums * q) @ inverse)


def clustered_covariance(
    inverse: np.ndarray, scores: np.ndarray, cluster: np.ndarray, estimated: int = 1
) -> np.ndarray:
    """``sandwich`` of the scores (n, K) of single rows, which are correlated within clusters."""
    return sandwich(inverse, cluster_sums(scores, cluster), len(scores), estimated)


def jackknife_covariance(left_out: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """(K, K) covariance (J - 1) / J sum_j (t_j - t)(t_j - t)' of the full estimate t, (K,).

    left_out : (J, K), the estimates t_j without each cluster in turn (CV3 of MacKinnon, Nielsen
    and Webb 2023, Journal of Applied Econometrics 38(5)).
    """
    gap = left_out - estimate
    return np.asarray(gap.T @ gap * (len(gap) - 1) / len(gap))

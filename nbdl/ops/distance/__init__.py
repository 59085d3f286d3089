"""Distances and similarities: `vectors` compares pairs of vectors, `sets` every vector of a set with every other."""

from nbdl.ops.distance.sets import cdist, pdist
from nbdl.ops.distance.vectors import cosine_similarity, dist, pairwise_distance

__all__ = ["cdist", "cosine_similarity", "dist", "pairwise_distance", "pdist"]

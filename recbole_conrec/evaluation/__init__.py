"""The evaluation: metrics, how RecBole finds them, and the table of results.

A model is asked for its top K and for its scores of the candidates (:mod:`.ranking`); the collector joins both with the
truth of each instance and computes the metrics (:mod:`.collector`), one class each (:mod:`.metrics`).
"""

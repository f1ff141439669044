"""What a ranking of dislikes is worth: metrics, their way into RecBole, and the table.

A model is asked for its top K and for its scores of 20 candidates (:mod:`.ranking`); the collector joins both with
the truth of each instance (:mod:`.collector`); the metrics are pure functions on arrays (:mod:`.metrics`).
"""

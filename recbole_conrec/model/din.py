"""RecBole's DIN with labels of feedback."""

from recbole.model import sequential_recommender as stock

from recbole_conrec.dense.feedback_labels import FeedbackLabels


class DIN(FeedbackLabels, stock.DIN):
    """Deep Interest Network (Zhou et al., KDD 2018): will the user dislike this item? See :class:`FeedbackLabels`."""

"""Logs whose true dislikes are known: a catalogue, users' tastes, a recommender that shows items, users who answer."""

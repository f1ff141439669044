"""Atomic files -> instances: events once, histories as slices of them, truth, candidates and Swing.

Start at dataset.py (NegativeFeedbackDataset); events.py has the log, protocol.py the options, truth.py what an
instance is judged by. Nothing here knows a tokenizer, a model or a metric.
"""

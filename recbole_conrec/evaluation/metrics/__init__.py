"""The metrics, one class in one file each.

A file that is added here is found by name (:mod:`recbole_conrec.evaluation.registry`), computed in every run, and may
be named in the option ``metrics`` and in boards; nothing else has to change. There is no NDCG among them: an order
among dislikes is not defined.
"""

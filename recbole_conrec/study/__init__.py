"""Studies of the protocol and of trained runs.

``coverage.py``: how much of a user's interests the protocol's future covers; ``metrics.py``: whether the metrics order
methods as the truth does; ``filter.py``: what the offline filter removes; ``tuning.py``: a small search over options;
``explain.py``: one prompt and a run's answers to it. A module ``..._report.py`` shows the results of its namesake.
Only the command line imports this package; it may import all others.
"""

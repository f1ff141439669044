"""From a trained model to a product: Predict Sets written offline, candidates filtered online without the model.

``sets.py`` asks a model for the sets, ``folder.py`` and ``predict.py`` write them, ``online.py`` filters,
``calibrate.py`` chooses the threshold, ``study.py`` measures what filtering does. ``online.py``, ``ids.py`` and
``folder.py`` need NumPy and SciPy, neither RecBole nor torch.
"""

from recbole_conrec.filtering.online import NegativeFilter

__all__ = ["NegativeFilter"]

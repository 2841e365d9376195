"""Results of the book's studies (实验研究): what a claim that compares methods rests on.

``load("label_efficiency")`` reads what ``studies/label_efficiency.py`` has measured. It
needs neither the repository nor a GPU, so that a chapter can show the result anywhere.
"""

from .intervals import Interval, crossing, interval
from .results import Reversal, Study, available, load

"""Training (训练): the loop, and what surrounds it.

:func:`fit` in ``loop.py`` is the loop; read it first.
"""

from .calibrate import reestimate_batch_norm
from .checkpoints import checkpoints
from .config import TrainingConfig
from .evaluate import count_labels, evaluate, predict
from .history import History
from .loop import fit
from .optimizer import learning_rate, make_optimizer
from .order import ShuffledStream, to_device
from .probe import linear_probe

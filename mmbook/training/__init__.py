"""Training (训练): :func:`fit` in ``loop.py`` is the loop; read it first."""

from .calibrate import reestimate_batch_norm
from .checkpoints import checkpoints
from .config import TrainingConfig
from .evaluate import evaluate, predict
from .loop import fit
from .optimizer import learning_rate, make_optimizer
from .order import to_device
from .probe import linear_probe
from .progress import History

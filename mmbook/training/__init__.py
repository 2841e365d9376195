"""Training (训练): the loop, and what surrounds it.

:func:`fit` in ``loop.py`` is the loop; read it first. Device, precision and several
processes are the business of ``accelerate``.

Three properties are held by tests: one batch gives the gradient of its k parts, on one
process or two, also when sentences have different lengths; a run that was killed goes on
as if nothing had happened, bit for bit; a step never waits for the device.
"""

from .checkpoints import checkpoints, resume, save_checkpoint
from .config import TrainingConfig
from .history import History
from .loop import Run, count_labels, fit, to_device
from .optimizer import learning_rate, make_optimizer
from .order import ShuffledStream

"""Fine-tuning (微调): what learns, what rests, and how little has to learn.

:func:`freeze` and its like decide which parameters of a model learn, and how fast. The
functions behind them are the parameter-efficient methods (参数高效微调): each takes a
model, freezes it, puts few new parameters into it, and gives the same model back.
Chapter 3.3 derives and compares them.

Parameters are named by the *beginnings* of their names, as in ``TrainingConfig.rates``:
``"head."`` is the whole head, ``"encoders.text.blocks.1."`` one of its layers.
"""

from .adapters import AdaptedLinear, add_adapters
from .biases import train_biases
from .freezing import (
    Counted,
    begins,
    check_names,
    count_parameters,
    freeze,
    layerwise_rates,
    stages,
    unfreeze,
)
from .ia3 import ScaledLinear, add_ia3
from .lora import LoRALinear, add_lora
from .prefix import PrefixedAttention, add_prefix
from .prompt import PromptedBlock, add_prompt
from .replacing import (
    ANSWERS,
    LOOKING,
    STORED,
    THOUGHTS,
    fits,
    frozen_modules,
    meant,
    new_like,
    plain_linear,
    replace_module,
    replace_modules,
    take_over,
)
from .storing import FILE, load_trained, merge, save_trained

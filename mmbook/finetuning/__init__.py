"""Fine-tuning (微调): what is trained, what is frozen, and how little is enough.

:func:`freeze` and its like decide which parameters of a model are trained, and how fast.
The parameter-efficient methods (参数高效微调) each take a model, freeze it, put few new
parameters into it, and return the same model. Chapter 3.3 derives and compares them.

Parameters are named by the *beginnings* of their names, as in ``TrainingConfig.rates``:
``"head."`` is the whole head, ``"encoders.text.blocks.1."`` one of its layers.
"""

from .adapters import AdaptedLinear, add_adapters
from .biases import train_biases
from .freezing import count_parameters, freeze, layerwise_rates, stages, unfreeze
from .ia3 import ScaledLinear, add_ia3
from .lora import LoRALinear, add_lora
from .prefix import PrefixedAttention, add_prefix
from .prompt import PromptedBlock, add_prompt
from .storing import FILE, load_trained, merge, save_trained

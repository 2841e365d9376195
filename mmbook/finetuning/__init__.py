"""Fine-tuning (微调): what is trained, what is frozen, and how little is enough.

The parameter-efficient methods (参数高效微调) of chapter 3.3 change a frozen model and return
it. ``keep``: beginnings of names that train, as ``"head."`` for the whole head.
"""

from .adapters import add_adapters
from .freezing import (
    count_parameters,
    freeze,
    layerwise_rates,
    stages,
    train_biases,
    unfreeze,
)
from .ia3 import add_ia3
from .lora import LoRALinear, add_lora
from .prefix import add_prefix
from .prompt import add_prompt
from .storing import FILE, load_trained, merge, save_trained

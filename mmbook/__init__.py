"""mmbook: the helper package of an executable textbook on multimodal large models.

One sentence holds it together: *any modality → tokens → fusion → head → loss*.
The rooms stand in the order in which data flows; each imports only from those above it.

=========================  ==========================================================
``tokens``                 what every encoder returns and every fusion takes
``layers``                 attention and its cache, the block, words, positions
``saving``                 save_pretrained / from_pretrained for every part
``losses``, ``models``     cross-entropy, contrastive; encoders + fusion + head
``data``                   batches, masks, and the files that people have
``encoders``               image, text, audio, video, from scratch
``pretrained``             encoders that come through transformers
``fusion``                 one file a method, and the table of them
``heads``                  one file a head: classification, generation, embedding, …
``twins``                  the weights of transformers in the book's own layers
``training``               the loop, and what surrounds it
``finetuning``             what learns and what rests; LoRA, adapters, prompts
``generation``             greedy, beam, sampling; with a cache
``metrics``                retrieval, BLEU, CIDEr, word error rate
``explain``                looking inside a model
``world``                  scenes: pictures, clips, speech, sentences, exact answers
``studies``, ``samples``   results of long studies; photographs, voices, a clip
``notebook``               plots, exercises, checks of gradients
``weights``                the book's own pre-trained parts, and how they are made
``service``                a model in service: what it reads, says, keeps and becomes
=========================  ==========================================================
"""

import warnings
from importlib import import_module

__version__ = "0.1.0"

_FACE = {  # what most users need, loaded when it is asked for
    "Tokens": "tokens",
    "MultimodalModel": "models",
    "Collate": "data",
    "load_folder": "data",
    "read_image": "data",
    "train_tokenizer": "data",
    "ConvImageEncoder": "encoders",
    "PretrainedImageEncoder": "pretrained",
    "keep_features": "pretrained",
    "Concatenation": "fusion",
    "ClassificationHead": "heads",
    "GenerationHead": "heads",
    "TrainingConfig": "training",
    "fit": "training",
    "generate": "generation",
    "to_text": "generation",
}

# Jupyter without ipywidgets: progress bars are text then, which needs no red warning.
warnings.filterwarnings("ignore", message="IProgress not found")


def __getattr__(name: str):
    if name not in _FACE:
        raise AttributeError(f"module 'mmbook' has no attribute {name!r}")
    return getattr(import_module(f"mmbook.{_FACE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_FACE])

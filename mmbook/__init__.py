"""mmbook: the helper package of an executable textbook on multimodal large models.

One sentence holds it together: *any modality → tokens → fusion → head → loss*.
The modules stand in the order in which data flows through them; a module imports only
from those above it.

========================  ======================================================
``tokens``                what every encoder returns and every fusion takes
``checks``                is a derived gradient right? finite differences
``layers``                attention, its cache, the transformer block
``configuration``         save_pretrained / from_pretrained for every part
``data``                  the world of scenes: pictures, clips, speech, sentences; corpora
``encoders``              image, text, audio, video; from scratch and pre-trained
``fusion``                one file a method, and the table of them
``heads``, ``losses``     classification, generation, embedding
``models``                encoders + fusion + head, in the transformers convention
``training``              the loop
``finetuning``            what learns, what rests; LoRA, adapters, prompts
``generation``            greedy, beam, sampling; with a cache
``metrics``               exact attributes, BLEU, CIDEr
``explain``, ``plots``    looking inside, and at
========================  ======================================================
"""

__version__ = "0.1.0"

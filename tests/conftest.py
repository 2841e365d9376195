"""All tests run on the CPU, where a result repeats to the bit; test_gpu.py is apart.

``make gpu`` sets ``MMBOOK_GPU`` and runs that one file on the GPU.
"""

import os

if not os.environ.get("MMBOOK_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch looks

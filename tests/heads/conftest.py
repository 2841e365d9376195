"""Tokens to read, and weights that are not close to zero."""

import pytest
import torch
from torch import nn

from mmbook.tokens import Tokens


@pytest.fixture
def pictures():
    """Makes three rows of 4, 2 and 1 real tokens."""

    def make(rows=3, width=6):
        torch.manual_seed(1)
        mask = torch.arange(4)[None] < torch.tensor([4, 2, 1])[:rows, None]
        return Tokens(torch.randn(rows, 4, width), mask)

    return make


@pytest.fixture
def scrambled():
    """Gives a module large random weights."""

    def scramble(module):
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.3)
        return module.eval()

    return scramble

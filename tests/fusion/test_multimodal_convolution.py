"""Multimodal convolution against a loop over its windows, and how far a token sees."""

import pytest
import torch
from torch import nn

from mmbook.fusion import MultimodalConvolution
from mmbook.tokens import Tokens

WIDTHS = {"image": 6, "text": 8, "audio": 4}
D = 16


def make(**arguments):
    torch.manual_seed(0)
    module = MultimodalConvolution(WIDTHS, D, **arguments).eval().double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


def tokens(lengths=(5, 7, 4), rows=2):
    torch.manual_seed(1)
    return {
        name: Tokens(torch.randn(rows, n, width, dtype=torch.float64))
        for (name, width), n in zip(WIDTHS.items(), lengths, strict=True)
    }


def with_holes(given):
    """Padding at the end of one modality, at the start of another, in a third's middle."""
    masks = {name: part.mask.clone() for name, part in given.items()}
    masks["image"][0, 3:] = False
    masks["text"][:, :2] = False
    masks["audio"][1, 1] = False
    return {name: Tokens(part.values, masks[name]) for name, part in given.items()}


def by_hand(module, given, window, causal):
    """Each token's window, one after the other."""
    lines = {
        name: module.project[name](part.values) + module.mark[name]
        for name, part in given.items()
    }
    rows = []
    for row in range(2):
        x = {name: list(lines[name][row]) for name in given}
        real = {name: given[name].mask[row] for name in given}
        means = {n: lines[n][row][real[n]].mean(0) for n in given if real[n].any()}
        for layers in module.blocks:
            x = {
                name: _layer(layers[name], x[name], real[name], window, causal, c)
                for name in given
                for c in [sum(m for other, m in means.items() if other != name)]
            }
        rows.append(torch.stack([v for name in given for v in x[name]]))
    return module.norm(torch.stack(rows))


def _layer(layer, x, real, window, causal, c):
    first = 1 - window if causal else -(window // 2)
    fused = []
    for i in range(len(x)):
        both = layer.convolution.bias + layer.others.weight @ c
        for place in range(window):
            j = i + first + place
            if 0 <= j < len(x) and real[j]:
                both = both + layer.convolution.weight[:, :, place] @ layer.norm(x[j])
        a, g = both.chunk(2)
        fused.append(x[i] + a * g.sigmoid())
    return fused


@pytest.mark.parametrize(
    "window, causal", [(1, False), (3, False), (5, False), (4, True)]
)
def test_it_is_a_loop_over_windows(window, causal):
    module = make(window=window, causal=causal)
    for given in (tokens(), with_holes(tokens())):
        fused = module(given)
        expected = by_hand(module, given, window, causal)
        torch.testing.assert_close(
            fused.values[fused.mask], expected[fused.mask], rtol=0, atol=1e-12
        )


def changed(module, given, name, place):
    """Which tokens come out differently if one token of one modality is another."""
    values = given[name].values.clone()
    values[:, place] += 1.0
    before = module(given).values
    after = module(given | {name: Tokens(values, given[name].mask)}).values
    return (after != before).any(-1).any(0)


@pytest.mark.parametrize("layers, window", [(1, 3), (2, 3), (2, 5)])
def test_a_token_sees_half_a_window_a_layer_to_each_side(layers, window):
    module, given = make(layers=layers, window=window), tokens((5, 17, 4))
    reach = layers * (window - 1) // 2
    moved = changed(module, given, "text", 8)
    expected = [abs(i - 8) <= reach for i in range(17)]
    assert moved[5:22].tolist() == expected
    assert moved[:5].all() and moved[22:].all()  # the others see the text whole


@pytest.mark.parametrize("layers, window", [(1, 2), (2, 3), (3, 4)])
def test_causal_means_that_no_later_word_of_the_line_is_seen(layers, window):
    module = make(layers=layers, window=window, causal=True)
    moved = changed(module, tokens((5, 17, 4)), "text", 6)[5:22]
    reach = layers * (window - 1)
    assert moved.tolist() == [6 <= i <= 6 + reach for i in range(17)]


@pytest.mark.parametrize("causal", [False, True])
def test_every_window_sees_the_other_modalities_whole(causal):
    module, given = make(causal=causal), tokens()
    for place in (0, 4):
        assert changed(module, given, "image", place)[5:].all()


def test_alone_it_is_an_ordinary_convolution():
    module = make()
    text = tokens()["text"]
    fused = module({"text": text})
    x = module.project["text"](text.values) + module.mark["text"]
    for layers in module.blocks:
        layer = layers["text"]
        seen = nn.functional.conv1d(
            layer.norm(x).transpose(1, 2),
            layer.convolution.weight,
            layer.convolution.bias,
            padding=1,
        )
        x = x + nn.functional.glu(seen.transpose(1, 2), -1)
    torch.testing.assert_close(fused.values, module.norm(x))


def test_a_window_without_a_middle_is_named():
    with pytest.raises(ValueError, match=r"odd number of tokens; got 4.*causal=True"):
        MultimodalConvolution(WIDTHS, D, window=4)
    with pytest.raises(ValueError, match="window must be at least 1; got 0"):
        MultimodalConvolution(WIDTHS, D, window=0)

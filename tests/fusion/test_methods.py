"""Each fusion method against the plainest expression of the same operation."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmbook.fusion import fusion
from mmbook.tokens import Tokens

WIDTHS = {"image": 6, "text": 8, "audio": 4}
TWO = {"image": 6, "text": 8}
D = 16


def make(name, widths=WIDTHS, **arguments):
    """A method with all its weights far from zero and from each other."""
    torch.manual_seed(0)
    module = fusion(name, widths=widths, width=D, **arguments).eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


def tokens(widths=WIDTHS):
    torch.manual_seed(1)
    made = {}
    for i, (name, width) in enumerate(widths.items()):
        lengths = torch.tensor([3 + i, 2, 1 + i])[:, None]
        made[name] = Tokens(torch.randn(3, 3 + i, width), torch.arange(3 + i) < lengths)
    return made


def without(given, name):
    return {key: part for key, part in given.items() if key != name}


def close(fused, expected):
    torch.testing.assert_close(fused, expected, rtol=1e-4, atol=1e-5)


def real_rows(module, given):
    """For each row, what is real of each modality, projected: name → (1, N, D)."""
    for row in range(3):
        yield {
            name: (module.project[name](part.values[row][part.mask[row]])[None])
            + module.mark[name]
            for name, part in given.items()
        }


def means(module, given):
    """Modality → (B, D), from the real tokens, row by row."""
    rows = [{k: v.mean(1) for k, v in row.items()} for row in real_rows(module, given)]
    return {name: torch.cat([row[name] for row in rows]) for name in given}


def one(vector):
    """A 1 behind each vector."""
    return torch.cat([vector, torch.ones(len(vector), 1)], dim=1)


def attend(attention, x, context):
    """PyTorch's own multi-head attention, with the weights of ours."""
    theirs = nn.MultiheadAttention(D, attention.heads, batch_first=True)
    copy_attention(attention, theirs)
    return theirs(x, context, context)[0]


def copy_attention(ours, theirs):
    parts = ours.query, ours.key, ours.value
    theirs.in_proj_weight.data = torch.cat([part.weight.data for part in parts])
    theirs.in_proj_bias.data = torch.cat([part.bias.data for part in parts])
    theirs.out_proj.load_state_dict(ours.out.state_dict())


# ------------------------------------------------------------------ pooled vectors


def test_late_fusion_is_each_modality_by_itself():
    module, given = make("late"), tokens()
    fused = module(given)
    for i, (name, x) in enumerate(means(module, given).items()):
        first, _, second, _ = module.transform[name]
        hidden = F.gelu(x @ first.weight.T + first.bias)
        voice = x + hidden @ second.weight.T + second.bias
        close(fused.values[:, i], module.norm[name](voice))
    louder = given | {"text": Tokens(given["text"].values * 2, given["text"].mask)}
    assert torch.equal(module(louder).values[:, ::2], fused.values[:, ::2])


def test_late_fusion_keeps_a_place_for_the_missing():
    module, given = make("late"), tokens()
    fused = module(without(given, "text"))
    assert fused.mask.tolist() == [[True, False, True]] * 3
    assert torch.equal(fused.values[:, ::2], module(given).values[:, ::2])


def test_sum_is_the_sum():
    module, given = make("sum"), tokens()
    x = means(module, given)
    close(module(given).values[:, 0], x["image"] + x["text"] + x["audio"])
    close(module(without(given, "text")).values[:, 0], x["image"] + x["audio"])


@pytest.mark.parametrize("name", ["sum", "late"])
def test_a_linear_head_on_it_adds_scores(name):
    """f(a, b) + f(a', b') = f(a, b') + f(a', b): so it can't be an exclusive or."""
    module, head = make(name, TWO), nn.Linear(D, 1)
    a, b = tokens(TWO).values()
    other_a, other_b = (
        Tokens(part.values.flip(0), part.mask.flip(0)) for part in (a, b)
    )

    def score(image, text):
        return head(module({"image": image, "text": text}).pooled())

    close(score(a, b) + score(other_a, other_b), score(a, other_b) + score(other_a, b))


def test_product_is_the_product():
    module, given = make("product"), tokens()
    x = means(module, given)
    close(module(given).values[:, 0], module.norm(x["image"] * x["text"] * x["audio"]))
    fewer = module(without(given, "text")).values[:, 0]
    close(fewer, module.norm(x["image"] * x["audio"]))


def test_gated_with_two_is_the_gated_multimodal_unit():
    module, given = make("gated", TWO), tokens(TWO)
    image, text = means(module, given).values()
    both = torch.cat([image, text], dim=1)
    weight = module.gate.weight[:D] - module.gate.weight[D:]
    z = torch.sigmoid(both @ weight.T + module.gate.bias[:D] - module.gate.bias[D:])
    close(module(given).values[:, 0], z * image.tanh() + (1 - z) * text.tanh())
    close(module(without(given, "text")).values[:, 0], image.tanh())


def test_the_gates_can_be_looked_at():
    module, given = make("gated"), tokens()
    gates = module.gates(module.vectors(given))
    assert gates.shape == (3, 3, D) and gates.min() > 0 and gates.max() < 1
    fewer = module.gates(module.vectors(without(given, "text")))
    assert not fewer[:, 1].any()
    close(gates.sum(1), torch.ones(3, D))
    close(fewer.sum(1), torch.ones(3, D))


# ------------------------------------------------------------------ tensors


def test_bilinear_is_pytorchs_bilinear_with_ones():
    module, given = make("bilinear", TWO), tokens(TWO)
    image, text = means(module, given).values()
    (weight,) = module.weight  # (D + 1, D + 1, D)
    expected = F.bilinear(one(image), one(text), weight.permute(2, 0, 1))
    close(module(given).values[:, 0], module.norm(expected))
    fewer = module(without(given, "text")).values[:, 0]
    close(fewer, module.norm(one(image) @ weight[:, -1]))


def test_bilinear_of_three_is_the_sum_over_pairs():
    module, given = make("bilinear"), tokens()
    a, b, c = (one(x) for x in means(module, given).values())
    weight = module.weight.permute(0, 3, 1, 2)
    expected = F.bilinear(a, b, weight[0]) + F.bilinear(a, c, weight[1])
    expected = expected + F.bilinear(b, c, weight[2])
    close(module(given).values[:, 0], module.norm(expected))


def test_bilinear_of_one_is_its_square():
    module = make("bilinear", {"image": 6})
    given = {"image": tokens()["image"]}
    x = one(means(module, given)["image"])
    expected = F.bilinear(x, x, module.weight[0].permute(2, 0, 1))
    close(module(given).values[:, 0], module.norm(expected))


def test_low_rank_is_the_full_tensor_multiplied_out():
    module, given = make("low_rank", rank=3), tokens()
    factors = [module.factors[name] for name in WIDTHS]  # (R, D + 1, D)
    full = torch.einsum("riz,rjz,rkz->ijkz", *factors)  # (D + 1, D + 1, D + 1, D)
    vectors = [one(x) for x in means(module, given).values()]
    expected = torch.einsum("bi,bj,bk,ijkz->bz", *vectors, full)
    close(module(given).values[:, 0], module.norm(expected))
    vectors[1] = one(torch.zeros(3, D))  # no text
    expected = torch.einsum("bi,bj,bk,ijkz->bz", *vectors, full)
    close(module(without(given, "text")).values[:, 0], module.norm(expected))


def test_low_rank_of_two_is_a_bilinear_fusion():
    low, full = make("low_rank", TWO, rank=3), make("bilinear", TWO)
    shared = {k: v for k, v in low.state_dict().items() if "factors" not in k}
    weight = torch.einsum("riz,rjz->ijz", *(low.factors[name] for name in TWO))
    full.load_state_dict(shared | {"weight": weight[None]})
    given = tokens(TWO)
    close(low(given).values, full(given).values)
    assert sum(p.numel() for p in low.factors.values()) == 3 * 2 * (D + 1) * D


# ------------------------------------------------------------------ tokens


def test_film_by_hand():
    module, given = make("film"), tokens()
    x = means(module, given)
    (block,) = module.blocks
    gamma, beta = F.linear(x["text"] + x["audio"], block.modulation.weight).split(D, 1)

    def expected(gamma, beta):
        values = module.project["image"](given["image"].values) + module.mark["image"]
        h = block.first(values).relu()
        tuned = (1 + gamma) * F.layer_norm(block.second(h), (D,)) + beta
        return module.norm(h + tuned.relu())

    fused = module(given)
    close(fused.values, expected(gamma[:, None], beta[:, None]))
    assert fused.mask.equal(given["image"].mask)
    close(module({"image": given["image"]}).values, expected(0, 0))  # the identity
    nothing = Tokens(given["text"].values, torch.zeros(3, 4, dtype=torch.bool))
    close(module({"image": given["image"], "text": nothing}).values, expected(0, 0))


def test_film_without_its_first_modality_modulates_the_next():
    module, given = make("film"), tokens()
    assert module(without(given, "image")).mask.equal(given["text"].mask)


def test_merged_attention_is_pytorchs_encoder_over_all_tokens():
    module, given = make("merged_attention", layers=2), tokens()
    settings = {"activation": "gelu", "batch_first": True, "norm_first": True}
    layer = nn.TransformerEncoderLayer(D, 4, 4 * D, **settings)
    encoder = nn.TransformerEncoder(layer, 2, module.norm, enable_nested_tensor=False)
    for ours, theirs in zip(module.blocks, encoder.layers, strict=True):
        copy_attention(ours.attention, theirs.self_attn)
        theirs.linear1.load_state_dict(ours.feed_forward[0].state_dict())
        theirs.linear2.load_state_dict(ours.feed_forward[2].state_dict())
        theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
        theirs.norm2.load_state_dict(ours.feed_forward_norm.state_dict())
    parts = [
        module.project[name](part.values) + module.mark[name]
        for name, part in given.items()
    ]
    mask = torch.cat([part.mask for part in given.values()], dim=1)
    expected = encoder.eval()(torch.cat(parts, 1), src_key_padding_mask=~mask)
    fused = module(given)
    assert fused.mask.equal(mask)
    close(fused.values[mask], expected[mask])


def test_co_attention_by_hand():
    module, given = make("co_attention", layers=2), tokens()
    fused = module(given)
    for row, x in enumerate(real_rows(module, given)):
        for blocks in module.blocks:
            a, b, c = x["image"], x["text"], x["audio"]
            x = {
                "image": blocks["image"](a, context=torch.cat([b, c], 1)),
                "text": blocks["text"](b, context=torch.cat([a, c], 1)),
                "audio": blocks["audio"](c, context=torch.cat([a, b], 1)),
            }
        expected = module.norm(torch.cat(list(x.values()), 1))[0]
        close(fused.values[row][fused.mask[row]], expected)


def test_co_attention_alone_is_self_attention():
    module, given = make("co_attention"), tokens()
    x = module.project["text"](given["text"].values) + module.mark["text"]
    expected = module.norm(module.blocks[0]["text"](x, given["text"].mask))
    close(module({"text": given["text"]}).values, expected)


def test_bottleneck_by_hand():
    module, given = make("bottleneck", layers=3, shared=2), tokens()
    fused = module(given)
    assert fused.values.shape == (3, 3 + 4 + 5 + 2, D)
    for row, x in enumerate(real_rows(module, given)):
        s = module.queries[None]
        for blocks in module.blocks:
            both = {n: blocks[n](torch.cat([part, s], 1)) for n, part in x.items()}
            x = {name: part[:, :-2] for name, part in both.items()}
            s = sum(part[:, -2:] for part in both.values()) / 3
        expected = module.norm(torch.cat([*x.values(), s], 1))[0]
        close(fused.values[row][fused.mask[row]], expected)


def test_bottleneck_tokens_hear_in_the_first_layer_and_tell_in_the_second():
    given = tokens()
    louder = given | {"audio": Tokens(given["audio"].values * 2, given["audio"].mask)}
    for layers, told in (1, False), (2, True):
        module = make("bottleneck", layers=layers)
        first, second = module(given).values, module(louder).values
        assert torch.equal(first[:, :3], second[:, :3]) is not told
        assert not torch.allclose(first[:, -4:], second[:, -4:], atol=1e-3)


def test_resampler_by_hand():
    module, given = make("resampler", layers=2, queries=5), tokens()
    fused = module(given)
    assert fused.values.shape == (3, 5, D) and fused.mask.all()
    for row, x in enumerate(real_rows(module, given)):
        q, context = module.queries[None], torch.cat(list(x.values()), 1)
        for layer in module.blocks:
            asked = layer.query_norm(q)
            seen = torch.cat([layer.context_norm(context), asked], 1)
            q = q + attend(layer.attention, asked, seen)
            q = q + layer.feed_forward(layer.feed_forward_norm(q))
        close(fused.values[row], module.norm(q)[0])


@pytest.mark.parametrize("missing", [None, "text", "others"])
def test_q_former_by_hand(missing):
    module, given = make("q_former", layers=2, queries=5), tokens()
    given = {"text": given["text"]} if missing == "others" else without(given, missing)
    fused = module(given)
    assert fused.values.shape == (3, 5, D) and fused.mask.all()
    for row, x in enumerate(real_rows(module, given)):
        text = [x.pop("text")] if "text" in x else []
        h = torch.cat([module.queries[None], *text], 1)
        for layer in module.blocks:
            asked = layer.attention_norm(h)
            h = h + attend(layer.attention, asked, asked)
            q, t = h[:, :5], h[:, 5:]
            if x:
                context = torch.cat(list(x.values()), 1)
                q = q + attend(layer.cross, layer.cross_norm(q), context)
            h = torch.cat([q, t], 1)
            h = h + layer.feed_forward(layer.feed_forward_norm(h))
        close(fused.values[row], module.norm(h[:, :5])[0])


def test_gated_cross_attention_by_hand():
    module, given = make("gated_cross_attention", layers=2), tokens()
    fused = module(given)
    for row, x in enumerate(real_rows(module, given)):
        h, context = x["image"], torch.cat([x["text"], x["audio"]], 1)
        for look, block in module.blocks:
            alpha, beta = look.gates.tanh()
            h = h + alpha * attend(look.attention, look.attention_norm(h), context)
            h = h + beta * look.feed_forward(look.feed_forward_norm(h))
            h = block(h)
        close(fused.values[row][fused.mask[row]], module.norm(h)[0])


def test_at_first_the_gates_let_nothing_through():
    torch.manual_seed(0)
    module, given = fusion("gated_cross_attention", widths=WIDTHS, width=D), tokens()
    alone = module({"image": given["image"]}).values
    assert torch.equal(module(given).values, alone)
    module(given).values.pow(3).sum().backward()
    look = module.blocks[0][0]
    assert look.gates.grad.abs().min() > 0 and not look.attention.out.weight.grad.any()
    nn.init.constant_(look.gates, 0.7)
    assert not torch.allclose(module(given).values, alone, atol=1e-3)


def test_projector_by_hand():
    module, given = make("projector"), tokens()
    fused = module(given)
    parts = []
    for name, part in given.items():
        before, first, _, second, after = module.project[name]
        h = second(F.gelu(first(before(part.values))))
        parts.append(after(h) + module.mark[name])
    assert fused.mask.equal(torch.cat([part.mask for part in given.values()], 1))
    close(fused.values, torch.cat(parts, 1))

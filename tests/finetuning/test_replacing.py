"""Whoever contains a replaced layer gets its outputs, or an error."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmbook.finetuning import (
    LoRALinear,
    add_adapters,
    add_ia3,
    add_lora,
    add_prefix,
    merge,
)

LAST = ("1.linear1", "1.linear2")
ADD = {
    "lora": lambda m, where: add_lora(m, 2, where=where, keep=()),
    "adapters": lambda m, where: add_adapters(m, 2, where=where, keep=()),
    "ia3": lambda m, where: add_ia3(m, where[:1], where[1:], keep=()),
}


# ------------------------------------------------------------------ parents that read


def torch_encoder(nested: bool) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested).eval()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("where", [("linear1", "linear2"), LAST], ids=["all", "last"])
@pytest.mark.parametrize("method", ADD)
def test_the_fast_path_of_torch_takes_part(method, where, nested, disturb):
    """In eval mode without gradients, it reads the weights of its layers itself."""
    x, padded = torch.randn(3, 5, 16), torch.zeros(3, 5, dtype=torch.bool)
    padded[0, 3:] = True
    model = torch_encoder(nested)
    with torch.no_grad():
        before = model(x, src_key_padding_mask=padded)
        disturb(ADD[method](model, where)).eval()
        fast = model(x, src_key_padding_mask=padded)
    slow = model(x, src_key_padding_mask=padded)
    assert (fast - before)[~padded].abs().max() > 0.1, "it has an effect"
    torch.testing.assert_close(fast[~padded], slow[~padded])
    if method != "adapters":
        with torch.no_grad():
            merged = merge(model)(x, src_key_padding_mask=padded)
        torch.testing.assert_close(merged[~padded], fast[~padded])


class Tied(nn.Module):
    """An autoencoder whose decoder is the transpose of its encoder's weight."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(6, 3)

    def forward(self, x):
        return F.linear(F.relu(self.encoder(x)), self.encoder.weight.T)


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_a_parent_that_reads_the_weight_has_the_effective_one(method, disturb):
    torch.manual_seed(0)
    model, x = Tied(), torch.randn(4, 6)
    before = model(x)
    if method == "lora":
        disturb(add_lora(model, 2, where=("encoder",), keep=()))
    else:
        model.encoder.bias.data += 1
        holder = nn.ModuleDict({"key": model.encoder, "fc2": nn.Linear(2, 2)})
        model.encoder = disturb(add_ia3(holder, keep=()))["key"]
    after = model(x)
    assert not torch.allclose(after, before, atol=0.1)
    after.square().sum().backward()
    learned = [p for p in model.parameters() if p.requires_grad]
    assert learned and all(p.grad.any() for p in learned), "it is trained by both uses"
    torch.testing.assert_close(merge(model)(x), after)


def test_a_parent_that_reads_the_weight_of_an_adapted_layer_is_refused():
    model = add_adapters(Tied(), where=("encoder",), keep=())
    weight = model.encoder.weight
    assert (weight.dtype, weight.shape) == (torch.float32, (3, 6)), "T5 asks for it"
    with pytest.raises(ValueError, match="no adapter can stand behind it"):
        model(torch.randn(4, 6))


class Reading(nn.Module):
    """Attention that hands its weights to a function of torch, as that of WavLM does."""

    def __init__(self):
        super().__init__()
        names = ("q_proj", "k_proj", "v_proj", "out_proj")
        self.parts = nn.ModuleDict({name: nn.Linear(8, 8) for name in names})

    def forward(self, x):
        q, k, v, out = self.parts.values()
        bias = torch.cat([q.bias, k.bias, v.bias])
        settings = {"q_proj_weight": q.weight, "k_proj_weight": k.weight}
        settings |= {"v_proj_weight": v.weight, "use_separate_proj_weight": True}
        unused = (None, bias, None, None, False, 0.0, out.weight, out.bias)
        heads = 2
        return F.multi_head_attention_forward(
            x, x, x, 8, heads, *unused, training=False, need_weights=False, **settings
        )[0]


@pytest.mark.parametrize("add", [add_lora, add_ia3])
def test_an_attention_that_never_calls_its_projections_is_tuned(add, disturb):
    torch.manual_seed(0)
    model, x = (
        nn.ModuleDict({"a": Reading(), "fc2": nn.Linear(2, 2)}),
        torch.randn(4, 3, 8),
    )
    before = model["a"](x)
    disturb(add(model, keep=()))
    after = model["a"](x)
    assert (after - before).abs().max() > 0.01
    after.square().sum().backward()
    learned = [p for p in model["a"].parameters() if p.requires_grad]
    assert all(p.grad.any() for p in learned)
    torch.testing.assert_close(merge(model)["a"](x), after)


def test_torchs_own_attention_is_not_offered():
    holder = nn.ModuleDict({"attention": nn.MultiheadAttention(4, 2)})
    with pytest.raises(ValueError, match="those that could are none"):
        add_lora(holder, where=("out_proj",), keep=())


def test_a_weight_that_another_layer_shares_is_not_merged(disturb):
    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.out = nn.Embedding(9, 4), nn.Linear(4, 9)
            self.out.weight = self.words.weight

        def forward(self, ids):
            return self.out(self.words(ids))

    model, ids = Language(), torch.arange(9)
    before = model(ids)
    disturb(add_lora(model, 2, where=("out",), keep=()))
    assert not torch.allclose(model(ids), before), "it can be trained"
    with pytest.raises(ValueError, match="out shares its weight or bias"):
        merge(model)
    assert isinstance(model.out, LoRALinear)
    model.out.weight = nn.Parameter(model.words.weight.detach().clone())
    after = model(ids)
    torch.testing.assert_close(merge(model)(ids), after)


# ------------------------------------------------------------------ GPT-2's Conv1D


def gpt2():
    from transformers import GPT2Config, GPT2Model

    torch.manual_seed(0)
    small = {"vocab_size": 20, "n_embd": 16, "n_layer": 2, "n_head": 2}
    ends = {"bos_token_id": 1, "eos_token_id": 2}
    return GPT2Model(GPT2Config(**small, **ends, n_positions=12)).eval()


@pytest.mark.parametrize("add", [add_lora, add_adapters, add_ia3])
def test_every_method_works_on_the_layers_of_gpt2(add, disturb):
    ids = torch.tensor([[3, 4, 5, 6], [7, 8, 9, 10]])
    model = gpt2()
    before, shapes = model(ids).last_hidden_state, weights_of(model)
    add(model, keep=()).eval()
    torch.testing.assert_close(model(ids).last_hidden_state, before)
    disturb(model)
    after = model(ids).last_hidden_state
    assert (after - before).abs().max() > 0.1
    assert shapes.items() <= weights_of(model).items(), "names and shapes stay"
    if add is not add_adapters:
        merge(model)
        torch.testing.assert_close(model(ids).last_hidden_state, after)
        assert type(model.h[0].attn.c_attn) is type(gpt2().h[0].attn.c_attn)
        assert weights_of(model) == shapes


def weights_of(model):
    return {name: tuple(p.shape) for name, p in model.state_dict().items()}


# ------------------------------------------------------------------ what is replaced


def test_a_layer_with_two_names_is_changed_under_both():
    layer = nn.Linear(4, 4)
    model = add_lora(nn.Sequential(layer, nn.ReLU(), layer), where=("*",), keep=())
    assert model[0] is model[2] and isinstance(model[0], LoRALinear)
    merge(model)
    assert model[0] is model[2] and type(model[0]) is nn.Linear


def test_hooks_go_along_to_the_new_layer_and_back():
    model, calls = nn.Sequential(nn.Linear(4, 4)), []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    merge(add_lora(model, where=("*",), keep=()))(torch.randn(2, 4))
    assert calls == [1]


def test_the_attention_of_a_copy_is_changed_alone(classifier, sentences):
    model = classifier().eval()
    before = model(**sentences).logits
    add_prefix(copy.deepcopy(model))
    assert torch.equal(model(**sentences).logits, before)

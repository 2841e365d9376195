"""LoRA: what the paper counts, and what peft computes."""

import copy

import pytest
import torch
from torch import nn

from mmbook.encoders import TextEncoder
from mmbook.finetuning import LoRALinear, add_lora, count_parameters, merge
from mmbook.models import MultimodalModel

WIDTH = 16
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def test_lora_counts_what_the_paper_counts(classifier):
    model = add_lora(classifier(), rank=3, keep=())
    places = 2 * 2  # query and value, of two layers
    assert count_parameters(model).trained == places * 3 * (WIDTH + WIDTH)


def test_where_is_names_or_a_function(classifier):
    names = {
        ("query",): 2,
        ("blocks.1.*",): 6,
        ("*",): 12 + 1,  # and the projection of the fusion
        (lambda name, layer: layer.out_features > WIDTH): 2,
    }
    for where, count in names.items():
        model = add_lora(classifier(), where=where)
        assert sum(isinstance(m, LoRALinear) for m in model.modules()) == count


def test_lora_on_the_meta_device_counts_without_memory():
    with torch.device("meta"):
        model = TextEncoder(30_000, 768, 12, 12, 512)
    add_lora(model, rank=8, keep=())
    assert count_parameters(model).trained == 12 * 2 * 8 * 2 * 768
    assert all(p.device.type == "meta" for p in model.parameters())


def test_merged_models_compute_the_same_and_are_plain_again(
    tmp_path, classifier, sentences, step
):
    model = add_lora(classifier(), 2)
    shapes = {name: p.shape for name, p in classifier().state_dict().items()}
    for _ in range(3):
        step(model, sentences)
    after = model(**sentences).logits
    assert merge(model) is model
    assert torch.allclose(model(**sentences).logits, after, atol=1e-6)
    assert {name: p.shape for name, p in model.state_dict().items()} == shapes
    model.save_pretrained(tmp_path / "m")
    again = MultimodalModel.from_pretrained(tmp_path / "m")
    assert torch.equal(again(**sentences).logits, model(**sentences).logits)
    with pytest.raises(ValueError, match="nothing to merge"):
        merge(model)


def test_merging_leaves_the_base_that_others_share(classifier, sentences, step):
    base = classifier()
    before = base.encoders["text"].blocks[0].attention.query.weight
    values = before.clone()
    model = add_lora(base)
    step(model, sentences)
    step(model, sentences)
    merge(model)
    assert torch.equal(before, values)


# ------------------------------------------------------------------ peft

LORA = {"down": "lora_A", "up": "lora_B"}


def test_lora_is_pefts_on_our_encoder(trained_names):
    encoder = seeded(lambda: TextEncoder(20, WIDTH, layers=2, heads=2))
    twin = peft_twin(encoder, r=3, lora_alpha=5, target_modules=["query", "value"])
    model = add_lora(encoder, rank=3, alpha=5, keep=())
    compare(model, twin, trained_names(model), lambda m: m(IDS).values)


def bert():
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(vocab_size=20, **SMALL))


def vit():
    from transformers import ViTConfig, ViTModel

    return ViTModel(ViTConfig(image_size=16, patch_size=8, **SMALL))


def gpt2():
    from transformers import GPT2Config, GPT2Model

    sizes = {"vocab_size": 20, "n_embd": 16, "n_layer": 2, "n_head": 2}
    ends = {"bos_token_id": 1, "eos_token_id": 2}
    return GPT2Model(GPT2Config(**sizes, **ends))


IDS = torch.randint(3, 20, (4, 7), generator=torch.Generator().manual_seed(1))
PICTURES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "make, names, given",
    [
        (bert, ["query", "value"], IDS),
        (vit, ["q_proj", "v_proj"], PICTURES),
        (gpt2, ["c_attn"], IDS),
    ],
)
def test_lora_is_pefts_on_transformers(make, names, given, trained_names):
    model = seeded(make)
    transposed = {"fan_in_fan_out": True} if make is gpt2 else {}
    twin = peft_twin(model, r=2, lora_alpha=7, target_modules=names, **transposed)
    add_lora(model, rank=2, alpha=7, keep=())
    compare(model, twin, trained_names(model), lambda m: m(given).last_hidden_state)


def seeded(make) -> nn.Module:
    torch.manual_seed(0)
    return make()


def peft_twin(model: nn.Module, **config) -> nn.Module:
    peft = pytest.importorskip("peft", reason="peft is not installed (test extra)")
    return peft.get_peft_model(copy.deepcopy(model), peft.LoraConfig(**config))


def compare(model, twin, trained, run):
    """Outputs, gradients and merged weights of both, with the same random changes."""
    pairs = {}
    for name in trained:
        module, _, last = name.rpartition(".")
        theirs = dict(twin.named_parameters()).items()
        (pairs[name],) = [p for n, p in theirs if f"{module}.{LORA[last]}" in n]
        drawn = 0.3 * torch.randn_like(pairs[name])
        for parameter in (model.get_parameter(name), pairs[name]):
            parameter.data.copy_(drawn)
    ours, theirs = run(model.eval()), run(twin.eval().base_model.model)
    assert torch.allclose(ours, theirs, atol=1e-5)
    ours.square().mean().backward()
    theirs.square().mean().backward()
    for name, peer in pairs.items():
        mine = model.get_parameter(name).grad
        assert torch.allclose(mine, peer.grad, atol=1e-5), name
    plain = twin.merge_and_unload().state_dict()
    assert plain.keys() == merge(model).state_dict().keys()
    for name, tensor in plain.items():
        assert torch.allclose(model.state_dict()[name], tensor, atol=1e-6), name

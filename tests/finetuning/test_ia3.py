"""IA³: the factors are peft's, and merge into the weights."""

import copy

import pytest
import torch

from mmbook.finetuning import add_ia3, merge
from mmbook.models import MultimodalModel

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def test_ia3_is_pefts_on_bert(trained_names):
    """Outputs, gradients and merged weights, with the same random factors."""
    from transformers import BertConfig, BertModel

    peft = pytest.importorskip("peft", reason="peft is not installed (test extra)")
    torch.manual_seed(0)
    model = BertModel(BertConfig(vocab_size=20, **SMALL)).eval()
    inner = ["encoder.layer.0.output.dense", "encoder.layer.1.output.dense"]
    config = peft.IA3Config(
        target_modules=["key", "value", *inner], feedforward_modules=inner
    )
    twin = peft.get_peft_model(copy.deepcopy(model), config).eval()
    add_ia3(model, keep=())
    pairs = {}
    for name in trained_names(model):
        end = name.replace("factors", "ia3_l")
        (pairs[name],) = [p for n, p in twin.named_parameters() if end in n]
        factors = model.get_parameter(name)
        factors.data += 0.3 * torch.randn_like(factors)
        pairs[name].data.copy_(factors.view(pairs[name].shape))
    assert len(pairs) == 2 * 3, "key, value and feed-forward network of two layers"
    ids = torch.randint(3, 20, (4, 7))
    ours = model(ids).last_hidden_state
    theirs = twin.base_model.model(ids).last_hidden_state
    assert torch.allclose(ours, theirs, atol=1e-5)
    ours.square().mean().backward()
    theirs.square().mean().backward()
    for name, peer in pairs.items():
        mine = model.get_parameter(name).grad
        assert torch.allclose(mine, peer.grad.view(mine.shape), atol=1e-5), name
    plain = twin.merge_and_unload().state_dict()
    assert plain.keys() == merge(model).state_dict().keys()
    for name, tensor in plain.items():
        assert torch.allclose(model.state_dict()[name], tensor, atol=1e-6), name


def test_merged_models_compute_the_same_and_come_back(
    tmp_path, classifier, sentences, step
):
    model = add_ia3(classifier())
    for _ in range(3):
        step(model, sentences)
    after = model(**sentences).logits
    merge(model)
    assert torch.allclose(model(**sentences).logits, after, atol=1e-6)
    assert model.state_dict().keys() == classifier().state_dict().keys()
    model.save_pretrained(tmp_path / "m")
    again = MultimodalModel.from_pretrained(tmp_path / "m")
    assert torch.equal(again(**sentences).logits, model(**sentences).logits)

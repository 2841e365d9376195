"""Names that differ between versions of transformers lead to the same part of ours."""

import pytest
import torch
from torch import nn

from mmbook.layers import Block
from mmbook.twins.copying import filled, renamed

OF_A_LAYER = {  # ours: what it was called in some model or version
    "attention.query.weight": "attention.self.query.weight "
    "attention.attention.query.weight attention.q_proj.weight self_attn.q_proj.weight",
    "attention.query.bias": "attention.attention.q_bias",  # VideoMAE until 5.7
    "attention.value.bias": "attention.attention.v_bias self_attn.v_proj.bias",
    "attention.out.bias": "attention.output.dense.bias attention.o_proj.bias "
    "self_attn.out_proj.bias",
    "attention_norm.weight": "attention.output.LayerNorm.weight "
    "layernorm_before.weight self_attn_layer_norm.weight",
    "feed_forward.0.weight": "intermediate.dense.weight mlp.fc1.weight fc1.weight",
    "feed_forward.2.weight": "output.dense.weight mlp.fc2.weight fc2.weight",
    "feed_forward_norm.bias": "output.LayerNorm.bias layernorm_after.bias "
    "final_layer_norm.bias",
    "cross.key.weight": "crossattention.self.key.weight",
    "cross.out.weight": "crossattention.output.dense.weight",
    "cross_norm.weight": "crossattention.output.LayerNorm.weight",
    "time.out.weight": "temporal_attention.output.dense.weight",
    "time_norm.weight": "temporal_layernorm.weight",
}


class Saved(nn.Module):
    """A model with weights of these names."""

    def __init__(self, names):
        super().__init__()
        self.names = names

    def state_dict(self, *_, **__):
        return {name: torch.zeros(1) for name in self.names}


@pytest.mark.parametrize(
    "prefix", ["encoder.layer.11.", "layers.11.", "encoder.layers.11."]
)
def test_each_name_of_a_layer_becomes_ours(prefix):
    for ours, theirs in OF_A_LAYER.items():
        for name in theirs.split():
            assert list(renamed(Saved([prefix + name]))) == [f"blocks.11.{ours}"], name


class Blocks(nn.Module):
    """One of our blocks, as encoders hold them."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(4, 2)])


def test_a_missing_bias_of_a_key_is_zero_and_any_other_gap_is_named():
    module = Blocks()
    nn.init.ones_(module.blocks[0].attention.key.bias)
    state = {n: torch.ones_like(v) for n, v in module.state_dict().items()}
    del state["blocks.0.attention.key.bias"]
    done = filled(module, state)
    assert not done.training and not done.blocks[0].attention.key.bias.any()
    assert done.blocks[0].attention.query.bias.all()
    del state["blocks.0.attention_norm.bias"]
    with pytest.raises(ValueError, match=r"missing \['blocks.0.attention_norm.bias'\]"):
        filled(module, state)
    state["blocks.0.attention_norm.offset"] = torch.ones(4)  # a name to come
    with pytest.raises(ValueError, match=r"unknown \['blocks.0.attention_norm.offset'"):
        filled(module, state)

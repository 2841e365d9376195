"""Tiny checkpoints of transformers with random weights."""

import json

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    ViTConfig,
    ViTModel,
)

PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 32, "width": 32},
    "resample": 2,
    "image_mean": [0.4, 0.5, 0.6],
    "image_std": [0.2, 0.25, 0.3],
}
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}


@pytest.fixture
def save():
    """Saves a model with batch norm statistics and biases that are not all 0 and 1."""

    def saved(model, folder, **processor):
        torch.manual_seed(0)
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if value.is_floating_point():
                    shift = torch.rand_like(value) * 0.1
                    value.add_(shift if "var" in name else shift - 0.05)
        model.save_pretrained(folder)
        file = folder / "preprocessor_config.json"
        file.write_text(json.dumps(PROCESSOR | processor), encoding="utf-8")
        return folder

    return saved


@pytest.fixture
def vit(tmp_path, save):
    config = ViTConfig(**SIZES, image_size=32, patch_size=8, hidden_dropout_prob=0.5)
    torch.manual_seed(0)
    return save(ViTModel(config), tmp_path / "vit")


@pytest.fixture
def mobilenet(tmp_path, save):
    config = MobileNetV2Config(depth_multiplier=0.35, image_size=32)
    torch.manual_seed(0)
    return save(MobileNetV2ForImageClassification(config), tmp_path / "mobilenet")


@pytest.fixture
def bert(tmp_path, save):
    config = BertConfig(**SIZES, vocab_size=20, max_position_embeddings=12)
    torch.manual_seed(0)
    return save(BertModel(config), tmp_path / "bert")

"""The configuration: plain values of json, or an error before the work."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import captioner, train

from mmbook.training import TrainingConfig, fit


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "steps must be 1 or more; got 0"),
        ({"batch_size": 0}, "batch_size must be 1 or more; got 0"),
        ({"accumulation": -1}, "accumulation must be 1 or more; got -1"),
        ({"steps": 2.5}, "steps must be a whole number; got 2.5"),
        ({"steps": None}, "steps must be a whole number; got None"),
        ({"validate_every": 0}, "validate_every must be 1 or more; got 0"),
        ({"workers": -1}, "workers must be 0 or more; got -1"),
        ({"seed": -1}, "seed must be 0 or more; got -1"),
        ({"learning_rate": 0}, "learning_rate must be above 0; got 0.0"),
        ({"learning_rate": -1e-3}, "learning_rate must be above 0; got -0.001"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0; got nan"),
        ({"learning_rate": "1e-4"}, r"the text '1e-4': write it without.*1\.0e-4"),
        ({"steps": "100"}, "steps must be a number; got the text '100'"),
        ({"clip": 0}, "clip must be above 0; got 0"),
        ({"clip": -1}, "clip must be above 0; got -1"),
        ({"weight_decay": -5}, "weight_decay must be 0 or more; got -5"),
        ({"rates": {"head.": "2"}}, "rates must be a number; got the text '2'"),
        ({"rates": {"head.": -1}}, "rates must be 0 or more; got -1"),
        ({"optimizer": "lion"}, "optimizer must be one of adamw, sgd; got 'lion'"),
        ({"schedule": "linear"}, "schedule must be one of cosine, constant"),
        ({"precision": "int8"}, "precision must be one of auto, no, bf16"),
        ({"maximise": "no"}, "maximise must be one of True, False; got 'no'"),
        ({"save_every": 5}, "save_every needs a folder"),
        ({"patience": 2}, "patience needs validate_every"),
        ({"warmup": 100}, r"warmup must be a share.*0 to 1; got 100"),
    ],
)
def test_wrong_configurations_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        TrainingConfig(**settings)


def test_the_configuration_is_json():
    config = TrainingConfig(rates={"encoders.": 0.1}, folder="runs")
    assert TrainingConfig(**json.loads(json.dumps(vars(config)))) == config


def test_paths_and_numbers_of_numpy_and_pytorch_become_plain(tmp_path):
    config = TrainingConfig(
        steps=np.int64(2),
        batch_size=torch.tensor(4),
        learning_rate=np.float32(0.5),
        clip=1,
        rates={"head.": np.float64(2)},
        folder=Path("runs"),
    )
    plain = TrainingConfig(2, 4, learning_rate=0.5, rates={"head.": 2.0}, folder="runs")
    assert config == plain and json.dumps(vars(config)) == json.dumps(vars(plain))
    train(folder=tmp_path, steps=np.int64(2), batch_size=np.int64(4))


def test_what_was_changed_after_making_it_is_checked_too():
    config = TrainingConfig(steps=2)
    config.learning_rate = "1e-4"
    with pytest.raises(ValueError, match="learning_rate must be a number"):
        fit(captioner(), [], config)

"""What was measured in each step."""

import json

from runs import train

from mmbook.training import History


def test_history_tells_what_happened():
    _, history = train(validate=lambda _: {"score": 0.5}, steps=5, validate_every=2)
    assert [record["step"] for record in history.steps] == list(range(5))
    names = {"step", "loss", "gradient_norm", "learning_rate"}
    assert all(record.keys() == names for record in history.steps)
    assert len(history["loss"]) == len(history["gradient_norm"]) == 5
    assert history.validations == [{"step": s, "score": 0.5} for s in (2, 4, 5)]
    assert repr(history).startswith("History of 5 steps, last loss ")
    assert repr(history).endswith("last validation score 0.5000")
    assert repr(History()) == "History of no steps"
    assert History(**json.loads(json.dumps(vars(history)))) == history

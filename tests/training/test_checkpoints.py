"""A run that was killed goes on, bit for bit; what does not belong to it is refused."""

import copy
import pickle
import shutil

import numpy as np
import pytest
import torch
from runs import (
    DATA,
    EXACTLY,
    Restless,
    assert_same_weights,
    captioner,
    long_run,
    noisy,
    train,
)

from mmbook.training import checkpoints
from mmbook.training.checkpoints import load_checkpoint, save_checkpoint


class Stop(Exception):
    """Somebody presses stop."""


# -------------------------------------------------------------------- taking up a run


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_kill_9_and_resume_is_as_if_nothing_had_happened(processes, tmp_path, workers):
    """With random items, batches, dropout and validation; workers may change, too."""
    folder = tmp_path / "run"
    shutil.copytree(processes / f"killed-{workers}", folder)
    assert checkpoints(folder)[-1].name == "step-00000003"
    half = [path for path in folder.iterdir() if path.name.startswith(".step-00000006")]
    assert len(half) == 1 and any(half[0].iterdir())

    uninterrupted, expected = long_run(None)
    resumed, history = long_run(folder, workers=2 - workers)
    assert_same_weights(resumed, uninterrupted, **EXACTLY)
    assert history == expected
    assert [step["step"] for step in history.steps] == list(range(10))


def test_resume_at_the_end_trains_no_further(tmp_path):
    first, history = long_run(tmp_path)
    again, same = long_run(tmp_path)
    assert_same_weights(first, again, **EXACTLY)
    assert same == history


@pytest.mark.slow
def test_interrupted_runs_in_this_process_resume_too(tmp_path):
    """As a reader does who presses stop: at each step in turn."""
    expected, _ = long_run(None)
    for last in (2, 5, 9):
        calls = []

        def collate(items, calls=calls, last=last):
            calls.append(len(items))
            if calls.count(4) > 2 * last:
                raise Stop
            return noisy(items)

        folder = tmp_path / str(last)
        with pytest.raises(Stop):
            long_run(folder, collate=collate)
        resumed, _ = long_run(folder)
        assert_same_weights(resumed, expected, **EXACTLY)


@pytest.mark.slow
def test_two_processes_resume_bit_for_bit(processes):
    """Each process gets its own dropout back, not that of process 0."""
    load = type(captioner()).from_pretrained
    names = [f"{name}-{rank}" for name in ("dropping", "resumed") for rank in (0, 1)]
    models = [load(processes / name) for name in names]
    for model in models[1:]:
        assert_same_weights(models[0], model, **EXACTLY)


@pytest.mark.parametrize("save_every", [2, 3])
def test_stopping_early_survives_resuming(tmp_path, save_every):
    scores = (1, 5, 4, 3)
    settings = {"steps": 20, "validate_every": 2, "patience": 2, "metric": "score"}
    settings |= {"maximise": True}

    def asking(left, until=None):
        def validate(_):
            if len(left) == until:
                raise Stop
            return {"score": left.pop(0)}

        return validate

    expected, history = train(validate=asking(list(scores)), **settings)
    saving = settings | {"folder": tmp_path, "save_every": save_every}
    with pytest.raises(Stop):
        train(validate=asking(list(scores), until=2), **saving)
    done = int(checkpoints(tmp_path)[-1].name.removeprefix("step-")) // 2
    model, resumed = train(validate=asking(list(scores[done:])), **saving)
    assert resumed == history
    assert_same_weights(model, expected, **EXACTLY)
    again, same = train(validate=asking([]), **saving)  # it asks no more
    assert same == history
    assert_same_weights(again, expected, **EXACTLY)


def test_the_scaler_of_fp16_comes_back(tmp_path):
    """On a GPU; here its state goes the same way."""
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1)
    scaler.scale(model(torch.ones(1, 2)).sum()).backward()
    scaler.step(optimizer)
    scaler.update()  # doubles it
    state = {"step": 1, "identity": {}, "scaler": scaler.state_dict()}
    save_checkpoint(tmp_path, model, optimizer, state, keep=1)
    again = torch.amp.GradScaler("cpu")
    found = load_checkpoint(checkpoints(tmp_path)[0], model, optimizer, {})
    again.load_state_dict(found["scaler"])
    assert again.get_scale() == 2.0**11


# ---------------------------------------------------------------------- what is on disk


def test_only_the_newest_stay_and_no_pickle_is_needed(tmp_path):
    long_run(tmp_path, save_every=2, keep=3)
    names = [path.name for path in checkpoints(tmp_path)]
    assert names == ["step-00000006", "step-00000008", "step-00000010"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    files = {file.name for file in tmp_path.rglob("*") if file.is_file()}
    assert files == {"model.safetensors", "state.pt"}
    state = torch.load(checkpoints(tmp_path)[0] / "state.pt", weights_only=True)
    assert state["step"] == 6


def test_a_pickle_in_place_of_a_state_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("harm").mkdir, ())

    train(folder=tmp_path, steps=1)
    file = checkpoints(tmp_path)[-1] / "state.pt"
    for write in (lambda f: pickle.dump(Bomb(), f), lambda f: torch.save(Bomb(), f)):
        with file.open("wb") as target:
            write(target)
        with pytest.raises(ValueError, match=r"state\.pt is damaged"):
            train(folder=tmp_path, steps=1)
    assert not tmp_path.joinpath("harm").exists()


def test_a_finished_checkpoint_is_never_written_twice(tmp_path):
    train(folder=tmp_path, save_every=3)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    train(folder=tmp_path, save_every=3)
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}


@pytest.mark.parametrize("file", ["model.safetensors", "state.pt"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_checkpoint_is_named(tmp_path, file, damage):
    train(folder=tmp_path, steps=1)
    path = checkpoints(tmp_path)[-1] / file
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        path.unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=file) as error:
        train(folder=tmp_path, steps=1)
    assert any(word in str(error.value) for word in ("damaged", "no weights at"))


def test_what_cannot_be_saved_is_found_before_the_work(tmp_path):
    """Weights that are no tensors, and a folder that is a file."""
    calls = []

    class Extra(torch.nn.Identity):
        def get_extra_state(self):
            return {"not": "a tensor"}

    model = captioner()
    model.extra = Extra()
    with pytest.raises(AttributeError, match="dict"):
        train(model, folder=tmp_path, validate=calls.append, validate_every=1)
    tmp_path.joinpath("file").write_text("a file", encoding="utf-8")
    with pytest.raises(OSError, match="file"):
        train(folder=tmp_path / "file", validate=calls.append, validate_every=1)
    assert not calls


# ------------------------------------------------------------- what belongs together


def test_another_configuration_is_named(tmp_path):
    train(folder=tmp_path, save_every=3, steps=3)
    with pytest.raises(ValueError, match=r"learning_rate: 0.001 → 0.1.*new folder"):
        train(folder=tmp_path, steps=3, learning_rate=0.1)
    train(folder=tmp_path, steps=3, keep=1, workers=1)  # this changes no result
    with pytest.raises(ValueError, match="layers of the model: "):
        train(captioner(width=8), folder=tmp_path, steps=3)
    with pytest.raises(ValueError, match="layers of the model: "):
        train(captioner(dropout=0.1), folder=tmp_path, steps=3)
    frozen = captioner()
    frozen.encoders.requires_grad_(False)
    with pytest.raises(ValueError, match="trained parameters: '"):
        train(frozen, folder=tmp_path, steps=3)


def test_when_to_validate_is_free_only_if_nothing_stops_early(tmp_path):
    settings = {"validate": lambda _: {"loss": 1.0}, "validate_every": 1}
    train(folder=tmp_path / "free", **settings)
    train(folder=tmp_path / "free", **settings | {"validate_every": 3})
    train(folder=tmp_path / "patient", patience=9, **settings)
    with pytest.raises(ValueError, match="validate_every: 1 → 3"):
        train(
            folder=tmp_path / "patient", patience=9, **settings | {"validate_every": 3}
        )


def test_other_data_are_named_in_place_of_the_old_run(tmp_path):
    items = [{"x": torch.full((3,), float(n)), "labels": n % 3} for n in range(24)]

    def run(data, collate=None):
        model = torch.nn.Linear(3, 3)
        model.forward = lambda x, labels: type(
            "Out",
            (),
            {"loss": torch.nn.functional.cross_entropy(x @ model.weight, labels)},
        )
        return train(model, data, collate, folder=tmp_path, steps=2)

    run(items)
    run(copy.deepcopy(items))  # the same
    with pytest.raises(ValueError, match="length of the data: 24 → 12"):
        run(items[:12])
    corrected = [item | {"labels": (item["labels"] + 1) % 3} for item in items]
    with pytest.raises(ValueError, match=r"labels of the data: .* → .*new folder"):
        run(corrected)
    with pytest.raises(ValueError, match="x of the data"):
        run(items[::-1])  # the order counts, too

    def collate(some):
        batch = torch.utils.data.default_collate(some)
        return batch | {"labels": 2 - batch["labels"]}

    with pytest.raises(ValueError, match="labels of the data"):
        run(items, collate)


def test_random_items_are_known_again_unless_their_generator_is_their_own(tmp_path):
    class Own(Restless):
        def __init__(self):
            self.generator = np.random.default_rng(0)

        def __getitem__(self, index):
            return super().__getitem__(index) | {
                "image": DATA[index]["image"].float() * self.generator.random()
            }

    for name, make in (("seeded", Restless), ("own", Own)):
        data = make()
        for _ in range(2):
            train(data=data, folder=tmp_path / name, steps=2)
    with pytest.raises(ValueError, match="image of the data"):
        train(data=DATA, folder=tmp_path / "seeded", steps=2)


def test_the_batch_of_the_identity_disturbs_no_run(tmp_path):
    saved, _ = train(captioner(dropout=0.5), Restless(), folder=tmp_path)
    plain, _ = train(captioner(dropout=0.5), Restless())
    assert_same_weights(saved, plain, **EXACTLY)

"""A shared space: pairs, temperatures, what is missing, and several processes."""

import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from mmbook.heads import SharedSpaceHead
from mmbook.losses import contrastive
from mmbook.models import MultimodalModel
from mmbook.saving import Configured
from mmbook.tokens import Tokens
from mmbook.training import TrainingConfig, fit

TWO = {"image": 6, "text": 5}


def two(rows=3):
    torch.manual_seed(1)
    return {n: Tokens(torch.randn(rows, 2, width)) for n, width in TWO.items()}


def four(rows=3):
    torch.manual_seed(2)
    widths = {"image": 6, "audio": 4, "video": 3, "text": 5}
    tokens = {n: Tokens(torch.randn(rows, 2, width)) for n, width in widths.items()}
    return widths, tokens


def test_a_pair_scores_each_with_each():
    head, tokens = SharedSpaceHead(TWO, embedding=4), two()
    scores, loss, z = head(tokens)
    first, second = (head.heads[name](tokens[name])[0] for name in tokens)
    assert torch.equal(z["image"], first) and torch.equal(z["text"], second)
    assert scores.shape == (3, 3)
    torch.testing.assert_close(scores[1, 2], first[1] @ second[2] / 0.07)
    torch.testing.assert_close(loss, contrastive(first, second, 1 / 0.07))


def test_in_a_model_the_logits_are_scores_and_the_embeddings_have_their_own_field():
    class Given(Configured):
        def forward(self, values, mask=None):
            return Tokens(values, mask)

    model = MultimodalModel({n: Given() for n in TWO}, None, SharedSpaceHead(TWO, 4))
    batch = {name: part.values for name, part in two().items()}
    out = model(**batch)
    assert out.logits.shape == (3, 3) and out.loss.ndim == 0
    assert {n: z.shape for n, z in out.embeddings.items()} == {n: (3, 4) for n in TWO}
    alone = model(text=batch["text"])
    assert alone.loss is alone.logits is None
    torch.testing.assert_close(alone.embeddings["text"], out.embeddings["text"])


@pytest.mark.parametrize("training", [True, False])
def test_the_temperature_cannot_shrink_for_ever(training):
    head, tokens = SharedSpaceHead(TWO, 4).train(training), two()
    with torch.no_grad():
        head.log_scale.fill_(50.0)
    scores, _, z = head(tokens)
    assert head.scales.item() == pytest.approx(100)
    torch.testing.assert_close(scores, 100 * z["image"] @ z["text"].T)


@pytest.mark.parametrize("start", [4.7, 50.0])
def test_a_temperature_beyond_its_limit_comes_back(start):
    """All pairs are alike, so a smaller scale is better."""
    head = SharedSpaceHead(TWO, 4)
    with torch.no_grad():
        head.log_scale.fill_(start)
    optimizer, losses = torch.optim.Adam([head.log_scale], lr=0.1), []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(head(two(8))[1])
        losses[-1].backward()
        optimizer.step()
    assert head.scales.item() < 20 and losses[-1] < losses[0] / 4


def test_two_losses_may_be_added_before_they_are_backpropagated():
    head = SharedSpaceHead(TWO, 4)
    (head(two(3))[1] + head(two(5))[1]).backward()
    assert head.log_scale.grad.isfinite().all()


def test_the_shared_loss_is_the_mean_over_the_trained_pairs():
    widths, tokens = four()
    head = SharedSpaceHead(widths, 4)
    assert head.pairs == [("image", "text"), ("audio", "text"), ("video", "text")]
    with torch.no_grad():
        head.log_scale.copy_(torch.tensor([0.0, 1.0, 2.0]))
    scores, loss, z = head(tokens)
    each = [
        contrastive(z[name], z["text"], torch.tensor(float(k)).exp())
        for k, name in enumerate(("image", "audio", "video"))
    ]
    torch.testing.assert_close(loss, sum(each) / 3)
    assert scores.shape == (3, 3, 3)
    torch.testing.assert_close(scores[1], torch.e * z["audio"] @ z["text"].T)
    for number, name in enumerate(("image", "audio", "video")):
        one, alone, _ = head({name: tokens[name], "text": tokens["text"]})
        torch.testing.assert_close(alone, each[number])
        torch.testing.assert_close(one, scores[[number]])


def test_rows_of_one_label_are_not_negatives_of_each_other():
    head, tokens = SharedSpaceHead(TWO, 4), two()
    z = head.embed(tokens)
    labels = torch.tensor([7, 3, 7])
    expected = contrastive(z["image"], z["text"], 1 / 0.07, labels)
    torch.testing.assert_close(head(tokens, labels)[1], expected)
    assert head(tokens, labels)[1] < head(tokens)[1]
    share = head(tokens, labels, items=6)[1]  # of a batch of twice as many rows
    torch.testing.assert_close(share, expected / 2)


def test_a_missing_modality_is_no_error_in_a_shared_space():
    widths, tokens = four()
    head = SharedSpaceHead(
        widths, 4, pairs=[("image", "text"), ("video", "audio"), ("text", "video")]
    )
    scores, loss, z = head({"image": tokens["image"], "video": tokens["video"]})
    assert loss is scores is None  # both, but no trained pair
    assert set(z) == {"image", "video"}
    alone = head({"audio": tokens["audio"]})[2]
    torch.testing.assert_close(alone["audio"].norm(dim=1), torch.ones(3))
    torch.testing.assert_close(alone["audio"], head(tokens)[2]["audio"])


def test_everything_in_a_shared_space_is_trained_and_saved(tmp_path):
    widths, tokens = four()
    head = SharedSpaceHead(widths, 4, pairs=[("image", "text"), ("audio", "video")])
    head(tokens)[1].backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    again = SharedSpaceHead.from_pretrained(head.save_pretrained(tmp_path / "head"))
    assert again.pairs == head.pairs
    torch.testing.assert_close(again(tokens)[1], head(tokens)[1])


def test_what_a_shared_space_refuses():
    widths, tokens = four()
    with pytest.raises(ValueError, match=r"leave none of them out; got .*image"):
        SharedSpaceHead(widths, 4, pairs=[("image", "text")])
    with pytest.raises(ValueError, match="pairs must be of two"):
        SharedSpaceHead({"image": 6}, 4)
    with pytest.raises(ValueError, match="pairs must be of two"):
        SharedSpaceHead(TWO, 4, [("image", "text"), ("text", "text")])
    head = SharedSpaceHead(widths, 4)
    with pytest.raises(
        ValueError, match=r"any of image, audio, video, text.*got smell"
    ):
        head({"smell": tokens["text"]})
    with pytest.raises(ValueError, match="got nothing"):
        head({})
    with pytest.raises(ValueError, match="unfused; got Tokens"):
        head(tokens["text"])


# ------------------------------------------------------------------- several processes


class Vector(Configured):
    """A linear encoder of vectors (B, 6)."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 5)

    def forward(self, values, mask=None):
        return Tokens(self.layer(values)[:, None])


GROUPS = {  # of equal captions, as labels
    "all different": lambda number: {},
    "some equal": lambda number: {"labels": torch.tensor(number % 5)},
}


def trained(batch_size, name):
    """A few steps on the same pairs; the weights and the history."""
    torch.manual_seed(0)
    head = SharedSpaceHead({"image": 5, "text": 5}, 4)
    model = MultimodalModel({"image": Vector(), "text": Vector()}, None, head)
    both = torch.randn(24, 2, 6)
    data = [{"image": a, "text": b} | GROUPS[name](n) for n, (a, b) in enumerate(both)]
    config = TrainingConfig(
        steps=4, batch_size=batch_size, precision="no", compile=False, progress=False
    )
    history = fit(model, data, config)
    measured = {key: history[key] for key in ("loss", "gradient_norm")}
    return {n: p.detach() for n, p in model.named_parameters()}, measured


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What two processes that share each batch wrote."""
    path = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    file = tmp_path_factory.mktemp("together") / "written.pt"
    done = subprocess.run(
        [sys.executable, __file__, str(file)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return torch.load(file, weights_only=True)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
@pytest.mark.parametrize("name", GROUPS)
def test_two_processes_train_a_shared_space_as_one_does(name, together):
    weights, measured = trained(8, name)
    for key, values in measured.items():
        assert together[name][1][key] == pytest.approx(values, abs=1e-5), key
    for key, parameter in weights.items():
        torch.testing.assert_close(together[name][0][key], parameter, rtol=0, atol=1e-5)


def distributed(rank, port, file):
    """What each of the two processes does."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
    }
    written = {name: trained(4, name) for name in GROUPS}
    if rank == 0:
        torch.save(written, file)


if __name__ == "__main__":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = multiprocessing.get_context("fork")  # import once, then split up
    children = [
        both.Process(target=distributed, args=(rank, port, sys.argv[1]))
        for rank in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    sys.exit(max(abs(child.exitcode) for child in children))

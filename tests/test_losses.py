"""Losses: means over what counts, equal to the formulas written out."""

import math

import pytest
import torch
from torch.nn import functional as F

from mmbook.losses import (
    contrastive,
    cross_entropy,
    distillation,
    dpo,
    gather_rows,
    grpo,
    hard_negatives,
    sigmoid_contrastive,
)
from mmbook.tokens import IGNORED


def logits_and_labels():
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 5)
    return logits, torch.tensor([[1, 2, 0, IGNORED], [4, IGNORED, IGNORED, IGNORED]])


def test_cross_entropy_is_the_formula_nothing_shifted():
    logits, labels = logits_and_labels()
    log_p = logits.log_softmax(-1)
    said = [log_p[0, 0, 1], log_p[0, 1, 2], log_p[0, 2, 0], log_p[1, 0, 4]]
    torch.testing.assert_close(cross_entropy(logits, labels), -sum(said) / 4)


def test_cross_entropy_smoothing_is_torchs():
    logits, labels = logits_and_labels()
    expected = F.cross_entropy(logits.mT, labels, label_smoothing=0.1)
    torch.testing.assert_close(cross_entropy(logits, labels, smoothing=0.1), expected)


def test_more_padding_changes_nothing():
    logits, labels = logits_and_labels()
    wider = F.pad(logits, (0, 0, 0, 3), value=7.0)
    more = F.pad(labels, (0, 3), value=IGNORED)
    torch.testing.assert_close(
        cross_entropy(wider, more), cross_entropy(logits, labels)
    )


def test_parts_with_the_count_of_the_whole_add_up():
    logits, labels = logits_and_labels()
    whole = cross_entropy(logits, labels)
    parts = [cross_entropy(logits[i], labels[i], items=4) for i in range(2)]
    torch.testing.assert_close(sum(parts), whole)
    averages = [cross_entropy(logits[i], labels[i]) for i in range(2)]
    assert not torch.isclose(sum(averages) / 2, whole)  # the widespread mistake


def test_nothing_but_padding_is_zero_not_nan():
    logits = torch.randn(2, 3, 5, requires_grad=True)
    loss = cross_entropy(logits, torch.full((2, 3), IGNORED))
    loss.backward()
    assert loss == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_weights_are_torchs_but_for_the_divisor(smoothing):
    """Torch divides by the sum of the weights, and parts would not add up."""
    logits, labels = logits_and_labels()
    weight = torch.tensor([1.0, 4.0, 0.5, 2.0, 3.0])
    summed = F.cross_entropy(
        logits.mT, labels, weight, label_smoothing=smoothing, reduction="sum"
    )
    ours = cross_entropy(logits, labels, smoothing, weight=weight)
    torch.testing.assert_close(ours, summed / 4)
    parts = [
        cross_entropy(logits[i], labels[i], smoothing, 4, weight) for i in range(2)
    ]
    torch.testing.assert_close(sum(parts), ours)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_soft_targets_are_torchs(smoothing):
    logits, _ = logits_and_labels()
    targets = torch.rand(2, 4, 5).softmax(-1)
    expected = F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(0, 1), label_smoothing=smoothing
    )
    torch.testing.assert_close(cross_entropy(logits, targets, smoothing), expected)
    of_both = (targets != IGNORED).sum()  # as transformers.Trainer counts labels
    parts = [cross_entropy(logits[i], targets[i], smoothing, of_both) for i in range(2)]
    torch.testing.assert_close(sum(parts), expected)


def test_half_precision_logits_are_summed_in_float32():
    logits, labels = logits_and_labels()
    assert cross_entropy(logits.bfloat16(), labels).dtype == torch.float32


def test_double_precision_stays_double_so_that_gradients_can_be_checked():
    logits, labels = logits_and_labels()
    logits = logits.double().requires_grad_()
    assert cross_entropy(logits, labels).dtype == torch.float64
    for smoothing in (0.0, 0.1):
        assert torch.autograd.gradcheck(
            lambda x, smoothing=smoothing: cross_entropy(x, labels, smoothing), logits
        )


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(2, 4, 5\).*\(2, 3\)"):
        cross_entropy(torch.zeros(2, 4, 5), torch.zeros(2, 3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"\(B, D\).*\(2, 3\), \(4, 3\)"):
        contrastive(torch.zeros(2, 3), torch.zeros(4, 3), 1.0)


def test_contrastive_is_the_formula():
    torch.manual_seed(0)
    a, b = (F.normalize(torch.randn(4, 8), dim=-1) for _ in range(2))
    s, total = 7.0 * a @ b.T, 0.0
    for i in range(4):
        total -= s[i, i] - s[i].logsumexp(0)
        total -= s[i, i] - s[:, i].logsumexp(0)
    torch.testing.assert_close(contrastive(a, b, 7.0), total / 8)


def test_contrastive_at_its_two_ends():
    same = torch.eye(4)
    assert contrastive(same, same, 100.0) < 1e-6
    one = F.normalize(torch.ones(4, 3), dim=-1)
    assert contrastive(one, one, 5.0).item() == pytest.approx(math.log(4))


def two_embeddings(rows=6, width=8):
    torch.manual_seed(0)
    return (F.normalize(torch.randn(rows, width), dim=-1) for _ in range(2))


def without(first, second, hidden):
    """InfoNCE by hand, one row after the other, without the hidden negatives."""
    total = 0.0
    for scores in (5.0 * first @ second.T, 5.0 * second @ first.T):
        for i in range(len(first)):
            kept = [j for j in range(len(first)) if not hidden[i, j]]
            total -= scores[i, i] - scores[i, kept].logsumexp(0)
    return total / (2 * len(first))


def test_rows_of_one_group_are_not_negatives_of_each_other():
    a, b = two_embeddings()
    groups = torch.tensor([4, 1, 4, 2, 1, 4])
    hidden = (groups[:, None] == groups) & ~torch.eye(6, dtype=torch.bool)
    ours = contrastive(a, b, 5.0, groups)
    torch.testing.assert_close(ours, without(a, b, hidden))
    assert torch.equal(contrastive(a, b, 5.0, torch.arange(6)), contrastive(a, b, 5.0))
    pairs = -F.logsigmoid((5.0 * a @ b.T - 1) * (2 * torch.eye(6) - 1))
    ours = sigmoid_contrastive(a, b, 5.0, -1.0, groups)
    torch.testing.assert_close(ours, pairs[~hidden].sum() / 6)
    with pytest.raises(ValueError, match=r"groups \(B,\).*\(6, 6\)"):
        contrastive(a, b, 5.0, hidden)


def test_equal_captions_cost_a_perfect_model_nothing():
    """Without groups, two equal rows are each other's negatives: log 2 for each."""
    same = torch.eye(3)[[0, 0, 1, 2]]
    assert contrastive(same, same, 100.0).item() == pytest.approx(math.log(2) / 2)
    assert contrastive(same, same, 100.0, torch.tensor([0, 0, 1, 2])) < 1e-6


def test_in_one_process_the_gathered_rows_are_the_rows():
    """Two processes: tests/heads/test_shared_space.py."""
    rows = torch.randn(3, 2)
    assert gather_rows(rows) is rows


def open_clips_formula(first, second, scale):
    """open_clip's ClipLoss on one process: its two logits and its mean of two."""
    per_image, per_text = scale * first @ second.T, scale * second @ first.T
    truth = torch.arange(per_image.shape[0]).long()
    return sum(F.cross_entropy(logits, truth) for logits in (per_image, per_text)) / 2


def tiny_pair(name):
    """A random CLIP or SigLIP of transformers, and what it says of five pairs."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    small = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = getattr(transformers, f"{name}Config")(
        text_config=small | {"vocab_size": 30, "max_position_embeddings": 8},
        vision_config=small | {"image_size": 16, "patch_size": 8},
        projection_dim=16,
    )
    model = getattr(transformers, f"{name}Model")(config).eval()
    torch.nn.init.constant_(model.logit_scale, 2.0)
    ids, pixels = torch.randint(30, (5, 8)), torch.rand(5, 3, 16, 16)
    return model, lambda: model(input_ids=ids, pixel_values=pixels, return_loss=True)


def test_contrastive_is_clips_loss():
    """On the embeddings of a tiny random CLIP, with its own scale."""
    clip, run = tiny_pair("CLIP")
    theirs = run()
    a, b, scale = theirs.image_embeds, theirs.text_embeds, clip.logit_scale.exp()
    ours = contrastive(a, b, scale)
    torch.testing.assert_close(ours, theirs.loss)
    torch.testing.assert_close(ours, open_clips_formula(a, b, scale))
    mine, other = (
        torch.autograd.grad(loss, clip.logit_scale, retain_graph=True)
        for loss in (ours, theirs.loss)
    )
    torch.testing.assert_close(mine, other)


def test_contrastive_is_open_clips():
    reason = "open_clip is not installed"
    open_clip = pytest.importorskip("open_clip", reason=reason)
    a, b = two_embeddings()
    torch.testing.assert_close(contrastive(a, b, 9.0), open_clip.ClipLoss()(a, b, 9.0))


def test_sigmoid_contrastive_is_a_loop_over_all_pairs():
    a, b = two_embeddings()
    total = 0.0
    for i in range(6):
        for j in range(6):
            p = torch.sigmoid(7.0 * a[i] @ b[j] - 2.0)
            total -= torch.log(p if i == j else 1 - p)
    torch.testing.assert_close(sigmoid_contrastive(a, b, 7.0, -2.0), total / 6)


def test_sigmoid_contrastive_is_siglips_loss():
    """On the embeddings of a tiny random SigLIP, with its own scale and bias."""
    siglip, run = tiny_pair("Siglip")
    torch.nn.init.constant_(siglip.logit_bias, -3.0)
    theirs = run()
    a, b, scale = theirs.image_embeds, theirs.text_embeds, siglip.logit_scale.exp()
    ours = sigmoid_contrastive(a, b, scale, siglip.logit_bias)
    torch.testing.assert_close(ours, theirs.loss)
    learned = [siglip.logit_scale, siglip.logit_bias]
    mine, other = (
        torch.autograd.grad(loss, learned, retain_graph=True)
        for loss in (ours, theirs.loss)
    )
    torch.testing.assert_close(mine, other)


def test_sigmoid_contrastive_in_pieces_is_the_whole():
    """The diagonal blocks by the loss itself, the other pairs as wrong pairs."""
    a, b = two_embeddings()
    whole = sigmoid_contrastive(a, b, 5.0, -1.0)
    parts = (slice(0, 2), slice(2, 6))
    total = sum(sigmoid_contrastive(a[p], b[p], 5.0, -1.0) * len(a[p]) for p in parts)
    for p, q in (parts, parts[::-1]):
        total -= F.logsigmoid(-(5.0 * a[p] @ b[q].T - 1.0)).sum()
    torch.testing.assert_close(total / 6, whole)
    mean = sum(contrastive(a[p], b[p], 5.0) * len(a[p]) for p in parts) / 6
    assert not torch.isclose(mean, contrastive(a, b, 5.0))  # InfoNCE can't be cut so


def test_sigmoid_contrastive_at_its_two_ends():
    same = torch.eye(4)
    assert sigmoid_contrastive(same, same, 200.0, -100.0) < 1e-6
    start = sigmoid_contrastive(torch.zeros(4, 3), torch.zeros(4, 3), 10.0, 0.0)
    assert start.item() == pytest.approx(4 * math.log(2))  # B coins for each row
    with pytest.raises(ValueError, match=r"\(B, D\)"):
        sigmoid_contrastive(torch.zeros(2, 3), torch.zeros(4, 3), 1.0, 0.0)


def test_hard_negatives_are_the_best_of_the_wrong():
    scores = torch.tensor([[9.0, 1.0, 5.0], [7.0, 8.0, 2.0], [0.0, -3.0, -9.0]])
    assert hard_negatives(scores).tolist() == [2, 0, 0]
    same = torch.zeros(3, 3, dtype=torch.bool)
    same[0, 2] = same[2, 0] = True  # one caption, two pictures
    assert hard_negatives(scores, same).tolist() == [1, 0, 1]
    assert scores[0, 0] == 9  # not changed


def test_hard_negatives_equal_a_loop():
    torch.manual_seed(0)
    scores, same = torch.randn(20, 20), torch.rand(20, 20) < 0.3
    for i, chosen in enumerate(hard_negatives(scores, same).tolist()):
        wrong = [j for j in range(20) if j != i and not same[i, j]]
        assert chosen == max(wrong, key=lambda j: scores[i, j])


def test_a_hard_negative_is_wrong_even_where_all_are_ruled_out():
    nothing = torch.full((3, 3), -torch.inf)
    assert (hard_negatives(nothing) != torch.arange(3)).all()
    best = torch.tensor([[5.0, -torch.inf], [-torch.inf, 5.0]])
    assert hard_negatives(best).tolist() == [1, 0]


def test_hard_negatives_say_what_is_wrong():
    with pytest.raises(ValueError, match="NaN in 1 of 2 rows"):
        hard_negatives(torch.tensor([[0.0, torch.nan], [1.0, 2.0]]))
    with pytest.raises(ValueError, match=r"\(B, B\).*\(2, 3\)"):
        hard_negatives(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"bool.*torch\.float32"):
        hard_negatives(torch.zeros(2, 2), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="row 1 has no wrong column"):
        same = torch.tensor([[True, False], [True, True]])
        hard_negatives(torch.zeros(2, 2), same)


def softmaxes(temperature):
    """Logits of a student and a teacher, (2, 4, 5), and their softmaxes."""
    torch.manual_seed(1)
    student, teacher = torch.randn(2, 2, 4, 5).double()
    p, q = (x.div(temperature).softmax(-1) for x in (student, teacher))
    return student, teacher, p, q


def test_distillation_is_the_kl_divergence_times_the_squared_temperature():
    student, teacher, p, q = softmaxes(3.0)
    expected = 9 * (q * (q / p).log()).sum(-1).mean()
    torch.testing.assert_close(distillation(student, teacher, 3.0), expected)
    theirs = F.kl_div(p.log().flatten(0, 1), q.flatten(0, 1), reduction="batchmean")
    torch.testing.assert_close(distillation(student, teacher, 3.0), 9 * theirs)
    by_hand = distillation(torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3), 0]]))
    assert by_hand.item() == pytest.approx(
        math.log(2) + 0.75 * math.log(0.75) - 0.25 * math.log(4)
    )
    assert distillation(teacher, teacher, 3.0).item() == pytest.approx(0, abs=1e-12)


def test_distillation_at_a_high_temperature_compares_centred_logits():
    """Hinton et al., equation 4: the factor T² leaves (1 / 2V) |z − v|²."""
    student, teacher, *_ = softmaxes(1.0)
    gap = student - teacher
    gap = gap - gap.mean(-1, keepdim=True)
    expected = gap.square().sum(-1).mean() / (2 * 5)
    found = distillation(student, teacher, 1e4)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)


def test_distillation_counts_only_the_rows_of_the_mask_and_teaches_the_student_alone():
    student, teacher, *_ = softmaxes(2.0)
    mask = torch.tensor([[True, True, False, False], [True, False, False, False]])
    spoilt = student.masked_fill(~mask[..., None], 77.0).requires_grad_()
    teacher.requires_grad_()
    loss = distillation(spoilt, teacher, 2.0, mask)
    torch.testing.assert_close(
        loss, distillation(student[mask], teacher.detach()[mask], 2.0)
    )
    loss.backward()
    assert teacher.grad is None and spoilt.grad[~mask].abs().max() == 0
    nothing = distillation(spoilt, teacher, 2.0, torch.zeros_like(mask))
    assert nothing.item() == 0
    with pytest.raises(ValueError, match=r"\(…, V\).*\(2, 4, 5\).*\(2, 4, 3\)"):
        distillation(student, teacher[..., :3])


def test_dpo_is_the_formula_and_trls():
    """TRL's sigmoid loss: −log σ(β (π log ratio − reference log ratio))."""
    now = torch.tensor([[-3.0, -4.0], [-6.0, -2.0]])
    reference = torch.tensor([[-3.5, -3.0], [-6.0, -3.0]])
    margins = (0.5 + 1.0, 0.0 - 1.0)
    expected = sum(math.log(1 + math.exp(-0.3 * m)) for m in margins) / 2
    assert dpo(now, reference, beta=0.3).item() == pytest.approx(expected)
    logratios = now[:, 0] - now[:, 1] - (reference[:, 0] - reference[:, 1])
    torch.testing.assert_close(
        dpo(now, reference, 0.3), -F.logsigmoid(0.3 * logratios).mean()
    )


def test_dpo_starts_at_log_2_and_pulls_the_two_answers_apart():
    now = torch.tensor([[-3.0, -4.0], [-6.0, -2.0]]).requires_grad_()
    reference = now.detach().clone().requires_grad_()
    loss = dpo(now, reference, beta=0.2)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    expected = torch.tensor([[-0.05, 0.05]] * 2)  # β / 2, of two pairs
    torch.testing.assert_close(now.grad, expected)
    assert reference.grad is None
    worse = dpo(now.detach().flip(1), reference, 0.2)
    assert worse != loss  # the first column is the preferred one


def test_dpo_names_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\(B, 2\).*\(4, 3\)"):
        dpo(torch.zeros(4, 3), torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"\(4, 2\), \(3, 2\)"):
        dpo(torch.zeros(4, 2), torch.zeros(3, 2))


def group():
    """Log-probabilities (2, 3, 4) now, before, of a reference; rewards, mask."""
    torch.manual_seed(2)
    now, old, reference = -3 * torch.rand(3, 2, 3, 4).double()
    rewards = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 2.0]]).double()
    lengths = torch.tensor([[4, 2, 1], [3, 4, 2]])
    return now, old, reference, rewards, torch.arange(4) < lengths[..., None]


def trls_grpo(kind, beta=0.0, clip=0.2):
    """The formulas of TRL's GRPOTrainer, answer by answer and token by token."""
    now, old, reference, rewards, mask = group()
    total = []
    for b in range(2):
        spread = rewards[b].std() + 1e-4 if kind == "grpo" else 1.0
        for i in range(3):
            advantage, tokens = (rewards[b, i] - rewards[b].mean()) / spread, []
            for t in range(int(mask[b, i].sum())):
                ratio = (now[b, i, t] - old[b, i, t]).exp()
                clipped = min(max(ratio, 1 - clip), 1 + clip)
                gap = reference[b, i, t] - now[b, i, t]
                k3 = gap.exp() - gap - 1
                tokens.append(beta * k3 - min(ratio * advantage, clipped * advantage))
            total.append(sum(tokens) / (len(tokens) if kind == "grpo" else 8))
    return sum(total) / len(total)


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_grpo_is_the_formula_of_trl(beta):
    now, old, reference, rewards, mask = group()
    found = grpo(now, old, rewards, mask, beta=beta, reference=reference)
    torch.testing.assert_close(found, trls_grpo("grpo", beta))
    found = grpo(
        now, old, rewards, mask, beta=beta, reference=reference, scale=False, length=8
    )
    torch.testing.assert_close(found, trls_grpo("dr_grpo", beta))


def test_grpo_padding_does_not_count():
    now, old, reference, rewards, mask = group()
    spoilt = now.masked_fill(~mask, -9.0).requires_grad_()
    loss = grpo(spoilt, old, rewards, mask, beta=0.1, reference=reference)
    torch.testing.assert_close(
        loss, grpo(now, old, rewards, mask, beta=0.1, reference=reference)
    )
    loss.backward()
    assert spoilt.grad[~mask].abs().max() == 0


def test_grpo_in_the_first_step_is_reinforce_with_the_groups_mean():
    """Ratio one: the gradient of log p is −A / |y| / (B G), nothing is clipped."""
    _, old, _, rewards, mask = group()
    now = old.clone().requires_grad_()
    grpo(now, old, rewards, mask, scale=False).backward()
    advantage = rewards - rewards.mean(1, keepdim=True)
    expected = -(advantage / mask.sum(-1))[..., None] * mask / 6
    torch.testing.assert_close(now.grad, expected)


def test_grpo_stops_where_a_good_answer_is_likely_enough_but_not_where_it_fell():
    old, rewards = torch.zeros(1, 2, 1), torch.tensor([[1.0, 0.0]])
    mask = torch.ones(1, 2, 1, dtype=torch.bool)
    for shift, moves in ((0.5, [False, True]), (-0.5, [True, False])):
        now = torch.full((1, 2, 1), shift, requires_grad=True)
        grpo(now, old, rewards, mask).backward()
        assert (now.grad.flatten() != 0).tolist() == moves


def test_grpo_learns_nothing_from_a_group_of_equal_rewards():
    now, old, _, _, mask = group()
    now = now.requires_grad_()
    loss = grpo(now, old, torch.ones(2, 3).double(), mask)
    loss.backward()
    assert loss == 0 and now.grad.abs().max() == 0


def test_grpo_says_what_is_wrong():
    now, old, _, rewards, mask = group()
    with pytest.raises(ValueError, match=r"\(B, G\).*\(3, 2\), \(2, 3\)"):
        grpo(now, old, rewards.T, mask)
    with pytest.raises(ValueError, match=r"\(B, G, L\).*\(2, 3, 3\)"):
        grpo(now, old, rewards, mask[..., :3])
    with pytest.raises(ValueError, match="group of one answer"):
        grpo(now[:, :1], old[:, :1], rewards[:, :1], mask[:, :1])


def test_gradients_of_distillation_dpo_and_grpo_are_those_of_the_functions():
    student, teacher, *_ = softmaxes(1.0)
    now, old, reference, rewards, mask = group()
    gradcheck = torch.autograd.gradcheck
    assert gradcheck(lambda x: distillation(x, teacher, 2.0), student.requires_grad_())
    pairs = now[:, :2, 0].clone().requires_grad_()
    assert gradcheck(lambda x: dpo(x, old[:, :2, 0]), pairs)
    assert gradcheck(
        lambda x: grpo(x, old, rewards, mask, beta=0.1, reference=reference),
        now.requires_grad_(),
    )

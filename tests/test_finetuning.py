"""What learns, what rests; LoRA, adapters, prompts: equal to peft where peft has it."""

import copy

import pytest
import torch
from torch import nn

from mmbook.encoders import ConvImageEncoder, PatchImageEncoder, TextEncoder
from mmbook.finetuning import (
    FILE,
    Counted,
    LoRALinear,
    add_adapters,
    add_ia3,
    add_lora,
    add_prefix,
    add_prompt,
    count_parameters,
    freeze,
    layerwise_rates,
    load_trained,
    merge,
    save_trained,
    stages,
    train_biases,
    unfreeze,
)
from mmbook.fusion import fusion
from mmbook.heads import ClassificationHead, GenerationHead
from mmbook.models import LanguageModel, MultimodalModel
from mmbook.training import TrainingConfig, fit, make_optimizer

WIDTH = 16


def captioner(seed: int = 0) -> MultimodalModel:
    torch.manual_seed(seed)
    encoder = ConvImageEncoder(WIDTH, size=16, channels=(8,))
    head = GenerationHead(20, WIDTH, layers=2, heads=2, context_width=WIDTH)
    joined = fusion("concatenation", widths={"image": WIDTH}, width=WIDTH)
    return MultimodalModel({"image": encoder}, joined, head)


def classifier(seed: int = 0) -> MultimodalModel:
    """Text, by attention, in four classes; dropout so that rest can be told."""
    torch.manual_seed(seed)
    encoder = TextEncoder(20, WIDTH, layers=2, heads=2, dropout=0.1)
    joined = fusion("concatenation", widths={"text": WIDTH}, width=WIDTH)
    return MultimodalModel({"text": encoder}, joined, ClassificationHead(WIDTH, 4))


def sentences() -> dict:
    rng = torch.Generator().manual_seed(1)
    mask = torch.ones(4, 7, dtype=torch.bool)
    mask[0, 5:] = False
    return {
        "text": torch.randint(3, 20, (4, 7), generator=rng),
        "text_mask": mask,
        "labels": torch.tensor([0, 1, 2, 3]),
    }


def pictures() -> dict:
    rng = torch.Generator().manual_seed(1)
    return {
        "image": torch.rand(4, 3, 16, 16, generator=rng),
        "labels": torch.randint(3, 20, (4, 6), generator=rng),
    }


def trained_names(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def step(model: nn.Module, batch: dict, rate: float = 0.1) -> None:
    """One step of SGD on all that is trained."""
    model.train()
    model(**batch).loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= rate * parameter.grad
                parameter.grad = None
    model.eval()


# method, and what the names of its parameters end in
METHODS = {
    "lora": (lambda m, **k: add_lora(m, 2, **k), ("down", "up")),
    "adapters": (lambda m, **k: add_adapters(m, 3, **k), ("weight", "bias")),
    "prefix": (lambda m, **k: add_prefix(m, 3, **k), ("prefix",)),
    "prompt": (lambda m, **k: add_prompt(m, 3, **k), ("prompt",)),
    "biases": (lambda m, **k: train_biases(m, **k), ("bias",)),
    "ia3": (lambda m, **k: add_ia3(m, **k), ("factors",)),
}
SILENT = sorted(set(METHODS) - {"prefix", "prompt"})
every_method = pytest.mark.parametrize("method", sorted(METHODS))


# ------------------------------------------------------------------ freeze


def test_what_is_frozen_says_the_same_after_training():
    model = captioner()
    freeze(model.encoders["image"])
    picture = pictures()["image"]
    before = model.encoders["image"](picture).values
    data = [
        {"image": row, "labels": label}
        for row, label in zip(picture, pictures()["labels"], strict=True)
    ]
    config = TrainingConfig(steps=5, batch_size=2, progress=False, compile=False)
    fit(
        model,
        data,
        config,
        collate=lambda items: {
            name: torch.stack([item[name] for item in items]) for name in items[0]
        },
    )
    model.cpu()
    assert torch.equal(model.encoders["image"](picture).values, before)
    for name, tensor in captioner().encoders["image"].state_dict().items():
        assert torch.equal(model.encoders["image"].state_dict()[name], tensor), name
    assert not torch.equal(model.head.bias, torch.zeros(20))


def test_a_copy_stays_frozen_and_does_not_hold_the_original():
    model = classifier()
    freeze(model.encoders["text"])
    twin = copy.deepcopy(model)
    twin.train()
    rests = [m.training for m in twin.encoders["text"].modules()]
    assert not any(rests) and twin.head.training
    assert not any(m.training for m in model.modules() if isinstance(m, nn.Dropout2d))
    model.eval()
    unfreeze(twin.encoders["text"])
    twin.train()
    assert all(m.training for m in twin.modules())
    model.train()
    assert not model.encoders["text"].blocks[0].training, "the copy's affair alone"


def test_freeze_all_but_the_head_and_unfreeze_a_layer_inside():
    model = freeze(classifier(), keep=("head",))
    assert trained_names(model) == {"head.layers.1.weight", "head.layers.1.bias"}
    unfreeze(model, "encoders.text.blocks.1.")
    model.train()
    blocks = model.encoders["text"].blocks
    assert all(p.requires_grad for p in blocks[1].parameters())
    assert all(m.training for m in blocks[1].modules()), "although all above it rests"
    assert not any(m.training for m in blocks[0].modules())
    assert not any(p.requires_grad for p in blocks[0].parameters())


def test_freezing_is_not_stored(tmp_path):
    model = freeze(classifier(), keep=("head",))
    model.save_pretrained(tmp_path / "m")
    again = MultimodalModel.from_pretrained(tmp_path / "m")
    assert count_parameters(again).share == 1
    batch = sentences()
    assert torch.equal(again(**batch).logits, model(**batch).logits)


def test_names_that_are_not_there_are_named():
    with pytest.raises(ValueError, match="keep names 'heads', but no parameter"):
        freeze(classifier(), keep=("heads",))
    with pytest.raises(ValueError, match=r"begin with encoders\.text, fusion"):
        unfreeze(classifier(), "decoder")
    with pytest.raises(ValueError, match="keep must be a list of names; got 'head'"):
        freeze(classifier(), keep="head")


def test_counting():
    layer = nn.Linear(3, 4)
    twice = nn.Sequential(layer, layer, nn.Linear(4, 1))
    layer.requires_grad_(False)
    assert count_parameters(twice) == Counted(5, 21)
    assert count_parameters(twice).share == 5 / 21
    assert count_parameters(nn.ReLU()).share == 0


# ------------------------------------------------------------------ stages and rates


@pytest.mark.parametrize("make", [captioner, classifier, lambda: TextEncoder(9, 8)])
def test_each_parameter_stands_in_one_stage(make):
    model = make()
    for name, _ in model.named_parameters():
        hits = [stage for stage in stages(model) if name.startswith(stage)]
        assert len(hits) == 1, name


def test_the_stages_go_from_the_top_down():
    assert stages(classifier()) == [
        ("head.",),
        ("fusion.",),
        ("encoders.text.blocks.1.", "encoders.text.norm."),
        ("encoders.text.blocks.0.",),
        ("encoders.text.embedding.",),
    ]
    assert stages(LanguageModel(GenerationHead(9, 8, heads=2)))[-1] == (
        "head.bias",
        "head.embedding.",
    )


def test_a_norm_goes_with_its_convolution():
    image = stages(ConvImageEncoder(8, channels=(4,)))
    assert image[0] == ("stages.6.", "stages.7.")
    assert image[-1] == ("position", "stages.0.", "stages.1.")


def test_encoders_stand_side_by_side():
    towers = {"image": PatchImageEncoder(8, 1, 2), "text": TextEncoder(9, 8, 2, 2)}
    widths = {"image": 8, "text": 8}
    joined = fusion("sum", widths=widths, width=8)
    model = MultimodalModel(towers, joined, ClassificationHead(8, 2))
    tops = next(stage for stage in stages(model) if "encoders" in stage[0])
    assert {"encoders.image.blocks.0.", "encoders.text.blocks.1."} <= set(tops)


def test_the_rates_fall_from_the_head_and_fit_takes_them():
    model = classifier()
    rates = layerwise_rates(model, 0.5)
    assert rates["head."] == 1 and rates["encoders.text.blocks.0."] == 0.125
    groups = make_optimizer(model, TrainingConfig(rates=rates)).param_groups
    assert {group["factor"] for group in groups} == {1, 0.5, 0.25, 0.125, 0.0625}
    for wrong in (0, 1.5):
        with pytest.raises(ValueError, match="decay must be above 0"):
            layerwise_rates(model, wrong)


# ------------------------------------------------------------------ all methods


@pytest.mark.parametrize("method", SILENT)
def test_at_the_start_nothing_has_changed(method):
    batch, model = sentences(), classifier().eval()
    before = model(**batch).logits
    METHODS[method][0](model).eval()
    assert torch.allclose(model(**batch).logits, before, atol=1e-6)


@every_method
def test_only_what_is_new_and_the_head_learn(method):
    model, (add, ends) = classifier(), METHODS[method]
    before = {name: p.clone() for name, p in model.named_parameters()}
    assert add(model) is model
    names = trained_names(model)
    assert {n for n in names if n.startswith("head.")} == {
        "head.layers.1.weight",
        "head.layers.1.bias",
    }
    new = {n for n in names if not n.startswith("head.")}
    assert new and all(name.endswith(ends) for name in new)
    assert before.keys() <= dict(model.named_parameters()).keys(), "no name is lost"
    start = {name: model.get_parameter(name).clone() for name in names}
    for _ in range(2):  # LoRA's A has no gradient before B has moved
        step(model, sentences())
    for name, parameter in model.named_parameters():
        if name.endswith("key.bias") and name in names:
            # the same for each key: the softmax takes it out again
            assert torch.allclose(parameter, start[name], atol=1e-6), name
        elif name in names:
            assert not torch.equal(parameter, start[name]), f"{name} did not learn"
        else:
            assert torch.equal(parameter, before[name]), f"{name} moved"


@every_method
def test_the_gradients_are_right(method):
    """Finite differences, in double precision, on what is new."""
    model = METHODS[method][0](classifier()).double().eval()
    for name in trained_names(model):  # away from the start, where B is zero
        parameter = model.get_parameter(name)
        parameter.data += 0.1 * torch.randn_like(parameter)
    batch = sentences()
    names = sorted(n for n in trained_names(model) if not n.startswith("head."))
    model(**batch).loss.backward()
    for name in names[:: max(1, len(names) // 4)]:
        parameter, place = model.get_parameter(name), 0
        flat, height = parameter.data.view(-1), 1e-6
        flat[place] += height
        above = model(**batch).loss
        flat[place] -= 2 * height
        below = model(**batch).loss
        flat[place] += height
        slope = ((above - below) / (2 * height)).item()
        assert parameter.grad.view(-1)[place].item() == pytest.approx(
            slope, abs=1e-7, rel=1e-5
        ), name


@every_method
def test_it_comes_back_from_state_dict_deepcopy_and_file(method, tmp_path):
    add, batch = METHODS[method][0], sentences()
    model = add(classifier())
    step(model, batch)
    said = model(**batch).logits
    assert torch.equal(copy.deepcopy(model)(**batch).logits, said)
    other = add(classifier(seed=5)).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(**batch).logits, said)
    folder = save_trained(model, tmp_path / "trained")
    same_base = add(classifier()).eval()
    assert not torch.allclose(same_base(**batch).logits, said)
    assert load_trained(same_base, folder) is same_base
    assert torch.equal(same_base(**batch).logits, said)
    stored = (folder / FILE).stat().st_size
    assert stored < 0.7 * 4 * count_parameters(model).total


@every_method
def test_what_is_kept_must_be_there(method):
    with pytest.raises(ValueError, match="keep names 'answer'"):
        METHODS[method][0](classifier(), keep=("answer",))


@every_method
def test_padding_is_not_looked_at(method):
    """Longer padding does not change what a model says."""
    model, batch = METHODS[method][0](classifier()).eval(), sentences()
    longer = {
        "text": nn.functional.pad(batch["text"], (0, 3)),
        "text_mask": nn.functional.pad(batch["text_mask"], (0, 3)),
    }
    short = {name: batch[name] for name in longer}
    assert torch.allclose(model(**longer).logits, model(**short).logits, atol=1e-5)


@every_method
def test_a_decoder_sees_no_later_word_and_its_cache_agrees(method):
    from mmbook.generation import generate

    model = captioner()
    where = {"prompt": {"where": ("head.blocks",)}}.get(method, {})
    METHODS[method][0](model, keep=(), **where).eval()
    batch = pictures()
    before = model(**batch).logits
    batch["labels"] = batch["labels"].clone()
    batch["labels"][:, 3] = 7  # read by the word at place 4
    after = model(**batch).logits
    assert torch.allclose(after[:, :4], before[:, :4], atol=1e-6)
    assert not torch.allclose(after[:, 4:], before[:, 4:], atol=1e-6)
    picture = {"image": batch["image"]}
    slow = generate(model, picture, 6, use_cache=False)
    if method == "prompt":
        with pytest.raises(ValueError, match="use_cache=False"):
            generate(model, picture, 6)
    else:
        assert torch.equal(generate(model, picture, 6), slow)


@pytest.mark.parametrize("method", ["lora", "adapters", "prefix", "ia3"])
def test_nothing_found_is_an_error_and_changes_nothing(method):
    model = classifier()
    add = {
        "lora": lambda: add_lora(model, where=("qery",)),
        "adapters": lambda: add_adapters(model, where=("qery",)),
        "prefix": lambda: add_prefix(model, where=("qery",)),
        "ia3": lambda: add_ia3(model, outputs=("qery",)),
    }[method]
    with pytest.raises(ValueError, match=r"fits where=\('qery',\).*encoders.text"):
        add()
    assert count_parameters(model).share == 1


def test_wrong_numbers_and_names_are_named():
    for add in (add_lora, add_adapters, add_prefix, add_prompt):
        with pytest.raises(ValueError, match="must be at least 1; got 0"):
            add(classifier(), 0)
    with pytest.raises(ValueError, match="where must be a list of names"):
        add_lora(classifier(), where="query")
    with pytest.raises(ValueError, match="no bias was found"):
        train_biases(nn.Sequential(nn.Linear(2, 2, bias=False)), keep=())
    with pytest.raises(ValueError, match="one stack of blocks"):
        add_prompt(nn.Sequential(nn.Linear(2, 2)), keep=())
    with pytest.raises(NotImplementedError, match="prefix"):
        attention = add_prefix(classifier()).encoders["text"].blocks[0].attention
        attention.weights(torch.zeros(1, 2, WIDTH))


def test_the_dropout_of_what_is_frozen_rests():
    model, batch = add_lora(classifier(), keep=("head", "fusion")), sentences()
    model.train()
    assert torch.equal(model(**batch).logits, model(**batch).logits)


# ------------------------------------------------------------------ LoRA


def test_lora_counts_what_the_paper_counts():
    model = add_lora(classifier(), rank=3, keep=())
    places = 2 * 2  # query and value, of two layers
    assert count_parameters(model).trained == places * 3 * (WIDTH + WIDTH)


def test_where_is_names_or_a_function():
    names = {
        ("query",): 2,
        ("blocks.1.*",): 6,
        ("*",): 12 + 1,  # and the projection of the fusion
        (lambda name, layer: layer.out_features > WIDTH): 2,
    }
    for where, count in names.items():
        model = add_lora(classifier(), where=where)
        assert sum(isinstance(m, LoRALinear) for m in model.modules()) == count


def test_a_layer_with_two_names_is_changed_under_both():
    layer = nn.Linear(4, 4)
    model = add_lora(nn.Sequential(layer, nn.ReLU(), layer), where=("*",), keep=())
    assert model[0] is model[2] and isinstance(model[0], LoRALinear)
    merge(model)
    assert model[0] is model[2] and type(model[0]) is nn.Linear


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_merged_models_say_the_same_and_are_plain_again(method, tmp_path):
    model, batch = METHODS[method][0](classifier()), sentences()
    shapes = {name: p.shape for name, p in classifier().state_dict().items()}
    for _ in range(3):
        step(model, batch)
    said = model(**batch).logits
    assert merge(model) is model
    assert torch.allclose(model(**batch).logits, said, atol=1e-6)
    assert {name: p.shape for name, p in model.state_dict().items()} == shapes
    model.save_pretrained(tmp_path / "m")
    again = MultimodalModel.from_pretrained(tmp_path / "m")
    assert torch.equal(again(**batch).logits, model(**batch).logits)
    with pytest.raises(ValueError, match="nothing to merge"):
        merge(model)


def test_merging_leaves_the_base_that_others_share():
    base = classifier()
    before = base.encoders["text"].blocks[0].attention.query.weight
    values = before.clone()
    model = add_lora(base)
    step(model, sentences())
    step(model, sentences())
    merge(model)
    assert torch.equal(before, values)


def test_lora_on_the_meta_device_counts_without_memory():
    with torch.device("meta"):
        model = TextEncoder(30_000, 768, 12, 12, 512)
    add_lora(model, rank=8, keep=())
    assert count_parameters(model).trained == 12 * 2 * 8 * 2 * 768
    assert all(p.device.type == "meta" for p in model.parameters())


def peft_twin(model: nn.Module, config) -> nn.Module:
    peft = pytest.importorskip("peft", reason="peft is not installed (test extra)")
    return peft.get_peft_model(copy.deepcopy(model), config(peft))


@torch.no_grad()
def copied(model: nn.Module, twin: nn.Module, names: dict[str, str]) -> None:
    """Draw what is new, and give the same to both."""
    theirs = dict(twin.named_parameters())
    for name in trained_names(model):
        head, _, last = name.rpartition(".")
        value = 0.3 * torch.randn_like(model.get_parameter(name)) + (last == "factors")
        model.get_parameter(name).copy_(value)
        (hit,) = [n for n in theirs if f"{head}.{names[last]}" in n]
        theirs[hit].copy_(value.view(theirs[hit].shape))


@torch.no_grad()
def compared(model, twin, names, run, atol=1e-5):
    """Outputs, gradients and merged outputs of both."""
    copied(model, twin, names)
    model.eval(), twin.eval()
    with torch.enable_grad():
        ours, theirs = run(model), run(twin.base_model.model)
        assert torch.allclose(ours, theirs, atol=atol)
        ours.square().mean().backward()
        theirs.square().mean().backward()
    grads = {n: p.grad for n, p in twin.named_parameters()}
    for name in trained_names(model):
        head, _, last = name.rpartition(".")
        (hit,) = [n for n in grads if f"{head}.{names[last]}" in n]
        mine = model.get_parameter(name).grad
        assert torch.allclose(mine, grads[hit].view(mine.shape), atol=atol), name
    plain = twin.merge_and_unload()
    merge(model)
    for name, tensor in plain.state_dict().items():
        assert torch.allclose(model.state_dict()[name], tensor, atol=1e-6), name


LORA = {"down": "lora_A", "up": "lora_B"}


def test_lora_is_pefts_on_our_encoder():
    torch.manual_seed(0)
    encoder = TextEncoder(20, WIDTH, layers=2, heads=2)
    twin = peft_twin(
        encoder,
        lambda peft: peft.LoraConfig(
            r=3, lora_alpha=5, target_modules=["query", "value"]
        ),
    )
    model = add_lora(encoder, rank=3, alpha=5, keep=())
    ids = sentences()["text"]
    compared(model, twin, LORA, lambda m: m(ids).values)


@pytest.mark.parametrize("kind", ["bert", "vit"])
def test_lora_is_pefts_on_transformers(kind):
    from transformers import BertConfig, BertModel, ViTConfig, ViTModel

    torch.manual_seed(0)
    small = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    if kind == "bert":
        model, names = BertModel(BertConfig(vocab_size=20, **small)), ["query", "value"]
    else:
        config = ViTConfig(image_size=16, patch_size=8, **small)
        model, names = ViTModel(config), ["q_proj", "v_proj"]
    twin = peft_twin(
        model,
        lambda peft: peft.LoraConfig(r=2, lora_alpha=7, target_modules=names),
    )
    add_lora(model, rank=2, alpha=7, keep=())
    given = sentences()["text"] if kind == "bert" else pictures()["image"]
    compared(model, twin, LORA, lambda m: m(given).last_hidden_state)


def test_ia3_is_pefts_on_bert():
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    model = BertModel(
        BertConfig(
            vocab_size=20,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
        )
    )
    thoughts = ["encoder.layer.0.output.dense", "encoder.layer.1.output.dense"]
    twin = peft_twin(
        model,
        lambda peft: peft.IA3Config(
            target_modules=["key", "value", *thoughts], feedforward_modules=thoughts
        ),
    )
    add_ia3(model, keep=())
    ids = sentences()["text"]
    compared(model, twin, {"factors": "ia3_l"}, lambda m: m(ids).last_hidden_state)


# ------------------------------------------------------------------ prompt and prefix


def test_a_prompt_is_tokens_that_were_read():
    """Learned vectors that equal words give what those words before it give."""
    torch.manual_seed(0)
    encoder = TextEncoder(20, WIDTH, layers=2, heads=2).eval()
    with torch.no_grad():
        encoder.embedding.position.weight.zero_()
    words = torch.tensor([[3, 4, 5], [6, 7, 8]])
    longer = torch.cat([torch.tensor([[9, 10]]).expand(2, -1), words], 1)
    wanted = encoder(longer).values[:, 2:]
    vectors = encoder.embedding.word.weight[[9, 10]].detach().clone()
    add_prompt(encoder, 2, keep=()).eval()
    encoder.blocks[0].prompt.data = vectors
    assert torch.allclose(encoder(words).values, wanted, atol=1e-6)


def test_a_prefix_is_keys_and_values_of_tokens():
    """Keys and values of two more tokens give what those tokens in the context give."""
    from mmbook.layers import Attention

    torch.manual_seed(0)
    holder = nn.ModuleDict({"attention": Attention(WIDTH, 2)})
    attention, x = holder["attention"], torch.randn(3, 4, WIDTH)
    first = torch.randn(1, 2, WIDTH)
    wanted = attention(x, torch.cat([first.expand(3, -1, -1), x], 1))
    with torch.no_grad():
        split = [
            attention._split(f(first))[0] for f in (attention.key, attention.value)
        ]
    changed = add_prefix(holder, 2, keep=())["attention"]
    changed.prefix.data = torch.stack(split)
    assert torch.allclose(changed(x), wanted, atol=1e-6)
    assert torch.allclose(changed(x, x), wanted, atol=1e-6), "also for a context"
    nothing = torch.zeros(3, 4, dtype=torch.bool)
    alone = attention(x, first.expand(3, -1, -1))
    assert torch.allclose(changed(x, mask=nothing), alone, atol=1e-6)


# ------------------------------------------------------------------ stored


def test_what_is_stored_is_what_was_trained(tmp_path):
    from safetensors.torch import load_file

    model = add_lora(classifier(), rank=2)
    stored = load_file(save_trained(model, tmp_path / "a") / FILE)
    scales = {n.replace(".down", ".scale") for n in stored if n.endswith(".down")}
    assert stored.keys() == trained_names(model) | scales
    with pytest.raises(ValueError, match="nothing to save"):
        save_trained(freeze(classifier()), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_alpha_comes_back_with_the_rest(tmp_path):
    model, batch = add_lora(classifier(), 2, alpha=8), sentences()
    for _ in range(2):
        step(model, batch)
    folder = save_trained(model, tmp_path / "a")
    other = load_trained(add_lora(classifier(), 2, alpha=1), folder).eval()
    assert torch.equal(other(**batch).logits, model(**batch).logits)


def test_statistics_of_a_trained_batch_norm_are_stored(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    freeze(model, keep=("1.",)).train()
    model(torch.randn(8, 3) + 4)
    folder = save_trained(model, tmp_path / "a")
    other = freeze(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), keep=("1.",))
    load_trained(other, folder)
    assert torch.equal(other[1].running_mean, model[1].running_mean)


def test_two_tasks_take_turns_on_one_base(tmp_path):
    model, batch, said = add_lora(classifier()), sentences(), {}
    start = save_trained(model, tmp_path / "start")
    for task in (0, 1):
        load_trained(model, start)
        for _ in range(3):
            step(model, batch | {"labels": (batch["labels"] + task) % 4})
        save_trained(model, tmp_path / str(task))
        said[task] = model(**batch).logits
    assert not torch.allclose(said[0], said[1])
    for task in (0, 1, 0):
        load_trained(model, tmp_path / str(task))
        assert torch.equal(model(**batch).logits, said[task])


def test_a_file_that_does_not_fit_changes_nothing(tmp_path):
    folder = save_trained(add_lora(classifier(), 2), tmp_path / "two")
    for other, said in (
        (add_lora(classifier(), 3), "is the rank the same"),
        (add_lora(classifier(), 2, where=("query",)), "the model does not train"),
        (add_lora(classifier(), 2, where=("*",)), "the file lacks"),
        (classifier(), "the file lacks"),
    ):
        before = {name: t.clone() for name, t in other.state_dict().items()}
        with pytest.raises(ValueError, match=said):
            load_trained(other, folder)
        assert all(torch.equal(before[n], t) for n, t in other.state_dict().items())


def test_damage_and_absence_are_named(tmp_path):
    model = add_lora(classifier(), 2)
    with pytest.raises(FileNotFoundError, match="no trained parameters at"):
        load_trained(model, tmp_path)
    file = save_trained(model, tmp_path / "a") / FILE
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ValueError, match="damaged or cut off"):
        load_trained(model, tmp_path / "a")

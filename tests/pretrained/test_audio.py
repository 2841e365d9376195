"""Pre-trained speech models give what transformers gives, and never hear padding."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoFeatureExtractor,
    AutoModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from mmbook.pretrained import PretrainedAudioEncoder

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
WAVES = {
    **SMALL,
    "intermediate_size": 24,
    "conv_dim": (8, 8),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 2),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
WHISPER = WhisperConfig(
    vocab_size=20,
    d_model=16,
    encoder_layers=2,
    encoder_attention_heads=2,
    encoder_ffn_dim=24,
    decoder_layers=1,
    decoder_attention_heads=2,
    decoder_ffn_dim=8,
    max_source_positions=50,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    decoder_start_token_id=1,
)
SPEECH = {
    "whisper": lambda: WhisperForConditionalGeneration(WHISPER),
    "wav2vec2": lambda: Wav2Vec2Model(Wav2Vec2Config(**WAVES)),
    "wav2vec2 stable": lambda: Wav2Vec2Model(Wav2Vec2Config(**WAVES, **STABLE)),
    "hubert": lambda: HubertModel(HubertConfig(**WAVES)),
}


@pytest.fixture
def speech(tmp_path, save):
    """Makes a saved checkpoint of a kind, with its feature extractor."""

    def make(kind):
        torch.manual_seed(0)
        folder = save(SPEECH[kind](), tmp_path / "speech")
        extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
        if kind == "whisper":
            extractor = WhisperFeatureExtractor(chunk_length=1)
        extractor.save_pretrained(folder)
        return folder

    return make


def sounds(lengths=(1_600, 900)):
    generator = torch.Generator().manual_seed(2)
    waves = torch.rand(len(lengths), max(lengths), generator=generator) - 0.4
    return waves, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize("kind", SPEECH)
def test_speech_models_give_what_transformers_gives(kind, speech):
    folder = speech(kind)
    peer = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    waves, mask = sounds()
    encoder = PretrainedAudioEncoder.from_pretrained(folder)
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    tokens = encoder(waves, mask)
    for row, length in enumerate((1_600, 900)):  # each alone, without padding
        given = extractor(
            waves[row, :length].numpy(), sampling_rate=16_000, return_tensors="pt"
        )
        part = peer.encoder if kind == "whisper" else peer
        expected = part(*given.values()).last_hidden_state[0]
        real = tokens.values[row, tokens.mask[row]]
        assert torch.allclose(real, expected[: len(real)], atol=1e-4)
        if kind == "whisper":
            assert len(real) == length // 320 + (length % 320 >= 160)  # of 20 ms
        else:
            assert len(real) == len(expected)
    assert encoder.width == 16 and tokens.values.shape[1] == tokens.mask.shape[1]


@pytest.mark.parametrize("kind", SPEECH)
def test_speech_models_do_not_hear_padding(kind, speech):
    encoder = PretrainedAudioEncoder.from_pretrained(speech(kind), width=5)
    waves, mask = sounds()
    tokens = encoder(waves, mask)
    longer = torch.nn.functional.pad(waves.masked_fill(~mask, 3.0), (0, 640), value=-2)
    again = encoder(longer, torch.nn.functional.pad(mask, (0, 640)))
    assert again.mask.sum(1).tolist() == tokens.mask.sum(1).tolist()
    assert again.values.shape[1] == again.mask.shape[1] >= tokens.mask.shape[1]
    for first, second in ((tokens, again), (again, tokens)):
        real = first.values[first.mask]
        assert torch.allclose(real, second.values[second.mask], atol=1e-4)
    alone = encoder(waves[:1])
    assert torch.allclose(alone.values, tokens.values[:1], atol=1e-4)


def test_whisper_is_taken_without_its_decoder(speech, tmp_path):
    encoder = PretrainedAudioEncoder.from_pretrained(speech("whisper"), width=4)
    assert not any("decoder" in name for name, _ in encoder.named_parameters())
    assert encoder.frozen and (encoder.rate, encoder.normalise) == (16_000, False)
    with pytest.raises(ValueError, match=r"hears 16,000 samples; got 16,001"):
        encoder(torch.zeros(1, 16_001))
    file = tmp_path / "speech" / "model.safetensors"
    weights = load_file(file)
    weights.pop("model.encoder.layers.1.fc1.weight")
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 weights of a WhisperEncoder"):
        PretrainedAudioEncoder.from_pretrained(tmp_path / "speech")


@pytest.mark.parametrize("kind", SPEECH)
def test_speech_models_come_back_and_learn(kind, speech, tmp_path):
    encoder = PretrainedAudioEncoder.from_pretrained(speech(kind), 6, trainable=True)
    waves, mask = sounds()
    encoder.save_pretrained(tmp_path / "ours")
    again = PretrainedAudioEncoder.from_pretrained(tmp_path / "ours")
    assert (again.rate, again.normalise) == (16_000, kind != "whisper")
    expected = encoder(waves, mask)
    assert torch.equal(again(waves, mask).values, expected.values)
    expected.pooled().pow(2).sum().backward()
    learning = [p.grad is not None for p in encoder.model.parameters()]
    assert sum(learning) >= len(learning) - 1  # all but a vector for masked training


def test_features_of_speech_stand_for_it(speech):
    encoder = PretrainedAudioEncoder.from_pretrained(speech("hubert"), width=4)
    waves, mask = sounds()
    kept = encoder.features(waves, mask)
    assert kept.width == 16
    again = encoder(kept.values, kept.mask)
    assert torch.equal(again.values, encoder(waves, mask).values)


def test_sounds_and_checkpoints_that_do_not_fit(speech, bert):
    folder = speech("wav2vec2")
    encoder = PretrainedAudioEncoder.from_pretrained(folder)
    with pytest.raises(ValueError, match=r"needs 20 samples or more.*; got 19"):
        encoder(torch.zeros(1, 19))
    assert encoder(torch.zeros(1, 20)).values.shape == (1, 1, 16)
    with pytest.raises(ValueError, match=r"\(B, S\).*\(1600,\)"):
        encoder(torch.zeros(1_600))
    with pytest.raises(ValueError, match=r"whisper, wav2vec2, .* needed; got a 'bert'"):
        PretrainedAudioEncoder.from_pretrained(bert, rate=16_000, normalise=False)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"preprocessor_config.*give rate= and"):
        PretrainedAudioEncoder.from_pretrained(folder)


@pytest.mark.parametrize("kind", ["whisper", "hubert"])
def test_a_row_without_sound_disturbs_nobody(kind, speech):
    encoder = PretrainedAudioEncoder.from_pretrained(speech(kind))
    waves, mask = sounds()
    silent = mask & torch.tensor([[True], [False]])
    tokens = encoder(waves, silent)
    assert tokens.values.isfinite().all() and not tokens.mask[1].any()
    alone = encoder(waves[:1])
    assert torch.allclose(tokens.values[:1], alone.values, atol=1e-4)

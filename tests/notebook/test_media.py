"""Sounds and clips in a page: what is in the HTML is what was given."""

import base64
import io
import re
import wave

import numpy as np
import pytest
import torch
from PIL import Image

from mmbook.notebook.media import play_clip, play_sound


def data(html: str) -> bytes:
    """What a page plays."""
    return base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])


def test_a_sound_is_played_as_it_was_with_its_words():
    sound = torch.linspace(-2, 1, 800)  # louder than a file can hold
    shown = play_sound(sound, 8000, "“one” & <two>")
    html = shown._repr_html_()
    assert "<figcaption>“one” &amp; &lt;two&gt;</figcaption>" in html
    with wave.open(io.BytesIO(data(html))) as file:
        assert (file.getframerate(), file.getnchannels()) == (8000, 1)
        back = np.frombuffer(file.readframes(800), "<i2") / 32767
    np.testing.assert_allclose(back, sound / 2, atol=2e-5)
    assert repr(shown) == "(sound of 0.1 s: “one” & <two>)"


@pytest.mark.parametrize("kind", ["float", "uint8"])
def test_a_clip_has_its_frames_and_its_words(kind):
    frames = torch.zeros(3, 3, 6, 12, dtype=torch.uint8)
    frames[1], frames[2, 0] = 255, 200
    given = frames / 255 if kind == "float" else frames
    html = play_clip(given, 'a "red" ring', a_second=5, side=24)._repr_html_()
    assert 'alt="a &quot;red&quot; ring"' in html and 'width="24" height="12"' in html
    with Image.open(io.BytesIO(data(html))) as clip:
        assert clip.n_frames == 3
        clip.seek(2)
        assert np.array(clip.convert("RGB"))[0, 0].tolist() == [200, 0, 0]
        assert clip.info["duration"] == 200


@pytest.mark.parametrize(
    "call",
    [
        lambda: play_sound(torch.zeros(1, 8), 8000, "one"),
        lambda: play_sound(torch.zeros(8), 8000, " "),
        lambda: play_clip(torch.zeros(2, 1, 4, 4), "a ring"),
        lambda: play_clip(torch.zeros(2, 3, 4, 4), ""),
    ],
)
def test_without_words_or_with_another_shape_it_is_refused(call):
    with pytest.raises(ValueError, match="words that say what is"):
        call()

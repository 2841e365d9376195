"""What the book's own parts learn from."""

from __future__ import annotations

from torch.utils.data import Dataset

from ..world.datasets import CaptionedScenes
from ..world.language import describe, describe_motion
from ..world.scenes import Scene
from ..world.speech import speak
from ..world.voices import Voice


class AltTexts(Dataset):
    """Pictures with several incomplete sentences each, or the sentences alone.

    Parameters
    ----------
    scenes : what is shown and spoken of.
    per_scene : sentences for each scene.
    pictures : False leaves the pictures out.
    """

    def __init__(self, scenes: list[Scene], per_scene: int = 4, pictures: bool = True):
        self.scenes, self.per_scene = scenes, per_scene
        self.images = CaptionedScenes(scenes).images if pictures else None

    def __len__(self) -> int:
        return len(self.scenes) * self.per_scene

    def __getitem__(self, index: int) -> dict:
        scene = index // self.per_scene
        item = {"caption": describe(self.scenes[scene], "partial", index)}
        return item if self.images is None else item | {"image": self.images[scene]}


class Dictations(Dataset):
    """Sentences about moving scenes, spoken once when it is made; what was said.

    In turn a full description, an incomplete one, and one of the motion. Items are
    ``{"audio": (S,) float, "caption": str}``.

    Parameters
    ----------
    scenes : what is spoken of; each is spoken of once.
    voices : who speaks, in turn.
    seed : of the incomplete sentences and of the sound.
    """

    def __init__(self, scenes: list[Scene], voices: list[Voice], seed: int = 0):
        self.captions = [
            self._sentence(number, scene, seed) for number, scene in enumerate(scenes)
        ]
        self.waves = [
            speak(caption, voices[number % len(voices)], seed=(seed, number)).half()
            for number, caption in enumerate(self.captions)
        ]

    @staticmethod
    def _sentence(number: int, scene: Scene, seed: int) -> str:
        if number % 3 == 2:
            return describe_motion(scene)
        return describe(scene, ("canonical", "partial")[number % 3], seed + number)

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> dict:
        return {"audio": self.waves[index].float(), "caption": self.captions[index]}

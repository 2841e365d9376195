"""Start a model in service: ``python -m mmbook.service``, then http://127.0.0.1:8000.

``tune`` fine-tunes it on the labels that were collected, ``check`` goes back if the new
version is worse on the labels since, ``roll-back`` goes back in any case. A service that
runs takes over the version that they make current, without a restart.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from .tuning import check, tune
from .versions import Versions

_NOTHING = "nothing to compare yet: fewer than 30 new labels, or no version before"


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser("python -m mmbook.service", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("do", nargs="?", default="serve", choices=[*_ACTIONS])
    default = "mmbook/scene-captioner"
    parser.add_argument("--model", default=default, help="folder of a saved captioner")
    parser.add_argument("--data", type=Path, help="labels and versions; service-data/…")
    parser.add_argument(
        "--host", default="127.0.0.1", help="0.0.0.0 serves the network"
    )
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    given.data = given.data or Path("service-data", Path(given.model).name)
    torch.set_num_threads(1)  # the other core reads, decodes and answers
    _ACTIONS[given.do](given)


def _serve(given) -> None:
    from .app import service
    from .server import server

    app = service(given.model, given.data)
    print(f"version {app.state.serving.version} of {given.data / 'versions'}")
    server(app, given.host, given.port).run()


def _tune(given) -> None:
    name, difference = tune(given.data, _replay(given.data))
    serves = "serves now" if difference.sign > 0 else "is no better, and doesn't serve"
    print(f"version {name} {serves}: exact captions, new − old: {_percent(difference)}")


def _check(given) -> None:
    difference = check(given.data)
    print(_percent(difference) if difference else _NOTHING)
    _roll_back(given, back=False)


def _roll_back(given, back: bool = True) -> None:
    versions = Versions(given.data / "versions")
    name = versions.roll_back() if back else versions.current
    print(f"version {name} serves")


def _replay(data: Path) -> list[dict]:
    """Scenes, for a model that knows them; a model of others has none."""
    from ..world.datasets import CaptionedScenes
    from ..world.scenes import sample_scenes
    from .answering import Captioner

    versions = Versions(data / "versions")
    captioner = Captioner.from_folder(versions.folder_of(versions.current))
    if "ring" not in captioner.tokenizer.get_vocab():
        return []
    scenes = CaptionedScenes(sample_scenes(1000, seed=55), size=captioner.size)
    return [scenes[index] for index in range(len(scenes))]


def _percent(difference) -> str:
    return "{:+.1%}, 95 % interval {:+.1%} to {:+.1%}".format(*difference)


_ACTIONS = {"serve": _serve, "tune": _tune, "check": _check, "roll-back": _roll_back}


if __name__ == "__main__":
    main()

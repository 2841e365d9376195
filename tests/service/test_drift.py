"""The drift alarm: as many false alarms as it says, and alarms where something changed."""

import pytest
import torch

from mmbook.service.drift import DriftMonitor


def features(count, seed, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 12, generator=generator) + shift


def test_the_measured_rate_is_that_of_inputs_which_it_has_never_seen():
    monitor = DriftMonitor(features(6000, 0), size=40, false_alarms=0.05)
    assert 0.02 < monitor.measured < 0.1
    alarms = sum(monitor.add(group) for group in features(16_000, 1).split(40))
    assert 0.02 < alarms / 400 < 0.1


def test_it_alarms_when_the_inputs_move_and_is_quiet_again_when_they_come_back():
    monitor = DriftMonitor(features(3000, 0), size=30)
    assert monitor.add(features(29, 1)) == 0 and monitor.value == 0
    assert monitor.add(features(1, 4)) == 0 and 0 < monitor.value
    assert monitor.add(features(30, 2, shift=1.5)) == 1 and monitor.alarm is True
    assert monitor.add(features(61, 3)) == 0 and monitor.alarm is False


def test_one_strange_input_is_seen_at_once():
    monitor = DriftMonitor(features(3000, 0))
    rows = torch.cat([features(200, 5), features(1, 6, shift=9.0)])
    *usual, strange = monitor.unusual(rows)
    assert strange and sum(usual) <= 8


def test_photographs_are_unlike_scenes(tmp_path):
    from mmbook.samples import photographs
    from mmbook.saving import find_folder
    from mmbook.service.answering import Captioner
    from mmbook.service.drift import monitor_for, usual_scenes

    folder = find_folder("mmbook/scene-captioner", needs="config.json")
    captioner = Captioner.from_folder(folder)
    monitor = monitor_for(captioner, tmp_path)
    assert (tmp_path / "reference.safetensors").is_file()
    assert monitor.measured < 0.04
    shown = photographs(size=captioner.size)
    real = captioner.see([shown.pixels(n) for n in range(42)]).pooled()
    scenes = captioner.see(usual_scenes(captioner.size, 200, seed=5)).pooled()
    assert sum(monitor.unusual(real)) >= 38
    assert sum(monitor.unusual(scenes)) <= 12
    assert monitor.add(scenes) == 0
    assert monitor.add(torch.cat([real, real[:8]])) == 1


def test_without_a_reference_there_is_no_alarm_and_no_error(model, tmp_path):
    from types import SimpleNamespace

    from mmbook.service.drift import monitor_for

    unknown = SimpleNamespace(tokenizer=SimpleNamespace(get_vocab=lambda: {"dog": 0}))
    assert monitor_for(unknown, tmp_path) is None


def test_too_few_pictures_are_refused():
    with pytest.raises(ValueError, match="size must be 1 to 20"):
        DriftMonitor(features(60, 0), size=50)

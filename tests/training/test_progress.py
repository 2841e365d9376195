"""A bar where somebody watches, lines in a log file, silence under CI."""

import re
import sys

from runs import train

progress = sys.modules["mmbook.training.progress"]


def test_the_bar_is_quiet_under_ci_and_shown_where_somebody_watches(monkeypatch, capfd):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("CI", "true")
    train(steps=2)
    assert capfd.readouterr() == ("", "")
    train(steps=2, progress=True)
    assert "/2 [" in capfd.readouterr().err
    monkeypatch.delenv("CI")
    train(steps=2)
    assert "/2 [" in capfd.readouterr().err
    train(steps=2, progress=False)
    assert capfd.readouterr() == ("", "")


def test_a_log_file_gets_plain_lines_now_and_then(monkeypatch, capfd):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    monkeypatch.delenv("CI", raising=False)
    train(steps=45)
    assert capfd.readouterr() == ("", "")  # it took less than a minute
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    train(steps=45)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) > 40 and not any("\r" in line for line in lines)
    assert re.search(r"^step 44 of 45, .* to go, loss \d\.\d+$", "\n".join(lines), re.M)
    monkeypatch.setenv("CI", "true")
    train(steps=45)
    assert capfd.readouterr() == ("", "")

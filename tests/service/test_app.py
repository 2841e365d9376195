"""The service over HTTP: what each address answers, under load and at the end."""

import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

pytest.importorskip("fastapi", reason="needs the extra service")
from prometheus_client.parser import text_string_to_metric_families

from mmbook.service.answering import Captioner
from mmbook.service.uploads import decode
from mmbook.service.versions import Versions


def counters(running) -> dict:
    """What /metrics says, read as Prometheus reads it."""
    text = running.ask("GET", "/metrics").body
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return {(s.name, *sorted(s.labels.values())): s.value for s in samples}


def slow(seconds: float):
    """Lets the model take so long for each word."""

    def change(app):
        words = app.state.serving.captioner.words

        def later(tokens):
            for row in words(tokens):
                time.sleep(seconds)
                yield row

        app.state.serving.captioner.words = later

    return change


def test_a_caption_is_what_the_model_says(serve, drawn, folder):
    running = serve()
    answer = running.ask("POST", "/caption", drawn[0])
    captioner = Captioner.from_folder(folder)
    seen = decode(drawn[0], captioner.size, running.serving.limits)
    assert answer.status == 200
    assert answer.body["caption"] == captioner.say([seen])[0]
    assert (
        "".join(text for text, _ in answer.body["words"]).strip()
        == (answer.body["caption"])
    )
    assert answer.body["version"] == "1" and answer.body["unusual"] is False


def test_a_picture_of_another_kind_is_marked_as_unusual(serve, picture):
    assert serve().ask("POST", "/caption", picture()).body["unusual"] is True


def test_the_stream_says_the_same_word_by_word_with_maps(serve, drawn):
    running = serve()
    text = running.ask("POST", "/stream", drawn[1]).body
    events = [block.split("\n") for block in text.strip().split("\n\n")]
    names = [lines[0].removeprefix("event: ") for lines in events]
    data = [json.loads(lines[1].removeprefix("data: ")) for lines in events]
    assert names[0] == "about" and names[-1] == "end" and len(names) > 4
    assert set(names[1:-1]) == {"word"}
    whole = running.ask("POST", "/caption", drawn[1]).body
    assert data[-1]["caption"] == whole["caption"]
    for found in data[1:-1]:
        seen = torch.tensor(found["map"])
        assert seen.shape == (6, 6) and abs(seen.sum() - 1) < 0.01


def test_words_arrive_while_others_are_still_to_come(serve, drawn):
    import http.client

    running = serve(change=slow(0.1))
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    connection.request("POST", "/stream", drawn[0], {"Content-Type": "image/png"})
    answer, times = connection.getresponse(), []
    while line := answer.readline():
        if line.startswith(b"event: word"):
            times.append(time.monotonic())
    assert len(times) >= 4 and times[-1] - times[0] > 0.05 * len(times)


def test_a_crowd_is_answered_in_batches_and_nobody_is_lost(serve, drawn):
    running = serve(change=slow(0.002))
    alone = [running.ask("POST", "/caption", one).body["caption"] for one in drawn]
    assert len(set(alone)) > 5
    with ThreadPoolExecutor(24) as clients:
        asked = [clients.submit(running.ask, "POST", "/caption", drawn[n % 8])
                 for n in range(96)]  # fmt: skip
        found = [one.result() for one in asked]
    assert [one.status for one in found] == [200] * 96
    assert [one.body["caption"] for one in found] == [alone[n % 8] for n in range(96)]
    counted = counters(running)
    assert counted["mmbook_requests_total", "/caption", "200"] == 104
    assert counted["mmbook_batch_sum",] == 104
    assert counted["mmbook_batch_count",] < 70


def test_a_full_queue_answers_503_and_when_to_come_again(serve, picture):
    running = serve(change=slow(0.1), size=1, room=2)
    with ThreadPoolExecutor(12) as clients:
        asked = [clients.submit(running.ask, "POST", "/caption", picture())
                 for _ in range(12)]  # fmt: skip
        found = [one.result() for one in asked]
    statuses = sorted(one.status for one in found)
    assert statuses[0] == 200 and statuses[-1] == 503 and len(set(statuses)) == 2
    refused = next(one for one in found if one.status == 503)
    assert refused.headers["Retry-After"] == "1"
    assert "requests are waiting" in refused.body["error"]
    assert running.ask("POST", "/caption", picture()).status == 200


def test_a_stop_answers_first_what_it_accepted(serve, picture):
    running = serve(change=slow(0.05), size=2)
    with ThreadPoolExecutor(6) as clients:
        asked = [clients.submit(running.ask, "POST", "/caption", picture())
                 for _ in range(6)]  # fmt: skip
        until = time.monotonic() + 10
        while len(running.server.server_state.tasks) < 6 and time.monotonic() < until:
            time.sleep(0.005)
        running.server.should_exit = True
        assert [one.result().status for one in asked] == [200] * 6
    running.thread.join(10)
    assert not running.thread.is_alive()
    with pytest.raises(ConnectionError):
        running.ask("GET", "/health")


def test_health_tells_whether_it_can_answer(serve):
    running = serve()
    answer = running.ask("GET", "/health")
    assert answer.status == 200 and answer.body["status"] == "ok"
    assert answer.body["version"] == "1" and 0 <= answer.body["false_alarms"] <= 1
    loop = running.serving.batcher.task.get_loop()
    loop.call_soon_threadsafe(running.serving.batcher.task.cancel)
    until = time.monotonic() + 5
    while running.serving.batcher.alive and time.monotonic() < until:
        time.sleep(0.01)
    answer = running.ask("GET", "/health")
    assert answer.status == 503 and answer.body["status"] == "down"


def test_a_label_is_kept_with_what_the_model_said(serve, picture):
    running = serve()
    said = running.ask("POST", "/caption", picture()).body["caption"]
    path = "/labels?caption=A%20big%20orange%20%20square"
    answer = running.ask("POST", path, picture())
    assert answer.status == 201 and answer.body == {"labels": 1, "said": said}
    (row,) = running.serving.labels.rows()
    assert row["caption"] == "A big orange square" and row["said"] == said
    assert row["version"] == "1"
    assert counters(running)["mmbook_labels",] == 1


@pytest.mark.parametrize(
    "caption, reason",
    [
        ("", "1 to 31 words"),
        ("%20", "1 to 31 words"),
        ("a+green+dragon", "no such word: dragon"),
        ("+".join(["red"] * 32), "1 to 31 words"),
    ],
)
def test_a_label_that_could_teach_nothing_is_refused(serve, picture, caption, reason):
    running = serve()
    answer = running.ask("POST", f"/labels?caption={caption}", picture())
    assert answer.status == 422 and reason in answer.body["error"]
    assert running.serving.labels.count == 0


def test_a_disk_has_an_end(serve, picture):
    running = serve()
    running.serving.labels.most = 0
    answer = running.ask("POST", "/labels?caption=a+ring", picture())
    assert answer.status == 507
    running.serving.labels.most = 9

    def full(*given):
        raise OSError(28, "No space left on device")

    running.serving.labels.add = full
    answer = running.ask("POST", "/labels?caption=a+ring", picture())
    assert answer.status == 507 and "No space left" in answer.body["error"]


def test_an_unreadable_pointer_leaves_the_model_serving(serve, picture):
    running = serve()
    (running.data / "versions" / "current.json").write_text("{", encoding="utf-8")
    answer = running.ask("POST", "/caption", picture())
    assert answer.status == 200 and answer.body["version"] == "1"


def test_a_new_version_is_taken_over_while_it_runs_and_given_back(
    serve, picture, model
):
    running = serve()
    versions = Versions(running.data / "versions")
    changed = type(model)(dict(model.encoders), model.fusion, model.head)
    kept = model.head.bias.detach().clone()
    with torch.no_grad():
        changed.head.bias[7] += 100  # says one word for ever
    name = versions.add(changed.save_pretrained)
    reference = versions.folder_of("1") / "reference.safetensors"
    shutil.copy(reference, versions.folder_of(name))
    with torch.no_grad():
        model.head.bias.copy_(kept)
    before = running.ask("POST", "/caption", picture()).body
    versions._point([name, *versions.history()])
    after = running.ask("POST", "/caption", picture()).body
    assert (before["version"], after["version"]) == ("1", "2")
    assert len({text for text, _ in after["words"][1:]}) == 1
    versions.roll_back()
    assert running.ask("POST", "/caption", picture()).body == before


def test_a_broken_version_leaves_the_old_one_serving(serve, picture):
    running = serve()
    versions = Versions(running.data / "versions")
    name = versions.add(lambda f: (f / "config.json").write_text("{", "utf-8"))
    versions._point([name, *versions.history()])
    for _ in range(2):
        answer = running.ask("POST", "/caption", picture())
        assert answer.status == 200 and answer.body["version"] == "1"
    assert counters(running)["mmbook_reloads_total", "failed"] == 1


def test_drift_of_live_inputs_raises_the_alarm(serve, picture, scenes):
    running = serve()
    running.serving.monitor.size = 10
    for number in range(10):
        running.ask("POST", "/caption", picture(40 + number, 40))
    counted = counters(running)
    assert counted["mmbook_drift_alarms_total",] == 1
    assert counted["mmbook_drift",] > counted["mmbook_drift_threshold",] > 0
    assert running.ask("GET", "/health").body["drift"] is True


def test_strangers_choose_no_names_of_counters(serve):
    running = serve()
    for number in range(20):
        assert running.ask("GET", f"/{number}").status == 404
    counted = counters(running)
    assert counted["mmbook_requests_total", "404", "other"] == 20
    assert len([key for key in counted if key[0] == "mmbook_requests_total"]) <= 3


def test_the_page_loads_nothing_from_elsewhere(serve):
    running = serve()
    for path, kind in ("/", "html"), ("/page.css", "css"), ("/page.js", "javascript"):
        answer = running.ask("GET", path)
        assert answer.status == 200 and kind in answer.headers["Content-Type"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        without = answer.body.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in without and "https:" not in without
    for path in "/docs", "/redoc":
        assert running.ask("GET", path).status == 404


def test_an_error_of_the_model_is_one_answer_and_no_end(serve, picture):
    running = serve()
    real = running.serving.captioner.words

    def broken(tokens):
        raise RuntimeError("out of memory")

    running.serving.captioner.words = broken
    assert running.ask("POST", "/caption", picture()).status == 500
    streamed = running.ask("POST", "/stream", picture())
    assert "event: error" in streamed.body and "out of memory" in streamed.body
    running.serving.captioner.words = real
    assert running.ask("POST", "/caption", picture()).status == 200
    assert threading.active_count() < 30

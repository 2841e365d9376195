"""Dynamic batching: together what can be, nothing lost, nothing without a limit."""

import asyncio
import threading
import time

import pytest

from mmbook.service.batching import Batcher, Full


def echo(seen):
    """Says each item twice, and remembers the batches."""

    def answer(items):
        seen.append(list(items))
        yield [f"{item} heard" for item in items]
        yield [None if item == "short" else f"{item} done" for item in items]

    return answer


async def answers(job):
    return [event async for event in job]


def test_requests_that_wait_are_answered_together_and_each_gets_its_own():
    seen = []

    async def main():
        async with Batcher(echo(seen), size=4, wait=0.05) as batcher:
            jobs = [batcher.accept(n) for n in (*range(5), "short")]
            return await asyncio.gather(*map(answers, jobs))

    found = asyncio.run(main())
    assert found[3] == ["3 heard", "3 done"] and found[5] == ["short heard"]
    assert seen == [[0, 1, 2, 3], [4, "short"]]


def test_while_the_model_is_busy_a_batch_forms():
    seen, busy = [], threading.Event()

    def answer(items):
        seen.append(list(items))
        busy.wait(5)
        yield items

    async def main():
        async with Batcher(answer, size=8, wait=0) as batcher:
            first = batcher.accept("first")
            while not seen:
                await asyncio.sleep(0.001)
            others = [batcher.accept(n) for n in range(6)]
            busy.set()
            return await asyncio.gather(*map(answers, [first, *others]))

    assert len(asyncio.run(main())) == 7
    assert seen == [["first"], [0, 1, 2, 3, 4, 5]]


def test_a_full_queue_refuses_and_answers_those_that_it_has():
    async def main():
        async with Batcher(echo([]), size=2, room=3) as batcher:
            jobs = [batcher.accept(n) for n in range(3)]
            with pytest.raises(Full, match="3 requests are waiting"):
                batcher.accept(3)
            found = await asyncio.gather(*map(answers, jobs))
            assert len(await answers(batcher.accept("later"))) == 2
            return found

    assert [one[0] for one in asyncio.run(main())] == ["0 heard", "1 heard", "2 heard"]


def test_words_come_before_the_sentence_is_over():
    allowed = threading.Event()

    def answer(items):
        yield items
        assert allowed.wait(5)
        yield items

    async def main():
        async with Batcher(answer) as batcher:
            events = aiter(batcher.accept("word"))
            first = await anext(events)
            allowed.set()
            return [first, *[event async for event in events]]

    assert asyncio.run(main()) == ["word", "word"]


def test_an_error_of_the_model_reaches_its_requests_and_stops_nothing_else():
    def answer(items):
        if "bad" in items:
            raise ValueError("no")
        yield items

    async def main():
        async with Batcher(answer, size=1) as batcher:
            bad, good = batcher.accept("bad"), batcher.accept("good")
            with pytest.raises(ValueError, match="no"):
                await answers(bad)
            assert batcher.alive
            return await answers(good)

    assert asyncio.run(main()) == ["good"]


def test_a_client_that_has_left_costs_no_batch():
    seen = []

    async def main():
        async with Batcher(echo(seen), size=1) as batcher:
            tasks = [asyncio.create_task(answers(batcher.accept(n))) for n in range(3)]
            await asyncio.sleep(0)
            tasks[2].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert [2] not in seen and [1] in seen


def test_the_end_answers_all_that_was_accepted():
    async def main():
        async with Batcher(echo([]), size=2) as batcher:
            jobs = [batcher.accept(n) for n in range(7)]
        return await asyncio.gather(*map(answers, jobs))

    assert [len(found) for found in asyncio.run(main())] == [2] * 7


def test_one_gives_up_on_a_model_that_says_nothing():
    def answer(items):
        time.sleep(0.3)
        yield items

    async def main():
        async with Batcher(answer, patience=0.05) as batcher:
            await answers(batcher.accept("x"))

    with pytest.raises(TimeoutError):
        asyncio.run(main())

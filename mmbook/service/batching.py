"""Dynamic batching (动态批处理): requests that come one by one are answered together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_END = object()


class Full(Exception):
    """No room for another request: come back later. Chapter 5.5."""


class Job:
    """A request that was accepted: ``async for event in job``. Chapter 5.5."""

    def __init__(self, item: Any, patience: float):
        self.item, self.patience, self.gone = item, patience, False
        self.events: asyncio.Queue = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator:
        try:
            while True:
                event = await asyncio.wait_for(self.events.get(), self.patience)
                if event is _END:
                    return
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.gone = True  # answered, or its client has left: needs no batch


class Batcher:
    """One thread with the model; a queue before it, of limited length. Chapter 5.5.

    A batch is whatever has come when the model is free; after a pause it waits a moment
    for company. So a lone request is answered at once, and a crowd in large batches.

    Parameters
    ----------
    answer : a generator function, called in the thread: a list of items → lists of
        events, one for each item; None where an item has no event.
    size : of the largest batch.
    wait : seconds to wait for others.
    room : requests that may wait; one more raises :class:`Full`, because an answer that
        comes too late helps nobody, and a queue without a limit grows without one.
    patience : seconds between two events after which a request gives up (TimeoutError).
    """

    def __init__(
        self,
        answer: Callable[[list], Iterator[list]],
        size: int = 16,
        wait: float = 0.003,
        room: int = 128,
        patience: float = 30.0,
    ):
        self.answer, self.size, self.wait, self.patience = answer, size, wait, patience
        self.waiting: asyncio.Queue[Job] = asyncio.Queue(room)
        self.thread = ThreadPoolExecutor(1, "model")
        self.task: asyncio.Task | None = None

    async def __aenter__(self) -> Batcher:
        self.task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_) -> None:
        """Answer all that was accepted; then end."""
        assert self.task
        if self.alive:
            await self.waiting.join()
        self.task.cancel()
        self.thread.shutdown()

    @property
    def alive(self) -> bool:
        """Does somebody serve the queue?"""
        return self.task is not None and not self.task.done()

    def accept(self, item: Any) -> Job:
        """Put an item into the queue, or raise :class:`Full`."""
        job = Job(item, self.patience)
        try:
            self.waiting.put_nowait(job)
        except asyncio.QueueFull:
            raise Full(f"{self.waiting.maxsize} requests are waiting") from None
        return job

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            jobs = await self._next_batch()
            wanted = [job for job in jobs if not job.gone]
            if wanted:
                await loop.run_in_executor(self.thread, self._run, wanted, loop)
            for _ in jobs:
                self.waiting.task_done()

    async def _next_batch(self) -> list[Job]:
        jobs = [await self.waiting.get()]
        if self.waiting.qsize() < self.size - 1:
            await asyncio.sleep(self.wait)
        while len(jobs) < self.size and not self.waiting.empty():
            jobs.append(self.waiting.get_nowait())
        return jobs

    def _run(self, jobs: list[Job], loop: asyncio.AbstractEventLoop) -> None:
        """In the thread: what the model says goes to the jobs as soon as it is said."""

        def tell(events: list) -> None:
            for job, event in zip(jobs, events, strict=True):
                if event is not None:
                    job.events.put_nowait(event)

        try:
            for events in self.answer([job.item for job in jobs]):
                loop.call_soon_threadsafe(tell, events)
            last: list = [_END] * len(jobs)
        except Exception as error:  # these requests fail, the service goes on
            last = [error] * len(jobs)
        loop.call_soon_threadsafe(tell, last)

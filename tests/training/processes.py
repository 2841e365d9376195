"""What the tests need other processes for: a run that is killed, and runs of two.

Everything is imported once, and then split up: three times as fast as three scripts.
"""

import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

import torch
from runs import (
    SAME,
    Restless,
    captioner,
    long_run,
    noisy_loss,
    pairs,
    retriever,
    train,
)

from mmbook.training import TrainingConfig, checkpoints, make_optimizer

DISTRIBUTED = {"batch_size": 2, "accumulation": 2, **SAME}
STOPPING = {"steps": 12, "validate_every": 2, "patience": 2, "batch_size": 2}
DROPPING = {"steps": 6, "batch_size": 2, "save_every": 3}


def killed(folder, workers):
    """Train, and die in the middle of writing the checkpoint of step 6."""
    save = torch.save

    def dying(state, file):
        save(state, file)
        if "step-00000006" in str(file):
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = dying
    long_run(str(folder), workers=workers)


def distributed(folder, rank, port):
    """What each of two processes does; see the tests that read its files."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
    }
    same_as_one(folder, rank)
    stop_early(folder, rank)
    resume(folder, rank)
    torch.distributed.destroy_process_group()


def same_as_one(folder, rank):
    """Runs that one process does, too."""
    model, history = train(**DISTRIBUTED)
    model.save_pretrained(folder / f"sgd-{rank}")
    write(folder / f"sgd-{rank}.json", history.steps)
    model, _ = train(data=Restless(), **DISTRIBUTED)
    model.save_pretrained(folder / f"restless-{rank}")
    model, history = train(retriever(), collate=pairs, batch_size=4, **SAME)
    model.save_pretrained(folder / f"pairs-{rank}")
    write(folder / f"pairs-{rank}.json", history.steps)


def stop_early(folder, rank):
    """The processes would decide differently, if each were asked alone."""
    seen = []

    def validate(model):
        seen.append(model.head.bias.detach().clone())
        first = (1.0, 0.5, 0.7, 0.8, 0.1)[len(seen) - 1]
        return {"loss": first if rank == 0 else -len(seen)}

    model, history = train(validate=validate, **STOPPING)
    write(folder / f"stopped-{rank}.json", history.validations)
    assert torch.equal(model.head.bias, seen[1])


def resume(folder, rank):
    """A run with dropout, and its second half once more."""
    for name in ("dropping", "resumed"):
        model, _ = train(
            captioner(dropout=0.5),
            validate=noisy_loss,
            folder=folder / "runs",
            **DROPPING,
        )
        model.save_pretrained(folder / f"{name}-{rank}")
        torch.distributed.barrier()
        if rank == 0 and name == "dropping":
            last = checkpoints(folder / "runs")[-1]
            last.rename(folder / "last")
        torch.distributed.barrier()


def write(file, value):
    """As json."""
    file.write_text(json.dumps(value), encoding="utf-8")


def in_a_child(task, *arguments):
    """Do it in a process of its own; gives back its number."""
    child = os.fork()
    if child == 0:
        try:
            task(*arguments)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return child


def main(folder):
    """All of it, side by side."""
    make_optimizer(captioner(), TrainingConfig())  # PyTorch imports much more here
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [in_a_child(killed, folder / f"killed-{n}", n) for n in (0, 2)]
    children += [in_a_child(distributed, folder, rank, port) for rank in range(2)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children]
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0, 0], codes


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Passes on what a training prints, and writes it to a file too: a process of its own, which outlives a crash.

A file of its own, which the interpreter executes without this package: standard library only. A thread could not do it:
it would stand still while a library prints with Python's lock held, and the training would wait for it.
"""

import contextlib
import os
import selectors
import signal
import sys
import termios

SIZE = 1 << 16


def main(log: int, control: int, done: int, pairs: list[tuple[int, int]]) -> None:
    """Pass on until all who may print are gone; once `control` has something, the log is complete, and `done` closed.

    Parameters
    ----------
    log, control, done : int
        File descriptors.
    pairs : list of tuple of (int, int)
        File descriptors: from where to where.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when the training has
    signal.signal(signal.SIGWINCH, lambda *_: resize(pairs))
    with selectors.DefaultSelector() as waiting:
        targets: dict[int, list[int]] = {source: [target, log] for source, target in pairs}
        for source in targets:
            os.set_blocking(source, False)
        for source in (*targets, control):
            waiting.register(source, selectors.EVENT_READ)
        while targets:
            ready = {key.fd for key, _ in waiting.select()}
            for source in ready & targets.keys():
                if not pass_on(source, targets[source]):
                    waiting.unregister(source)
                    del targets[source]
            if control in ready:
                for source in targets:
                    pass_on(source, targets[source])
                    targets[source].remove(log)
                waiting.unregister(control)
                os.close(done)


def pass_on(source: int, targets: list[int]) -> bool:
    """Write what there is to each target that still takes it; tell whether more may come."""
    while True:
        try:
            content = os.read(source, SIZE)
        except BlockingIOError:
            return True
        except OSError:  # of a terminal that all have closed
            return False
        if not content:
            return False
        for target in targets:
            with contextlib.suppress(OSError):  # a pipe without a reader, a full disk
                rest = memoryview(content)
                while rest:
                    rest = rest[os.write(target, rest) :]


def resize(pairs: list[tuple[int, int]]) -> None:
    """Give terminals of the training's the size of the person's."""
    for source, target in pairs:
        with contextlib.suppress(termios.error):  # of no terminal
            termios.tcsetwinsize(source, termios.tcgetwinsize(target))


if __name__ == "__main__":
    log, control, done, *rest = map(int, sys.argv[1:])
    main(log, control, done, list(zip(rest[::2], rest[1::2], strict=True)))

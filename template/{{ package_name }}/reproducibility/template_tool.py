"""Runs the tool of the template's newest release on this project: by its path, and with the standard library only."""

import ast
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path


def source() -> str:
    """Read from `.copier-answers.yml` where the template is, as git takes it."""
    root = next(folder.parents[1] for folder in Path(__file__).resolve().parents if folder.name == "reproducibility")
    found = re.search(r"^_src_path: (.+(?:\n +.*)*)", (root / ".copier-answers.yml").read_text("utf-8"), re.MULTILINE)
    text = re.sub(r"(\\?)\n +\\?", lambda fold: "" if fold[1] else " ", found[1] if found else "")
    text = ast.literal_eval(text) if text.startswith('"') else re.sub("^'(.*)'$", r"\1", text).replace("''", "'")
    text = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/"}.get(text[:3], text[:3]) + text[3:]
    return str(Path(text).expanduser()) if text.startswith("~") else text.removeprefix("git+")


def git(*arguments: str, timeout: float | None = None) -> str:
    """Ask git, whatever repository a hook may name; without hooks, and without asking for passwords."""
    kept = {key: value for key, value in os.environ.items() if not re.match("GIT_(DIR|WORK|INDEX|OBJ|COMM|TEMP)", key)}
    kept |= {"GIT_TERMINAL_PROMPT": "0", "SSH_ASKPASS": "false", "SSH_ASKPASS_REQUIRE": "force"}
    command = ["git", "-c", f"core.hooksPath={os.devnull}", "-c", "core.autocrlf=false", *arguments]
    return subprocess.run(command, env=kept, timeout=timeout, check=True, capture_output=True, text=True).stdout


def order(tag: str) -> tuple[list[int], int]:
    """Give the place of a tag among the releases; before all of them that of what is none, or a pre-release."""
    found = re.fullmatch(r"v?(\d+(?:\.\d+)*?)(?:\.0+)*(?:\.post(\d+))?", tag)
    return ([int(part) for part in found[1].split(".")], int(found[2] or -1)) if found else ([], 0)


def newest(repository: str, timeout: float | None = None) -> tuple[str, str]:
    """Name the newest release of a repository and its commit; HEAD where there is none."""
    lines = git("ls-remote", "--", repository, "HEAD", "refs/tags/*", timeout=timeout).splitlines()
    commits = {name.removeprefix("refs/tags/"): commit for commit, name in (line.split("\t") for line in lines)}
    release = max(["HEAD", *commits], key=order)
    return release, commits.get(f"{release}^{{}}") or commits[release]  # of an annotated tag, what it is of


if __name__ == "__main__":
    try:
        with tempfile.TemporaryDirectory(prefix="template-tool-", ignore_cleanup_errors=True) as folder:
            git("clone", "--quiet", "--no-checkout", "--", source(), folder)
            release, commit = newest(folder)
            git("-C", folder, "checkout", "--quiet", commit, "--", "copier_mlflow")
            print(f"template's tool: {re.sub('//.*@', '//', source())}, {release}, commit {commit}", file=sys.stderr)
            tool = subprocess.Popen([sys.executable, "-I", f"{folder}/copier_mlflow/bootstrap.py", *sys.argv[1:]])
            for number in [signal.SIGINT, signal.SIGTERM, signal.SIGHUP] if os.name == "posix" else []:
                signal.signal(number, lambda number, _: tool.send_signal(number))
            sys.exit(tool.wait())
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, ValueError, SyntaxError, LookupError, subprocess.SubprocessError) as error:
        said = re.sub("//.*@", "//", f"the template's tool: {getattr(error, 'stderr', '') or error}".strip())
        sys.exit(print(f"error: {said}\nfix: git must reach `_src_path` of .copier-answers.yml", file=sys.stderr) or 3)

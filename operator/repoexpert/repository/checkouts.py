"""A `.git` folder with nothing after a commit, for projects whose build reads its version from Git.

Called by the environment stage. Only the commit's own history and the tags in it are taken from the mirror.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from repoexpert.repository.git import run_git
from repoexpert.repository.mirror import Mirror


def write_git_folder(mirror: Mirror, commit: str, target: Path) -> None:
    """Write the content of a `.git` folder whose branch `main` is at `commit` as a tar."""
    with tempfile.TemporaryDirectory(prefix="repoexpert-checkout-") as folder:
        git_dir, config = Path(folder, "git"), Path(folder, "config")
        config.write_text(f'[safe]\n\tdirectory = "{mirror.path}"\n', encoding="utf-8")
        run_git(None, ["init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(git_dir)])
        mirror.git("update-ref", f"refs/repoexpert/{commit}", commit)
        tags = mirror.git("tag", "--merged", commit, "--format=%(refname)").split()
        refspecs = [f"+refs/repoexpert/{commit}:refs/heads/main", *(f"+{tag}:{tag}" for tag in tags)]
        run_git(
            git_dir,
            ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--stdin", "--", str(mirror.path)],
            stdin="\n".join(refspecs).encode() + b"\n",
            extra_env={"GIT_CONFIG_GLOBAL": str(config)},
        )
        run_git(git_dir, ["config", "core.bare", "false"])
        with tarfile.open(target, "w") as archive:
            for path in sorted(git_dir.iterdir()):
                archive.add(path, path.name)

"""Every version of the disclosure policy that was ever in force, kept as a file: what was decided can be explained."""

import os
from pathlib import Path

from xinqiao.disclosure.policy import Policy, PolicyError, load_policy


class PolicyVersions:
    """The kept versions in a folder of the node, one YAML file each, named for its version; none is ever changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, path: Path, policy: Policy) -> None:
        """Keep the text of ``policy``, which was just read from ``path``; once."""
        kept = self._path(policy.version)
        if kept.exists():
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = kept.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            file.write(path.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        # Read back under its name: a file that was changed meanwhile is not that version.
        if load_policy(part).version == policy.version:
            part.replace(kept)
        else:
            part.unlink()

    def load(self, version: str) -> Policy | None:
        """A kept version, or None; also None for a file that is not what its name says."""
        if version not in self.names():
            return None
        try:
            policy = load_policy(self._path(version))
        except PolicyError:
            return None
        return policy if policy.version == version else None

    def names(self) -> list[str]:
        """The versions there are, the newest first."""
        kept = sorted(self._folder.glob("*.yaml"), key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
        return [path.name.removesuffix(".yaml") for path in kept]

    def _path(self, version: str) -> Path:
        return self._folder / f"{version}.yaml"

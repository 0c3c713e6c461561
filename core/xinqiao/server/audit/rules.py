"""What a pack may show of small numbers: `config/policy/audit.yaml`."""

from pathlib import Path

from pydantic import Field

from xinqiao.config.loader import FileModel, load
from xinqiao.config.settings import Names


class AuditFile(FileModel):
    """`audit.yaml`."""

    version: str = Field(min_length=1, max_length=40, description="Version of the file.")
    least_count: int = Field(ge=2, le=100, description="The smallest count of students that is shown.")
    source: Names = Field(description="The rule or the reason, for people.")

    def shown(self, count: int) -> int | str:
        """``count`` as a pack may show it: 0, ``<5``, or the multiple of ``least_count`` below it."""
        if 0 < count < self.least_count:
            return f"<{self.least_count}"
        return count - count % self.least_count


def load_audit_rules(path: Path) -> AuditFile:
    """Read the file. Raises ConfigError with file, line and key."""
    return load(path, AuditFile)

"""The command line: `xinqiao ...`."""

from xinqiao.cli.app import main

__all__ = ["main"]

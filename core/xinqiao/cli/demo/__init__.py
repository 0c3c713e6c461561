"""`xinqiao demo`: a month in one district, on a real gateway with simulated partners."""

from xinqiao.cli.demo.story import play

__all__ = ["play"]

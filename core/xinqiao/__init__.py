"""XinQiao 心桥: contracts plus adapters for the agencies around a school student in trouble."""

__version__ = "0.1.0"

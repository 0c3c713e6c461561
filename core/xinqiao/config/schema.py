"""JSON Schema of gateway.yaml for editors, with the settings of every installed plugin."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from xinqiao.config.district import District
from xinqiao.config.settings import gateway_model

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(adapter_models: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """Schema of gateway.yaml. ``settings`` of an adapter is told by its ``adapter``: one choice for each plugin."""
    schema = gateway_model(adapter_models).model_json_schema()
    if not adapter_models:
        # Without plugins no entry can be right.
        schema["properties"]["adapters"] |= {"maxProperties": 0, "additionalProperties": False}
    return {"$schema": DIALECT, "title": "XinQiao gateway.yaml", **_plain(schema)}


def district_schema() -> dict[str, Any]:
    """Schema of a district overlay."""
    return {"$schema": DIALECT, "title": "XinQiao district overlay", **_plain(District.model_json_schema())}


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "title"}

"""YAML to typed settings; every error says file, line, column and key."""

from xinqiao.config.bundle import Bundle, load_district, load_gateway
from xinqiao.config.crosscheck import check_files
from xinqiao.config.district import Clocks, District, TierClocks
from xinqiao.config.fields import ConfigPath, Duration, PartnerUrl, Slug, parse_duration
from xinqiao.config.loader import FileModel, Strict, load
from xinqiao.config.problems import ConfigError, Finding, Problem, refusal
from xinqiao.config.schema import district_schema, json_schema
from xinqiao.config.secret import Secret
from xinqiao.config.settings import AdapterEntry, Exchange, Gateway, Partner

__all__ = [
    "AdapterEntry",
    "Bundle",
    "Clocks",
    "ConfigError",
    "ConfigPath",
    "District",
    "Duration",
    "Exchange",
    "FileModel",
    "Finding",
    "Gateway",
    "Partner",
    "PartnerUrl",
    "Problem",
    "Secret",
    "Slug",
    "Strict",
    "TierClocks",
    "check_files",
    "district_schema",
    "json_schema",
    "load",
    "load_district",
    "load_gateway",
    "parse_duration",
    "refusal",
]

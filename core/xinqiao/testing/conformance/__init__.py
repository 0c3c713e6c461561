"""The conformance suite: any adapter, through the real host, against its partner's simulator with faults.

``xinqiao adapters conform NAME`` runs it, and in a plugin's tests two lines do (``xinqiao.testing.suite``).
"""

from xinqiao.testing.conformance.registry import Outcome, Rules, rules, run_case
from xinqiao.testing.conformance.report import QUALITY, Report, conform, plugin_folder, quality_file, ways
from xinqiao.testing.conformance.rig import Failed, NotApplicable, NotDeclared, NotShown, Rig, Subject

__all__ = [
    "QUALITY",
    "Failed",
    "NotApplicable",
    "NotDeclared",
    "NotShown",
    "Outcome",
    "Report",
    "Rig",
    "Rules",
    "Subject",
    "conform",
    "plugin_folder",
    "quality_file",
    "rules",
    "run_case",
    "ways",
]

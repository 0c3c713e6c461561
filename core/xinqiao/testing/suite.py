"""The conformance suite as a pytest test, in two lines of a plugin's tests::

from xinqiao.testing.suite import conformance
test_conformance = conformance("hospital")
"""

from collections.abc import Callable
from functools import cache

import pytest

from xinqiao.testing.conformance import QUALITY, Outcome, Report, Subject, plugin_folder, quality_file, rules, run_case


def conformance(name: str) -> Callable[..., None]:
    """A test of the plugin ``name``: one case each, and one that compares its committed ``quality.yaml``."""

    @cache
    def outcome(case: str) -> Outcome:
        return run_case(Subject(name), case)

    @pytest.mark.parametrize("case", [*rules().cases, QUALITY])
    def test(case: str) -> None:
        if case == QUALITY:
            computed = Report(name, rules(), {each: outcome(each) for each in rules().cases})
            committed = quality_file(plugin_folder(name))
            assert committed == computed.quality_yaml(), f"run `xinqiao adapters conform {name} --write`"
            return
        found = outcome(case)
        if found.result in ("not_applicable", "not_shown"):
            pytest.skip(f"{found.result.replace('_', ' ')}: {found.text}")
        assert found.result == "passed", f"{found.text}\nHow to mend it: {rules().cases[case].mend.en}"

    return test

"""The conformance suite as a pytest test, in two lines of a plugin's tests::

from xinqiao.testing.suite import conformance
test_conformance = conformance("hospital")
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from xinqiao.testing.conformance import (
    QUALITY,
    Outcome,
    Report,
    Subject,
    plugin_folder,
    quality_file,
    rules,
    run_case,
    ways,
)


def conformance(name: str) -> Callable[..., None]:
    """A test of the plugin ``name``: each case in each of its ways, and one that compares its committed ``quality.yaml``."""
    first = Subject(name)
    subjects = {"": first, **{variant: replace(first, variant=variant) for variant in ways(first)}}

    @cache
    def outcome(variant: str, case: str) -> Outcome:
        return run_case(subjects[variant], case)

    def report(variant: str) -> Report:
        return Report(name, rules(), {each: outcome(variant, each) for each in rules().cases})

    cases = [*((variant, case) for variant in subjects for case in rules().cases), ("", QUALITY)]

    @pytest.mark.parametrize(("variant", "case"), cases, ids=[f"{variant} {case}".strip() for variant, case in cases])
    def test(variant: str, case: str) -> None:
        if case == QUALITY:
            computed = replace(report(""), variants={each: report(each) for each in subjects if each})
            committed = quality_file(plugin_folder(name))
            assert committed == computed.quality_yaml(), f"run `xinqiao adapters conform {name} --write`"
            return
        found = outcome(variant, case)
        if found.result in ("not_applicable", "not_declared", "not_shown"):
            pytest.skip(f"{found.result.replace('_', ' ')}: {found.text}")
        assert found.result == "passed", f"{found.text}\nHow to mend it: {rules().cases[case].mend.en}"

    return test

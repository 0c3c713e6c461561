"""What every plugin must show, as the suite judges it."""

from xinqiao.testing.suite import conformance

test_conformance = conformance("social_work")

from xinqiao.testing.suite import conformance

test_conformance = conformance("gov_share")

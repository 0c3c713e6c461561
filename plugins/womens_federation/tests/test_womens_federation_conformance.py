from xinqiao.testing.suite import conformance

test_conformance = conformance("womens_federation")

from xinqiao.testing.suite import conformance

test_conformance = conformance("police")

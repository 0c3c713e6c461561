from xinqiao.store import tables
def test_smoke(town):
    s = town.student(); town.submit(s); town.consent(s)
    made = town.refer(s)
    assert town.deliver_all() == 1
    assert town.recorder.seen

from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.judge.lineage import earlier

names = st.sampled_from(["v1", "v2", "v3", "v4"])
chains = st.dictionaries(names, st.fixed_dictionaries({"sha256": names, "previous": st.none() | names}))


@given(chains, st.none() | names, st.sets(names))
def test_nothing_quarantined_is_gone_back_to_and_every_search_ends(
    pointers: dict[str, dict[str, str]], previous: str | None, quarantined: set[str]
) -> None:
    found = earlier(pointers, previous, quarantined=quarantined)
    assert found not in pointers or pointers[found]["sha256"] not in quarantined
    if previous not in pointers or pointers[previous]["sha256"] not in quarantined:
        assert found == previous

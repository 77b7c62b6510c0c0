from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.core.pointer import Pointer
from retrain_trigger.judge.lineage import earlier

names = st.sampled_from(["v1", "v2", "v3", "v4"])
pointed = st.builds(
    Pointer,
    generation=st.just(1),
    version=names,
    path=st.just(""),
    sha256=names,
    previous=st.none() | names,
    promoted_at=st.just(""),
    run=st.just(""),
)
chains = st.dictionaries(names, pointed)


@given(chains, st.none() | names, st.sets(names))
def test_nothing_quarantined_is_gone_back_to_and_every_search_ends(
    pointers: dict[str, Pointer], previous: str | None, quarantined: set[str]
) -> None:
    found = earlier(pointers, previous, quarantined=quarantined)
    assert found is None or found not in pointers or pointers[found].sha256 not in quarantined
    if previous is None or previous not in pointers or pointers[previous].sha256 not in quarantined:
        assert found == previous

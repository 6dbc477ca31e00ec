"""Every case is done once or given up, whatever happens to the workers."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from msdk_rt.cohort.cluster.dispatch import IN_FLIGHT, MOST_KILLS, MOST_LOST_NODES, Dispatch


def give_all(dispatch, members):
    while given := dispatch.next_for(members):
        yield given


def test_the_worker_with_the_fewest_cases_is_first():
    dispatch = Dispatch(5)
    assert list(give_all(dispatch, "ab")) == [("a", 0), ("b", 1), ("a", 2), ("b", 3), ("a", 4)]


def test_a_worker_holds_three_cases_at_most():
    dispatch = Dispatch(9)
    list(give_all(dispatch, "ab"))
    assert dispatch.held("a") == (0, 2, 4)
    assert dispatch.held("b") == (1, 3, 5)
    assert dispatch.queued() == [6, 7, 8]


def test_a_case_that_kills_its_workers_is_tried_twice_and_takes_no_other_along():
    dispatch, tries = Dispatch(8), Counter()
    alive, given_up = ["a", "b"], []
    while dispatch.unfinished:
        for member, case in give_all(dispatch, alive):
            tries[case] += 1
            if case == 2 and tries[case] == 2:
                assert dispatch.held(member) == (2,)
        killed = [member for member in alive if 2 in dispatch.held(member)]
        for member in killed:
            given_up += dispatch.lost(member, with_node=False)
            alive[alive.index(member)] = member + member
        for member in alive:
            for case in dispatch.held(member):
                dispatch.done(member, case)
    assert given_up == [2]
    assert tries[2] == MOST_KILLS == 2


def test_lost_nodes_are_no_fault_of_a_case():
    dispatch = Dispatch(1)
    for loss in range(1, MOST_LOST_NODES + 1):
        assert list(give_all(dispatch, [loss])) == [(loss, 0)]
        assert dispatch.lost(loss, with_node=True) == ([0] if loss == MOST_LOST_NODES else [])
    assert dispatch.unfinished == 0


def test_a_case_given_back_is_the_next_one():
    dispatch = Dispatch(3)
    assert dispatch.next_for("a") == ("a", 0)
    dispatch.given_back("a", 0)
    assert dispatch.next_for("b") == ("b", 0)


@settings(deadline=None)
@given(st.data(), st.integers(0, 30))
def test_whatever_happens_every_case_ends_once(data, count):
    dispatch, ended, alive, started = Dispatch(count), [], ["w0"], 1
    poison = data.draw(st.sets(st.integers(0, max(count - 1, 0)), max_size=4))
    tries = Counter()
    for _ in range(2000):
        if not dispatch.unfinished:
            break
        for _member, case in give_all(dispatch, alive):
            tries[case] += 1
        assert all(len(dispatch.held(member)) <= IN_FLIGHT for member in alive)
        event = data.draw(st.sampled_from(["done", "done", "done", "died", "node", "back", "join"]))
        member = data.draw(st.sampled_from(alive)) if alive else ""
        held = dispatch.held(member)
        if event == "join" or not alive:
            alive.append(f"w{started}")
            started += 1
        elif event in ("died", "node") or poison & set(held):
            ended += dispatch.lost(member, with_node=event == "node")
            alive.remove(member)
        elif held and event == "done":
            dispatch.done(member, held[0])
            ended.append(held[0])
        elif held and event == "back":
            dispatch.given_back(member, held[0])
            tries[held[0]] -= 1
    assert len(ended) == len(set(ended))
    if dispatch.unfinished == 0:
        assert sorted(ended) == list(range(count))
    assert all(number < MOST_KILLS + MOST_LOST_NODES for number in tries.values())

"""Threads, processes and exports at once: the quick slice of the reliability campaign."""

from reliability import concurrency


def test_many_at_once_give_what_one_gives():
    rows = concurrency.main(quick=True)
    print(*rows, sep="\n")
    assert [row.failures for row in rows] == [0] * 4
    assert all(row.times > 1 for row in rows)

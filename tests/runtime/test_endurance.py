"""Nothing grows: the quick slice of the reliability campaign."""

from reliability import endurance


def test_neither_memory_nor_descriptors_nor_threads_grow():
    rows = endurance.main(quick=True)
    print(*rows, sep="\n")
    assert [row.failures for row in rows] == [0] * 3

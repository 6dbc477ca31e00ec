"""Settings and paths as people give them: NumPy's numbers, one provider alone, wrong types, odd names."""

import json

import numpy as np
import pytest

import msdk_rt
from msdk_rt import ArtifactError, InputError, OutputError, Segmenter
from msdk_rt.artifact.files import atomic_write
from msdk_rt.artifact.manifest import read_manifest
from msdk_rt.imaging.volumes import read_volume

CPU = "CPUExecutionProvider"
VOLUME = np.random.default_rng(0).gamma(2, 100, (1, 9, 10, 11)).astype(np.float32)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({"batch_size": np.int64(2)}, {"batch_size": 2}),
        ({"batch_size": np.uint8(3)}, {"batch_size": 3}),
        ({"threads": np.int32(1)}, {"threads": 1}),
        ({"overlap": np.float32(0.25)}, {"overlap": 0.25}),
        ({"overlap": np.int64(0)}, {"overlap": 0}),
        ({"blend": np.str_("constant")}, {"blend": "constant"}),
        ({"mirror_axes": np.array([0, 2])}, {"mirror_axes": (0, 2)}),
        ({"mirror_axes": [np.int16(1)]}, {"mirror_axes": (1,)}),
        ({"mirror_axes": (axis for axis in (0, 1))}, {"mirror_axes": (0, 1)}),
        ({"mirror_axes": {2}}, {"mirror_axes": (2,)}),
        ({"providers": CPU}, {"providers": [CPU]}),
        ({"providers": np.str_(CPU)}, {"providers": [CPU]}),
        ({"providers": (CPU, {})}, {"providers": [CPU]}),
        ({"providers": [(CPU, {})]}, {"providers": [CPU]}),
        ({"providers": (CPU,)}, {"providers": [CPU]}),
        ({"providers": iter([CPU])}, {"providers": [CPU]}),
    ],
)
def test_taken_as_what_it_means(artifact, given, plain):
    with Segmenter(artifact, **given) as segmenter, Segmenter(artifact, **plain) as expected:
        assert segmenter._recipe == expected._recipe
        assert segmenter.providers == expected.providers
        np.testing.assert_array_equal(segmenter.run(VOLUME), expected.run(VOLUME))


NOT_AXES = [0, 3, -1, 1.0, "", "0", "01", b"\0", (1.0,), (np.float64(0),), (True,), (np.True_,)]
NOT_AXES += [
    (-1,),
    (3,),
    (0, 0),
    (np.int8(1), 1),
    [[0]],
    [np.array([0])],
    [None],
    ["0"],
    float("nan"),
    {0: 1, 5: 2},
]
NOT_COUNTS = [0, -3, 2.0, "2", True, np.True_, [1], np.array(2), np.float32(1), float("inf")]
WRONG = {
    "mirror_axes": (NOT_AXES, "mirror_axes must be different axes among 0, 1, 2"),
    "batch_size": ([*NOT_COUNTS, None], "batch_size must be a whole number of at least 1, got"),
    "threads": (NOT_COUNTS, "threads must be a whole number of at least 1, or None, got"),
    "overlap": (["0.5", None, np.array(0.5), 1j, 1.0, [0.5], np.nan, -1e-9], "overlap must be a fraction"),
    "blend": (
        ["", 5, ["gaussian"], np.array(["gaussian"]), b"gaussian"],
        "blend must be gaussian or constant",
    ),
    "providers": (
        [
            5,
            [5],
            [None],
            [],
            (),
            "",
            [""],
            b"CPU",
            [(CPU,)],
            [(CPU, 5)],
            [(CPU, {}, {})],
            [[CPU, {}]],
            {CPU: {}, 1: 2},
        ],
        r"providers must be names such as 'CPUExecutionProvider', or \(name, \{option: value\}\)",
    ),
}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [(name, value, message) for name, (values, message) in WRONG.items() for value in values],
)
def test_refused_with_a_sentence(artifact, name, value, message):
    with pytest.raises(InputError, match=message):
        Segmenter(artifact, **{name: value})


def test_a_provider_that_is_not_there_is_named_whole(artifact):
    with pytest.raises(msdk_rt.BackendError, match=r"^CoreMLProvider is not in this ONNX Runtime"):
        Segmenter(artifact, providers="CoreMLProvider")


def test_bench_takes_numpy_and_a_single_provider_too(artifact):
    report = msdk_rt.benchmark(
        artifact,
        providers=CPU,
        shape=np.array([9, 10, 11]),
        volumes=np.int64(1),
        batch_size=np.int64(1),
        threads=np.int32(1),
        overlap=np.float32(0.5),
        seconds=0,
        warm_up=0,
        limit=0,
    )
    assert [contestant.providers for contestant in report.contestants] == [[CPU]]
    assert json.loads(json.dumps(report.as_json()))["settings"]["threads"] == 1


LONG = "x" * 300
NO_NAMES = ["a\0b", "", ".", "..", 5, None, b"model.onnx", ["model.onnx"]]


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_names_no_model(name):
    for use in (Segmenter, read_manifest):
        with pytest.raises(
            ArtifactError, match=r"is no name of a file|expected the path of a file|no model at"
        ):
            use(name)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".onnx"])
def test_a_name_too_long_for_any_file(tmp_path, artifact, suffix):
    path = tmp_path / (LONG + suffix)
    with pytest.raises(ArtifactError, match=f"cannot read .*{LONG}.*: File name too long"):
        Segmenter(path)
    with pytest.raises(InputError, match=f"cannot read .*{LONG}.*: File name too long"):
        Segmenter(artifact).run(path)
    with pytest.raises(OutputError, match=f"cannot write .*{LONG}.*: File name too long"), atomic_write(path):
        pass


@pytest.mark.parametrize("name", ["a\0b.nii.gz", "a\0b/c.nii.gz"])
def test_a_byte_that_no_name_has(tmp_path, artifact, name):
    with pytest.raises(InputError, match=r"a\\x00b.* is no name of a file"):
        read_volume([tmp_path / name])
    with pytest.raises(OutputError, match=r"a\\x00b.* is no name of a file"), atomic_write(tmp_path / name):
        pass


def test_folders_are_no_volumes(tmp_path, artifact):
    for folders in (tmp_path, [tmp_path], [[tmp_path], [tmp_path]]):
        with pytest.raises(InputError, match=r"no file at .*; it is a folder"):
            Segmenter(artifact).run(folders)
    with pytest.raises(InputError, match=r"expected 1 file\(s\), one per channel \(m0\), got 2"):
        Segmenter(artifact).run([tmp_path, tmp_path])
    with pytest.raises(ArtifactError, match=r"no model at .*; it is a folder"):
        Segmenter(tmp_path)


MASKED = np.ma.masked_greater(VOLUME, 300)


@pytest.mark.parametrize(
    "give",
    [
        lambda: MASKED,
        lambda: MASKED[None],
        lambda: [MASKED],
        lambda: [VOLUME, MASKED],
        lambda: [[MASKED[0]]],
        lambda: [[list(MASKED[0])]],
        lambda: msdk_rt.imaging.volumes.Volume(MASKED, None),
        lambda: np.ma.masked_array(VOLUME, mask=True),
    ],
    ids=["alone", "batch", "list", "one of two", "nested", "deeply nested", "in a Volume", "all of it"],
)
def test_a_mask_is_never_lost(artifact, give):
    with pytest.raises(InputError, match=r"masked, and a network takes no mask: give array.filled\(0\)"):
        Segmenter(artifact).run(give())


def test_a_masked_array_that_masks_nothing_is_an_array(artifact):
    segmenter = Segmenter(artifact)
    np.testing.assert_array_equal(segmenter.run(np.ma.masked_array(VOLUME)), segmenter.run(VOLUME))
    np.testing.assert_array_equal(
        segmenter.run(MASKED.filled(7)), segmenter.run(np.where(MASKED.mask, 7, VOLUME))
    )

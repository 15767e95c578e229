"""Tests of corpus metadata: features, classes, header and errors."""

import pytest

from mdnrnn.data.metadata import Metadata
from mdnrnn.errors import InputError


@pytest.mark.parametrize(
    ("features", "offsets", "times", "kind"),
    [
        ((), (0, 1), (), "is_drawing"),
        (("dx", "dy", "dt"), (0, 1), (2,), "is_drawing"),
        (("dt", "x1", "x2"), (), (0,), "is_stream"),
        (("z1", "z2", "reward"), (), (), "is_world"),
    ],
    ids=["unnamed", "touch", "stream", "world"],
)
def test_names_of_features_determine_offsets_times_and_kind(
    features: tuple[str, ...], offsets: tuple[int, ...], times: tuple[int, ...], kind: str
) -> None:
    metadata = Metadata(name="x", features=features)
    assert metadata.offset_features(len(features) or 2) == offsets
    assert metadata.time_features == times
    kinds = ("is_drawing", "is_stream", "is_world")
    assert {name: getattr(metadata, name) for name in kinds} == {name: name == kind for name in kinds}


def test_features_without_names_are_offsets() -> None:
    assert Metadata(name="x").offset_features(5) == (0, 1, 2, 3, 4)


def test_touch_performances_start_with_the_pen_up() -> None:
    assert Metadata(name="x", features=("dx", "dy", "dt"), start="up").is_touch
    assert not Metadata(name="x", features=("dx", "dy", "dt")).is_touch


def test_times_have_no_bin_width() -> None:
    assert Metadata(name="x", features=("dx", "dy", "dt"), bin_width=0.5).bin_widths(3).tolist() == [0.5, 0.5, 0]
    assert Metadata(name="x").bin_widths(2).tolist() == [0, 0]


def test_class_index_is_the_position_of_the_name() -> None:
    metadata = Metadata(name="x", classes=("cat", "tree"))
    assert [metadata.class_index(name) for name in metadata.classes] == [0, 1]
    with pytest.raises(InputError, match="unknown label 'fish'; expected one of cat, tree"):
        metadata.class_index("fish")
    with pytest.raises(InputError, match="label 'cat': x has no labels; omit the label"):
        Metadata(name="x").class_index("cat")


def test_header_has_the_stored_names_of_the_fields() -> None:
    metadata = Metadata(name="x", bin_width=2.0, license="MIT", classes=("a",), features=("dx", "dy"))
    header = metadata.to_header()
    assert list(header) == ["name", "start", "quantum", "units", "licence", "source", "classes", "features"]
    assert Metadata.from_header(header) == metadata
    assert "features" not in Metadata(name="x").to_header()


@pytest.mark.parametrize("bin_width", [0.0, -1.0, float("inf"), float("nan")])
def test_invalid_bin_width_raises(bin_width: float) -> None:
    with pytest.raises(InputError, match=r"bin_width is .*; expected a positive number or None"):
        Metadata(name="x", bin_width=bin_width)

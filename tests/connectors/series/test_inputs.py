"""Series at predict: files, folders, strings with and without a header, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ddstream.connectors import CONNECTORS
from ddstream.connectors.series.connector import SeriesConnector
from ddstream.data import Datum
from ddstream.errors import InputError
from ddstream.repository import Repository
from tests.connectors.series.sets import FORECAST, LABELS, connector, made, read, table, written


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A repository whose training had columns x and y, y being the label, unscaled."""
    data = written(tmp_path / "set", {"a.csv": table(10)})
    made(tmp_path / "m", data, data, **LABELS)
    return tmp_path / "m"


def uris(samples: list[Any]) -> list[str]:
    return [sample.uri for sample in samples]


@pytest.mark.promise("services.input.csvts.label")
def test_a_file_is_one_sample_of_all_its_steps(tmp_path: Path, trained: Path) -> None:
    path = written(tmp_path / "new", {"b.csv": table(9, first=3)}) / "b.csv"
    (sample,) = read(connector(trained), path)
    assert sample.uri == f"{path} #0_8"
    assert sample.inputs["series"].ravel().tolist() == [*map(float, range(3, 12))]
    assert sample.target is None
    # Who asks for labels needs none.
    path.write_text("x\n1\n2\n")
    (sample,) = read(connector(trained), path)
    assert sample.inputs["series"].tolist() == [[1.0], [2.0]]


def test_a_folder_gives_its_tables_by_name(tmp_path: Path, trained: Path) -> None:
    folder = written(tmp_path / "new", {"b.csv": table(5), "a.CSV": table(4), "x.txt": "no"})
    samples = read(connector(trained), folder)
    assert uris(samples) == [f"{folder}/a.CSV #0_3", f"{folder}/b.csv #0_4"]


def test_forecasts_follow_every_window_and_the_last_one_ends_with_the_series(
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "new", {"b.csv": table(15)}) / "b.csv"
    samples = read(connector(tmp_path / "m", **FORECAST), path)
    assert uris(samples) == [f"{path} #{s}_{s + 5}" for s in (0, 6, 11)]
    assert samples[-1].inputs["series"][:, 0].tolist() == [11, 12, 13, 14]
    (sample,) = read(connector(tmp_path / "m", **FORECAST), table(4))
    assert sample.uri == "0"
    with pytest.raises(InputError, match="has 3 steps, backcast_timesteps is 4"):
        read(connector(tmp_path / "m", **FORECAST), table(3))


def test_strings_are_series_counted_in_their_order(trained: Path) -> None:
    text = table(3) + "END_OF_SEQ\n5,0\n6,0\nEND_OF_SEQ\n"
    samples = read(connector(trained), text, table(4))
    assert uris(samples) == ["0", "1", "2"]
    assert [len(each.inputs["series"]) for each in samples] == [3, 2, 4]
    assert samples[1].inputs["series"].tolist() == [[5.0], [6.0]]


def test_the_first_of_several_elements_may_be_their_header(tmp_path: Path, trained: Path) -> None:
    for repository, raw in ((trained, {}), (tmp_path / "fresh", LABELS)):
        samples = read(connector(repository, **raw), "y,x", "1,2\n3,4", "5,6\nEND_OF_SEQ\n7,8")
        assert uris(samples) == ["0", "1", "2"]
        assert [each.inputs["series"].ravel().tolist() for each in samples] == [[2, 4], [6], [8]]


def test_after_a_training_rows_need_no_header(trained: Path) -> None:
    # With all columns, or with the inputs alone.
    for rows in ("1,0\n2,0", "1\n2"):
        (sample,) = read(connector(trained), rows)
        assert sample.inputs["series"].tolist() == [[1.0], [2.0]]
    samples = read(connector(trained), "1,0", "2,0", "3,0\nEND_OF_SEQ\n4,0")
    assert uris(samples) == ["0", "1", "2", "3"]
    assert [each.inputs["series"].item() for each in samples] == [1, 2, 3, 4]


def test_bytes_are_named_by_their_uri(trained: Path) -> None:
    samples = list(connector(trained).read(Datum("http://h/t.csv", table(3).encode())))
    assert uris(samples) == ["http://h/t.csv #0_2"]


def test_columns_are_found_by_name(trained: Path) -> None:
    (sample,) = read(connector(trained), "other,y,x\n9,8,7\n")
    assert sample.inputs["series"].tolist() == [[7.0]]


@pytest.mark.promise("services.input.csvts.ignore", "services.input.csvts.id")
def test_ignored_and_identifying_columns_are_no_inputs(tmp_path: Path) -> None:
    used = connector(tmp_path / "m", ignore=["z"], id="when", **LABELS)
    (sample,) = read(used, "when,x,z,y\nmonday,1,no,2\ntuesday,3,no,4\n")
    assert sample.inputs["series"].tolist() == [[1.0], [3.0]]


@pytest.mark.promise("services.input.csvts.separator", "services.input.csvts.quote")
def test_separator_and_quote_are_as_asked(tmp_path: Path) -> None:
    used = connector(tmp_path / "m", separator=";", quote="'", label=["y;"], timesteps=2)
    (sample,) = read(used, "x;'y;'\n1;'2'\n3;4\n")
    assert sample.inputs["series"].tolist() == [[1.0], [3.0]]


@pytest.mark.parametrize(
    ("raw", "content", "text"),
    [
        (LABELS, "x,y\n1,a\n", "line 2 of 0, column y: 'a' is not a number"),
        (LABELS, "x,y\n1,2\n,4\n", "line 3 of 0, column x: '' is not a number"),
        (LABELS, "x,y\n1,2,3\n", "line 2 of 0: line has more columns than headers"),
        (LABELS, "x,z\n1,2\n", "cannot find label column y in 0"),
        (LABELS, "x,x,y\n1,2,3\n", "0 has two columns 'x'"),
        (LABELS, "y\n1\n", "label_size .output dim. 1 leaves no input among 1 columns"),
        ({**LABELS, "id": "who"}, "x,y\n1,2\n", "cannot find id column who in 0"),
        (LABELS, "missing.csv", "'missing.csv' is neither a file nor a series"),
        ({"timesteps": 3}, "x,y\n1,2\n", "missing label column parameter"),
        ({"label": "y"}, "x,y\n1,2\n", "no value given to .forecast_|backcast_|.timesteps"),
        ({**LABELS, "scale": True}, "x,y\n1,2\n", "predict: failed acquiring scaling min_vals"),
    ],
)
def test_what_is_no_series_is_refused_with_its_reason(
    tmp_path: Path, raw: dict[str, Any], content: str, text: str
) -> None:
    with pytest.raises(InputError, match=text):
        read(connector(tmp_path / "m", **raw), content)


def test_a_missing_input_is_refused_after_a_training(trained: Path) -> None:
    with pytest.raises(InputError, match="0 has no column x"):
        read(connector(trained), "a,y\n1,2\n")
    with pytest.raises(InputError, match="0 has no rows"):
        read(connector(trained), "x,y\n")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ({"backcast_timesteps": 5}, "forecast value and backcast value should be both specified"),
        (
            {"backcast_timesteps": 5, "forecast_timesteps": 6},
            "forecast value 6  >= backcast_timesteps 5",
        ),
        ({"timesteps": 0}, "must be -1 or at least 1"),
        ({"offset": 0}, "must be -1 or at least 1"),
        ({"separator": '"'}, "separator and quote must be two characters"),
        ({"label": ["a", "b"], "label_offset": [1, 2, 3]}, "label_offset must have one value"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(
    tmp_path: Path, raw: dict[str, Any], text: str
) -> None:
    with pytest.raises(InputError, match=text):
        connector(tmp_path / "m", **raw)


def test_what_a_training_has_left_is_described(tmp_path: Path, trained: Path) -> None:
    assert connector(tmp_path / "none", **LABELS).describe() == {"width": 1, "height": -1}
    known = connector(trained)
    assert known.describe() == {"width": 1, "height": 2}
    assert (known.dimensions().columns, known.dimensions().steps) == (1, 4)
    assert known.parameters.label == ("y",)


def test_labelled_series_are_cut_as_a_test_has_them(tmp_path: Path, trained: Path) -> None:
    folder = written(tmp_path / "new", {"a.csv": table(10), "short.csv": table(3)})
    samples = list(connector(trained).labelled(Datum(str(folder), folder), {}))
    assert [each.uri.partition("#")[2] for each in samples] == ["0_3", "4_7", "6_9"]
    assert samples[2].target is not None
    with pytest.raises(InputError, match="has no column y"):
        list(connector(trained).labelled(Datum("0", "x\n1\n2\n3\n4\n5\n"), {}))


def test_continuing_samples_are_groups_of_their_own(trained: Path) -> None:
    plain = read(connector(trained), table(3), table(3))
    assert plain[0].group == plain[1].group
    going_on = read(connector(trained, continuation=True), table(3), table(3))
    assert going_on[0].group != going_on[1].group


def test_the_other_spelling_is_the_same_connector(tmp_path: Path) -> None:
    other = CONNECTORS.load("csv_ts")({"connector": "csv_ts", **LABELS}, Repository(tmp_path))
    assert isinstance(other, SeriesConnector)
    assert other.parameters.connector == "csvts"

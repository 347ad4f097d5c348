"""Cells: records of RFC 4180, numbers, and errors that name line and column."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddstream.connectors.cells import Dialect, Row, check_width, number, numbers
from ddstream.errors import InputError
from ddstream.roots import ANYWHERE, Roots

CELLS = st.text(st.characters(exclude_characters="\0\r", codec="utf-8"), min_size=1, max_size=8)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=5),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(['"', "'"]),
)
def test_what_a_writer_of_csv_writes_is_read_back(
    table: list[list[str]], separator: str, quote: str
) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=separator, quotechar=quote, quoting=csv.QUOTE_ALL).writerows(table)
    dialect = Dialect(separator, quote)
    whole = text.getvalue()
    for rows in (dialect.of_text(whole, "x"), dialect.of_bytes(whole.encode(), "x")):
        assert [row.cells for row in rows] == table


def test_lines_are_counted_where_cells_have_line_breaks() -> None:
    rows = list(Dialect().of_text('\ufeffa,b\r\n"1\n1",2\n\n3,4', "x"))
    assert rows == [Row(1, ["a", "b"]), Row(3, ["1\n1", "2"]), Row(5, ["3", "4"])]


def test_a_quote_that_does_not_match_is_refused_with_its_line() -> None:
    with pytest.raises(InputError, match=r"line 2 of some\.csv"):
        list(Dialect().of_text('a,b\n"1"2,3\n', "some.csv"))
    with pytest.raises(InputError, match=r"line 2 of some\.csv"):
        list(Dialect().of_text('a,b\n"1,3\n', "some.csv"))


def test_a_record_has_as_many_cells_as_the_header() -> None:
    check_width(Row(2, ["1", "2"]), ["a", "b"], "x")
    with pytest.raises(InputError, match="line 2 of x: line has more columns than headers"):
        check_width(Row(2, ["1", "2"]), ["a"], "x")
    with pytest.raises(InputError, match="line 2 of x has 1 cells for 2 columns"):
        check_width(Row(2, ["1"]), ["a", "b"], "x")


def test_cells_are_numbers_or_named_by_line_and_column() -> None:
    rows = [Row(2, ["1", " 2.5e3 "]), Row(3, ["-0", "+4"])]
    assert numbers(rows, ["a", "b"], "x").tolist() == [[1.0, 2500.0], [-0.0, 4.0]]
    assert numbers([], ["a", "b"], "x").shape == (0, 2)
    for bad in ("", "n/a", "nan", "inf", "1e999", "0x10", "1_000", "٣"):
        with pytest.raises(InputError, match="line 3 of x, column b: ") as refused:
            numbers([rows[0], Row(3, ["1", bad])], ["a", "b"], "x")
        assert repr(bad) in refused.value.detail


@settings(max_examples=50, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_is_read_exactly(value: float) -> None:
    assert number(repr(value)) == value
    assert numbers([Row(1, [repr(value)])], ["a"], "x") == np.array([[value]])


def test_a_file_is_read_below_the_roots_only(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n1,2\n")
    with Dialect().of_file(path, "t", ANYWHERE) as rows:
        assert [row.cells for row in rows] == [["a", "b"], ["1", "2"]]
    inside = Roots((tmp_path / "other",))
    os.mkfifo(tmp_path / "pipe")
    for each, roots in ((path, inside), (tmp_path / "no", ANYWHERE), (tmp_path / "pipe", ANYWHERE)):
        with pytest.raises(InputError), Dialect().of_file(each, "t", roots):
            pass


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for content in (b"a,b\n\xff\xfe,2\n", b"a,b\n\0,2\n" * 2):
        path.write_bytes(content)
        with pytest.raises(InputError, match="t"), Dialect().of_file(path, "t", ANYWHERE) as rows:
            numbers(list(rows)[1:], ["a", "b"], "t")

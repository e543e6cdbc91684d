"""Data sets: what is read, what is set apart and why."""

import io
import os
import tracemalloc
import zipfile

import numpy as np
import pytest

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.runtime import archives, tables
from quickserveml_tui.runtime.datasets import open_dataset
from quickserveml_tui.runtime.layouts import fit_row

X = TensorSpec("x", "float32", ("n", 2))


@pytest.fixture
def table(tmp_path):
    def write(text, name="d.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def archive(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "d.npz", **arrays)
        return tmp_path / "d.npz"

    return write


def read(path, inputs=(X,), target="", size=100):
    dataset = open_dataset(path, list(inputs), target)
    try:
        return dataset, list(dataset.chunks(size))
    finally:
        dataset.close()


def refused(path, inputs=(X,), target=""):
    with pytest.raises(DataError) as error:
        read(path, inputs, target)
    assert error.value.hint
    assert str(path.parent) not in error.value.message
    return error.value


# ---- tables


@pytest.mark.parametrize("mark", [",", "\t", ";"])
def test_the_delimiter_is_found(table, mark):
    path = table(f"a{mark}b{mark}label\n1{mark}2.5{mark}yes\n")
    dataset, [chunk] = read(path)
    assert chunk.feeds["x"].tolist() == [[1.0, 2.5]]
    assert chunk.feeds["x"].dtype == np.float32
    assert chunk.targets == ("yes",)
    assert dataset.target == "label"
    assert dataset.total == 1


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(table):
    _, [chunk] = read(table(b"\xef\xbb\xbfa,b\r\n1,2\r\n3,4"))
    assert chunk.feeds["x"].tolist() == [[1, 2], [3, 4]]
    assert chunk.targets is None


def test_quoted_cells_may_hold_delimiters_and_line_breaks(table):
    inputs = [TensorSpec("name", "string", ("n", 1)), TensorSpec("v", "float32", ("n",))]
    _, [chunk] = read(table('name,v\n"Doe, ""J""\nJr",1\n'), inputs)
    assert chunk.feeds["name"].tolist() == [['Doe, "J"\nJr']]
    assert chunk.feeds["v"].shape == (1,)


def test_bad_rows_are_set_apart_with_their_number_and_the_reason(table):
    path = table("a,b,label\n1,2,0\n1,x,0\n1\n,2,1\n1,2,\n\n1e999,2,1\n1,2,3,4\n5,6,1\n")
    _, [chunk] = read(path)
    assert chunk.rows == (1, 8)
    reasons = {failure.row: failure.reason for failure in chunk.failures}
    assert set(reasons) == {2, 3, 4, 5, 6, 7}
    assert reasons[2] == "“x” in column “b” is not a value of type float32."
    assert reasons[3] == "The row has 1 value instead of 3."
    assert reasons[4] == "Column “a” is empty."
    assert reasons[5] == "The ground truth in column “label” is empty."
    assert reasons[6] == "“1e999” in column “a” is not a value of type float32."
    assert reasons[7] == "The row has 4 values instead of 3."


def test_a_value_too_large_for_the_dtype_is_set_apart_and_infinity_is_not(table):
    _, [chunk] = read(table("a,b\n1e39,2\ninf,nan\n3,4\n"))
    assert chunk.rows == (2, 3)
    assert [failure.row for failure in chunk.failures] == [1]
    assert np.isinf(chunk.feeds["x"][0, 0])


def test_a_line_that_is_not_utf8_or_too_long_is_set_apart(table, monkeypatch):
    monkeypatch.setattr(tables, "MAX_LINE", 64)
    path = table(b"a,b\n1,2\n\xff,2\n" + b"9" * 500 + b",1\n3,4\n")
    _, [chunk] = read(path)
    assert chunk.rows == (1, 4)
    assert [failure.row for failure in chunk.failures] == [2, 3]
    assert "UTF-8" in chunk.failures[0].reason
    assert "longer" in chunk.failures[1].reason


def test_a_quote_that_is_never_closed_costs_its_row_only(table):
    path = table("a,b\n1,2\n3," + '"' + "9" * 200_000 + "\n5,6\n")
    _, chunks = read(path)
    assert [failure.row for chunk in chunks for failure in chunk.failures] == [2]
    assert chunks[-1].feeds["x"][-1].tolist() == [5, 6]


def test_chunks_have_the_asked_size(table):
    path = table("a,b\n" + "".join(f"{n},{n}\n" for n in range(10)))
    _, chunks = read(path, size=4)
    assert [len(chunk.rows) for chunk in chunks] == [4, 4, 2]
    assert chunks[2].rows == (9, 10)


def test_integers_booleans_and_strings_are_parsed_by_the_inputs_dtype(table):
    inputs = [TensorSpec("i", "int8", ("n",)), TensorSpec("b", "bool", ("n",)), TensorSpec("s", "string", ("n",))]
    text = "i,b,s\n-128,true,a\n3.0,0,\n128,1,c\n1.5,1,d\n1,maybe,e\n7,No, f\nnan,1,x\n"
    _, [chunk] = read(table(text), inputs)
    assert chunk.rows == (1, 2, 6)
    assert chunk.feeds["i"].tolist() == [-128, 3, 7]
    assert chunk.feeds["b"].tolist() == [True, False, False]
    assert chunk.feeds["s"].tolist() == ["a", "", " f"]
    assert [failure.row for failure in chunk.failures] == [3, 4, 5, 7]


def test_the_column_named_like_the_input_is_enough(table):
    _, [chunk] = read(table("id,x,note\n7,1.5,hello\n"), [TensorSpec("x", "float32", ("n", 1))])
    assert chunk.feeds["x"].tolist() == [[1.5]]


def test_the_ground_truth_can_be_named(table):
    dataset, [chunk] = read(table("a,species,b\n1,setosa,2\n"), target="species")
    assert dataset.target == "species"
    assert chunk.targets == ("setosa",)
    assert chunk.feeds["x"].tolist() == [[1, 2]]


def test_columns_named_by_number_are_a_header(table):
    _, [chunk] = read(table("0,1\n5,6\n"))
    assert chunk.rows == (1,)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", "data.empty", "empty"),
        ("\n\n", "data.columns", "no column names"),
        ("1.5,2.5\n3,4\n", "data.no_header", "numbers"),
        ("a,b,c\n1,2,3\n", "data.columns", "3 feature columns per row, and input “x” takes 2"),
        ("a\n1\n", "data.columns", "1 feature column per row"),
        (b"\xff\xfea\x00,\x00", "data.unreadable", "UTF-16"),
        (b"a,b\n\x00\x01\x02", "data.unreadable", "not a text file"),
        (b"\xffa,b\n1,2\n", "data.unreadable", "header"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_the_reason(table, text, code, words):
    error = refused(table(text))
    assert error.code == code
    assert words in error.message


@pytest.mark.parametrize("rest", ["1,2\n" * 50_000, b"\xff,2\n"], ids=["a long table", "what is not UTF-8"])
def test_a_header_whose_quote_is_never_closed_is_refused(table, rest):
    rest = rest if isinstance(rest, bytes) else rest.encode()
    assert refused(table(b'a,"b\n' + rest)).code == "data.unreadable"


def test_a_missing_column_is_named(table):
    inputs = [X, TensorSpec("city", "string", ("n", 1))]
    error = refused(table("x,town\n1,Oslo\n"), inputs)
    assert error.code == "data.missing_column"
    assert "“city”" in error.message
    assert "town" in error.hint
    error = refused(table("a,b\n1,2\n"), target="species")
    assert error.code == "data.missing_column"


def test_a_hostile_column_name_is_made_printable(table):
    error = refused(table("\x1b]52;c;eA==\x07,b\u202e,c\n1,2,3\n"))
    assert "\x1b" not in error.hint
    assert "\u202e" not in error.hint


# ---- archives


def test_features_and_truth_are_found_by_their_usual_names(archive):
    dataset, chunks = read(archive(X=np.ones((5, 2)), y=np.arange(5)), size=2)
    assert dataset.total == 5
    assert [chunk.rows for chunk in chunks] == [(1, 2), (3, 4), (5,)]
    assert chunks[1].targets == ("2", "3")
    assert chunks[0].feeds["x"].dtype == np.float32


@pytest.mark.parametrize("name", ["x", "data", "images", "anything"])
def test_the_features_may_have_other_names(archive, name):
    _, [chunk] = read(archive(**{name: np.ones((1, 2)), "target": np.array(["a"])}))
    assert chunk.targets == ("a",)


def test_rows_are_reshaped_to_the_input_only_where_the_order_of_dims_is_clear(archive):
    image = TensorSpec("image", "float32", ("n", 3, 4, 4))
    for shape in ((2, 48), (2, 3, 4, 4)):
        _, [chunk] = read(archive(x=np.zeros(shape)), [image])
        assert chunk.feeds["image"].shape == (2, 3, 4, 4)
    assert refused(archive(x=np.zeros((2, 4, 4, 3))), [image]).code == "data.columns"
    grey = TensorSpec("image", "float32", ("n", 1, 8, 8))
    _, [chunk] = read(archive(x=np.zeros((2, 8, 8))), [grey])
    assert chunk.feeds["image"].shape == (2, 1, 8, 8)


def test_several_inputs_have_an_array_each(archive):
    inputs = [TensorSpec("a", "float32", ("n", 1)), TensorSpec("s", "string", ("n",))]
    _, [chunk] = read(archive(a=np.array([1, 2]), s=np.array(["p", "q"]), extra=np.ones(9)), inputs)
    assert chunk.feeds["a"].shape == (2, 1)
    assert chunk.feeds["s"].tolist() == ["p", "q"]
    assert chunk.feeds["s"].dtype == object
    assert refused(archive(a=np.array([1, 2])), inputs).code == "data.missing_column"


@pytest.mark.parametrize(
    ("arrays", "code"),
    [
        ({"x": np.ones((3, 2)), "y": np.ones(4)}, "data.columns"),
        ({"x": np.ones((3, 2)), "y": np.ones((3, 3))}, "data.columns"),
        ({"x": np.ones((0, 2))}, "data.empty"),
        ({"x": np.float64(1)}, "data.columns"),
        ({"x": np.ones((3, 5))}, "data.columns"),
        ({"x": np.array([["a", "b"]])}, "data.dtype"),
        ({"x": np.ones((1, 2), dtype=complex)}, "data.dtype"),
        ({"x": np.array([[{}, {}]], dtype=object)}, "data.unreadable"),
        ({"x": np.zeros(1, dtype=[("a", "f4"), ("b", "f4")])}, "data.unreadable"),
        ({"p": np.ones((1, 2)), "q": np.ones((1, 2))}, "data.missing_column"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(archive, arrays, code):
    assert refused(archive(**arrays)).code == code


def test_floats_go_into_integers_only_when_nothing_is_lost(archive):
    ints = [TensorSpec("x", "uint8", ("n", 2))]
    _, [chunk] = read(archive(x=np.array([[1.0, 255.0]])), ints)
    assert chunk.feeds["x"].tolist() == [[1, 255]]
    for values in ([[1.5, 2]], [[256.0, 0]], [[-1, 0]], [[np.nan, 0]]):
        assert refused(archive(x=np.array(values)), ints).code == "data.dtype"


def member(path, name, data, **header):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, data)
    return path


def npy(shape, data=b"", descr="<f8"):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + data


@pytest.mark.parametrize(
    "content",
    [
        npy((10**12,)),  # a bomb by its header
        npy((10**30, 10**30)),
        npy((2, 2), b"\0" * 8),  # cut short
        npy((-1, 2)),
        b"\x93NUMPY\x01\x00\xff\xff{",
        b"not an array",
        b"",
    ],
)
def test_a_broken_or_lying_array_is_refused_before_memory_is_taken(tmp_path, content):
    assert refused(member(tmp_path / "b.npz", "x.npy", content)).code == "data.unreadable"


def test_arrays_beyond_the_budget_are_refused_before_they_are_unpacked(archive, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    monkeypatch.setattr(np.lib.format, "read_array", pytest.fail)
    assert refused(archive(x=np.ones((100, 2)))).code == "data.too_large"


def test_a_zip_without_arrays_and_a_cut_zip_are_refused(tmp_path, archive):
    assert refused(member(tmp_path / "no.npz", "readme.txt", b"hello")).code == "data.empty"
    data = archive(x=np.ones((50, 2))).read_bytes()
    for length in (4, 30, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.npz").write_bytes(data[:length])
        assert refused(tmp_path / "cut.npz").code in ("data.unreadable", "data.empty")


def test_an_npz_name_with_other_content_is_refused(tmp_path):
    (tmp_path / "d.npz").write_text("a,b\n1,2\n")
    assert refused(tmp_path / "d.npz").code == "data.unreadable"


# ---- files and inputs


def test_what_is_no_regular_file_is_refused_without_blocking(tmp_path):
    os.mkfifo(tmp_path / "fifo.csv")
    assert refused(tmp_path / "fifo.csv").code == "data.not_a_file"
    (tmp_path / "folder.csv").mkdir()
    assert refused(tmp_path / "folder.csv").code in ("data.not_a_file", "data.unreadable")
    assert refused(tmp_path / "none.csv").code == "data.missing"
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    assert refused(tmp_path / "loop.csv").code == "data.unreadable"


def test_inputs_that_rows_cannot_fill_are_refused(table):
    path = table("a\n1\n")
    assert refused(path, []).code == "data.no_inputs"
    assert refused(path, [TensorSpec("x", "seq(tensor(float))", None, "sequence")]).code == "data.unsupported_input"
    assert refused(path, [TensorSpec("x", "complex64", ("n", 1))]).code == "data.unsupported_input"


@pytest.mark.parametrize(
    ("shape", "count", "row_shape", "has_rows"),
    [
        (("n", 4), 4, (4,), True),
        ((1, 4), 4, (4,), True),
        (("n", 1, 8, 8), 64, (1, 8, 8), True),
        (("n",), 1, (), True),
        ((4,), 4, (4,), False),
        ((4,), 1, (), True),
        ((2, 3), 6, (2, 3), False),
        ((2, 3), 3, (3,), True),
        (("n", "f"), 7, (7,), True),
        (("n", None, 3), 6, (2, 3), True),
        (("n", "a", "b"), 5, (1, 5), True),
        ((), 1, (), False),
        (None, 9, (9,), True),
    ],
)
def test_values_fill_an_input(shape, count, row_shape, has_rows):
    layout = fit_row(TensorSpec("x", "float32", shape), count)
    assert (layout.row_shape, layout.has_rows) == (row_shape, has_rows)
    assert layout.width == count


@pytest.mark.parametrize(("shape", "count"), [(("n", 4), 5), (("n", "a", 3), 5), ((), 2), (("n", 4), 0), ((4,), 3)])
def test_values_that_do_not_fill_an_input_are_refused(shape, count):
    assert fit_row(TensorSpec("x", "float32", shape), count) is None


def test_an_archive_with_a_bomb_for_a_header_or_two_arrays_of_one_name_is_refused(tmp_path):
    size = 32 << 20
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", b"\x93NUMPY\x02\x00" + size.to_bytes(4, "little") + b" " * size)
    tracemalloc.start()
    error = refused(path)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.code == "data.unreadable"
    assert held < 2 << 20
    np.savez(path, x=np.ones((2, 2), np.float32))
    data = zipfile.ZipFile(path).read("x.npy")
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("x.npy", data)
    assert refused(path).code == "data.unreadable"

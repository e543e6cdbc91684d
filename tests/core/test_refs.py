"""References and names: one spelling each, safe in a URL, a file name, a shell and a table."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.refs import (
    MAX_NAME,
    ModelRef,
    PathRef,
    check_alias,
    check_label,
    check_name,
    check_tag,
    looks_like_path,
    name_from_path,
    parse_ref,
    parse_version,
)

BAD_NAMES = [
    "../x", "..\\x", "/etc/passwd", "C:\\x", "C:x", "\\\\host\\share", "%2e%2e%2fx", "%252e%252e", "a\0b", "\xc0\xae",
    ".", "..", "", " ", "  ", "a b", " a", "a ", "x" * 129, "x" * 256, "x" * 4097, "CON", "con", "nul.txt", "COM1",
    "lpt9.x", "a.", "a..b", ".a", "-a", "a-", "_a", "cafe\u0301", "café", "раураl", "a\u202eb", "a\u200bb", "\x1b[2J",
    "\x1b]52;c;x\x07", "\x9b2J", "a\r\nb", "a\n", "x[/]y", "[@click=app.quit]", "=cmd|' /C calc'!A0", "<script>",
    "'; DROP TABLE models", "{{7*7}}", "a#b", "a@b", "a:b", "a*b", "$(id)", "`id`", "a;b", "٣", "ａ", "\ud800",
]  # fmt: skip
BAD_VERSIONS = ["-1", "0", "1e3", "٣", "9223372036854775808", "2147483648", "01", "", "+1", " 1", "1 ", "1_0", "0x1"]


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
@pytest.mark.parametrize("check", [check_name, check_tag, check_alias])
def test_a_bad_name_is_refused_with_a_safe_sentence(check, name):
    with pytest.raises(UsageError) as caught:
        check(name)
    assert caught.value.code.endswith(".invalid")
    assert caught.value.hint
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("name", ["a", "7", "resnet50", "Res-Net_50.v1", "x" * 128, "a.b.c", "console", "com10", "0-1"])
def test_a_plain_name_is_taken_as_it_is(name):
    assert check_name(name) == name
    assert check_tag(name) == name
    assert parse_ref(name) == ModelRef(name)


@pytest.mark.parametrize("name", ["a.onnx", "A.ONNX", "x.y.onnx"])
def test_a_name_that_would_read_as_a_path_is_refused(name):
    with pytest.raises(UsageError):
        check_name(name)
    assert isinstance(parse_ref(name), PathRef)


NUMBER_LIKE = ["1", "12", "0", "01", "1e3", "1.0", "1.2.3", "v1.2.3", "1.2.3-rc1", "1_0", "0x1F", "1.5e3"]


@pytest.mark.parametrize("alias", ["latest", "LATEST", *NUMBER_LIKE])
def test_an_alias_cannot_be_mistaken_for_a_version(alias):
    with pytest.raises(UsageError) as caught:
        check_alias(alias)
    assert caught.value.code == "alias.invalid"


@pytest.mark.parametrize("alias", ["prod", "staging", "v1", "2024-q1", "rc1", "nan", "e3"])
def test_other_words_are_aliases(alias):
    assert check_alias(alias) == alias
    assert parse_ref(f"m@{alias}") == ModelRef("m", alias)


@pytest.mark.parametrize("version", BAD_VERSIONS, ids=ascii)
def test_a_bad_version_is_refused(version):
    with pytest.raises(UsageError):
        parse_version(version)
    if version:
        with pytest.raises(UsageError):
            parse_ref(f"m@{version}")


@given(st.integers(1, 2**31 - 1))
def test_every_version_number_is_read_back(number):
    assert parse_version(str(number)) == number
    assert ModelRef("m", str(number)).version == number


@pytest.mark.parametrize("label", ["1.2.0", "v1.0", "0.1.0-rc.1", "1.2.3+build5"])
def test_a_semver_like_label_is_taken(label):
    assert check_label(label) == label
    assert parse_ref(f"m@{label}") == ModelRef("m", label)


@pytest.mark.parametrize("label", ["", "1", "latest", "1.2.0 ", "1.2.0\n", "v", "1..2", "1.2.0-" + "x" * 200, "١.٢"])
def test_another_label_is_refused(label):
    with pytest.raises(UsageError):
        check_label(label)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m", ModelRef("m")),
        ("m@latest", ModelRef("m")),
        ("m@3", ModelRef("m", "3")),
        ("m@prod#/layer.0/Conv@1#2", ModelRef("m", "prod", "/layer.0/Conv@1#2")),
        ("m#a.onnx", ModelRef("m", "", "a.onnx")),
        ("./m", PathRef(Path("m"))),
        ("dir/m@3", PathRef(Path("dir/m@3"))),
        ("m.onnx", PathRef(Path("m.onnx"))),
        ("M.ONNX#node", PathRef(Path("M.ONNX"), "node")),
        ("/abs/m.onnx", PathRef(Path("/abs/m.onnx"))),
        ("a\\b", PathRef(Path("a\\b"))),
    ],
)
def test_a_reference_is_a_path_or_a_name(text, expected):
    assert parse_ref(text) == expected


@pytest.mark.parametrize(
    "text", ["", "@", "m@", "@prod", "m@@1", "#", "m@a b", "m\0", "a/b\0", "m@1@2", "~nobody-here/x"]
)
def test_another_reference_is_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_ref(text)
    assert caught.value.hint


@given(st.text())
@example("~\ud800/x")
def test_any_text_is_a_reference_or_a_usage_error(text):
    try:
        ref = parse_ref(text)
    except UsageError:
        return
    assert isinstance(ref, PathRef) == looks_like_path(text)


NAMES = st.from_regex(r"\A[a-z0-9]{1,20}\Z")


@given(NAMES, st.one_of(st.just(""), st.integers(1, 99).map(str), st.just("prod")), st.none() | st.text(min_size=1))
def test_a_reference_reads_back_what_it_writes(name, selector, node):
    ref = ModelRef(name, selector, node)
    if node is None or "\0" not in node:
        try:
            check_name(name)
        except UsageError:  # a device name
            return
        assert parse_ref(str(ref)) == ref


@given(st.text(max_size=300))
@example("CON.onnx")
@example("con." + "x" * 200)
@example("x" * 123 + ".onnx.y")
@example("a.onnx.onnx")
@example("x" * 122 + ".y" + "x" * 10)
@example("...onnx")
@example(".onnx")
@example("\ud800")
def test_every_file_name_makes_a_valid_name(text):
    name = name_from_path(Path(text.replace("\0", "")))
    assert check_name(name) == name
    assert len(name) <= MAX_NAME


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("My model (2).onnx", "my-model-2"),
        ("ResNet50.ONNX", "resnet50"),
        ("model.v1.2.onnx", "model.v1.2"),
        ("çà.onnx", "model"),
        ("aux.onnx", "model-aux"),
        (".hidden.onnx", "hidden"),
    ],
)
def test_a_name_is_made_from_a_file_name(file, name):
    assert name_from_path(Path("dir") / file) == name

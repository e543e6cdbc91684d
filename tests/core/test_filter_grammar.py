"""The filter grammar: what parses, how it is spelled, what is refused and where."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quickserveml_tui.core.errors import ExitCode, FilterError
from quickserveml_tui.core.filters.parse import parse_filter
from quickserveml_tui.core.filters.syntax import (
    MAX_CHARS,
    MAX_DEPTH,
    MAX_LIST,
    MAX_TERMS,
    And,
    Comparison,
    Exists,
    Not,
    Operator,
    Or,
    Value,
    Word,
    write_filter,
)


def compare(field, operator, *values):
    return Comparison(field, Operator(operator), tuple(Value(value) for value in values))


def answer_to(text):
    """The tree of a filter, or the error it gets; anything else is raised."""
    try:
        return parse_filter(text)
    except FilterError as error:
        return error


A, B, C = Word("a"), Word("b"), Word("c")

# ---- what parses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " ", "\t\n  ", "\u3000"])
def test_an_empty_filter_is_no_tree(text):
    assert parse_filter(text) is None


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a", A),
        ("a b", And((A, B))),
        ("a AND b", And((A, B))),
        ("a and b aNd c", And((A, B, C))),
        ("a OR b", Or((A, B))),
        ("a b OR c", Or((And((A, B)), C))),
        ("a OR b c", Or((A, And((B, C))))),
        ("a OR b AND c", Or((A, And((B, C))))),
        ("(a OR b) c", And((Or((A, B)), C))),
        ("((a))", A),
        ("NOT a", Not(A)),
        ("not not a", Not(Not(A))),
        ("NOT a b", And((Not(A), B))),
        ("NOT (a b)", Not(And((A, B)))),
        ("a NOT b", And((A, Not(B)))),
        ("a(b)c", And((A, B, C))),
        ('"two words"', Word("two words")),
        ("'it''s'", And((Word("it"), Word("s")))),
        ("it's", Word("it's")),
        (r'"say \"hi\" \\ \n"', Word(r'say "hi" \ \n')),
        ('"and"', Word("and")),
        ("a,b", Word("a,b")),
        ("{{7*7}}", Word("{{7*7}}")),
        ("x[/]y", Word("x[/]y")),
        ("1.3.0", Word("1.3.0")),
        ("état", Word("état")),
        ("params<5", compare("params", "<", "5")),
        ("params <= 10M", compare("params", "<=", "10M")),
        ("a == b", compare("a", "=", "b")),
        ("a <> b", compare("a", "!=", "b")),
        ("a!=b", compare("a", "!=", "b")),
        ("a >= b", compare("a", ">=", "b")),
        ("a=b=c", compare("a", "=", "b=c")),
        ("tag:x", compare("tag", ":", "x")),
        ("tag : x", compare("tag", ":", "x")),
        ("op:com.microsoft:gelu", compare("op", ":", "com.microsoft:gelu")),
        ("at > 2026-01-31T10:00:00Z", compare("at", ">", "2026-01-31T10:00:00Z")),
        ("name LIKE res%", compare("name", "LIKE", "res%")),
        ("name not like 'a b%'", compare("name", "NOT LIKE", "a b%")),
        (r"name ILIKE 50\%", compare("name", "ILIKE", r"50\%")),
        ("name NOT ILIKE x", compare("name", "NOT ILIKE", "x")),
        ("tag IN (a)", compare("tag", "IN", "a")),
        ("tag in(a,'b c' , \"d\")x", And((compare("tag", "IN", "a", "b c", "d"), Word("x")))),
        ("tag NOT IN (a, b)", compare("tag", "NOT IN", "a", "b")),
        ("EXISTS author", Exists("author")),
        ("author EXISTS", Exists("author")),
        ("NOT EXISTS author", Not(Exists("author"))),
        ("NOT author EXISTS", Not(Exists("author"))),
        ("author EXISTS a", And((Exists("author"), A))),
        ('meta."my key" = 3', compare("meta.my key", "=", "3")),
        ("meta.'k' EXISTS", Exists("meta.k")),
        ("name = 'and'", compare("name", "=", "and")),
        ("name = like", compare("name", "=", "like")),
        ("size < 25 MB", compare("size", "<", "25 MB")),
        ("size < 25 MB b", And((compare("size", "<", "25 MB"), B))),
        ("p50 < 5 ms OR a", Or((compare("p50", "<", "5 ms"), A))),
        ("params < 5 b2", And((compare("params", "<", "5"), Word("b2")))),
    ],
)
def test_a_filter_parses(text, tree):
    assert parse_filter(text) == tree
    assert parse_filter(write_filter(tree)) == tree


def test_the_parts_know_their_columns():
    tree = parse_filter('x AND  params  <=  10M OR meta."a b" EXISTS')
    both, exists = tree.terms
    word, comparison = both.terms
    assert (word.column, comparison.column, comparison.operator_column, comparison.values[0].column) == (1, 8, 16, 20)
    assert exists.column == 27


# ---- what is refused, and where -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("a AND", 6, "ends where a term"),
        ("a OR OR b", 6, "not “OR”"),
        ("AND a", 1, "not “AND”"),
        ("NOT", 4, "ends"),
        ("()", 2, "not “)”"),
        ("(", 2, "ends"),
        ("(a", 1, "not closed"),
        ("a (b (c)", 3, "not closed"),
        ("a)", 2, "closes nothing"),
        ("a (b))", 6, "closes nothing"),
        ("= 5", 1, "not “=”"),
        ("params <", 9, "value is expected"),
        ("params < AND x", 10, "value is expected"),
        ("params < = 5", 10, "value is expected"),
        ("params < (5)", 10, "value is expected"),
        ("a = ''", 5, "empty"),
        ('""', 1, "empty"),
        ('"name" = x', 1, "without quotes"),
        ("'name' EXISTS", 1, "without quotes"),
        ("'; DROP", 1, "not closed"),
        ("a 'b", 3, "not closed"),
        ("a = 'b\\'", 5, "not closed"),
        ('meta."my', 6, "not closed"),
        ("tag IN vision", 8, "list in parentheses"),
        ("tag IN", 7, "list in parentheses"),
        ("tag IN ()", 9, "value is expected"),
        ("tag IN (a,)", 11, "value is expected"),
        ("tag IN (a b)", 11, "comma"),
        ("tag IN (a", 10, "comma"),
        ("EXISTS", 7, "needs a field"),
        ("EXISTS (a)", 8, "needs a field"),
        ("EXISTS 'a'", 8, "needs a field"),
        ("in x", 1, "not “IN”"),
        ("!vision", 1, "“!”"),
        ("a\0b", 2, "U+0000"),
        ("abc\x1b[31m", 4, "U+001B"),
        ("\x9b", 1, "U+009B"),
        ("a \ud800", 3, "U+D800"),
    ],
)
def test_a_filter_that_cannot_be_read_names_the_column(text, column, words):
    with pytest.raises(FilterError, match=re.escape(words)) as caught:
        parse_filter(text)
    error = caught.value
    assert error.column == column
    assert error.hint
    assert error.exit_code is ExitCode.USAGE
    assert error.to_doc()["error"] == {
        "code": "usage.filter", "message": error.message, "hint": error.hint, "column": column,
    }  # fmt: skip


def nested(depth):
    return "(" * depth + "a" + ")" * depth


@pytest.mark.parametrize(
    "text",
    [
        "a" * MAX_CHARS,
        nested(MAX_DEPTH),
        "NOT " * MAX_DEPTH + "a",
        " ".join(["a"] * MAX_TERMS),
        f"t IN ({','.join(['a'] * MAX_LIST)})",
    ],
)
def test_a_filter_at_a_limit_is_read(text):
    assert parse_filter(text) is not None


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("a" * (MAX_CHARS + 1), MAX_CHARS + 1),
        ("(" * 10_000, MAX_CHARS + 1),
        ("NOT " * 10_000, MAX_CHARS + 1),
        ("(" * MAX_CHARS, MAX_DEPTH + 1),
        (nested(MAX_DEPTH + 1), MAX_DEPTH + 1),
        ("NOT " * 1000, 4 * MAX_DEPTH + 1),
        ("(NOT " * 800, 5 * (MAX_DEPTH // 2) + 1),
        (" ".join(["a"] * (MAX_TERMS + 1)), 2 * MAX_TERMS + 1),
        (f"t IN ({','.join(['a'] * (MAX_LIST + 1))})", 7 + 2 * MAX_LIST),
    ],
)
def test_a_filter_beyond_a_limit_is_one_clear_error(text, column):
    with pytest.raises(FilterError) as caught:
        parse_filter(text)
    assert caught.value.column == column
    assert len(caught.value.message) < 200


def test_depth_counts_what_is_open_only():
    assert parse_filter(" ".join([nested(MAX_DEPTH)] * 5)) is not None
    assert parse_filter(" ".join(["NOT NOT a"] * MAX_DEPTH)) is not None


@pytest.mark.parametrize("filler", ['"', "'", "\\", '"\\', "a.'", 'meta."', "=", "<", "!", "a=", "a IN (", "1 ", "(a "])
def test_a_text_made_to_slow_a_reader_down_is_answered(filler):
    text = (filler * MAX_CHARS)[:MAX_CHARS]
    for start in range(10):
        answer = answer_to(text[start:])
        assert not isinstance(answer, FilterError) or 1 <= answer.column <= MAX_CHARS + 1


# ---- properties -----------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
NAMES = st.sampled_from(["name", "params", "bench.p99_ms", "meta.key", "meta.my key", 'meta.a"b', "x"])
LEAVES = st.one_of(
    st.builds(Word, TEXTS),
    st.builds(Exists, NAMES),
    st.builds(
        compare,
        NAMES,
        st.sampled_from([operator for operator in Operator if not operator.is_list]),
        TEXTS,
    ),
    st.builds(
        lambda name, operator, values: compare(name, operator, *values),
        NAMES,
        st.sampled_from([Operator.IN, Operator.NOT_IN]),
        st.lists(TEXTS, min_size=1, max_size=4),
    ),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: And(tuple(terms))),
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: Or(tuple(terms))),
    ),
    max_leaves=12,
)


@given(TREES)
def test_every_tree_is_spelled_so_that_it_parses_back(tree):
    assert parse_filter(write_filter(tree)) == tree


PIECES = st.lists(
    st.sampled_from(
        [
            "(",
            ")",
            "'",
            '"',
            "\\",
            ",",
            " ",
            "=",
            "!=",
            "!",
            "<",
            ":",
            "AND",
            "or",
            "NOT",
            "IN",
            "LIKE",
            "EXISTS",
            "a",
            "params",
            "meta.",
            "5",
            "MB",
            "\u202e",
            "\u200b",
            "é",
            "\n",
        ]
    ),
    max_size=30,
).map("".join)


@given(st.one_of(st.text(max_size=60), PIECES))
@example("'; DROP TABLE models; --")
@example("\u202egpj.exe")
@example("<script>alert(1)</script>")
@example("a" * 3999 + "(")
def test_any_text_parses_or_names_a_column_in_it(text):
    answer = answer_to(text)
    if isinstance(answer, FilterError):
        assert 1 <= answer.column <= len(text) + 1
        assert answer.message.isprintable()
    else:
        assert answer is None or parse_filter(write_filter(answer)) == answer

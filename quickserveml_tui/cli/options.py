"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from typer import Argument, Option

HomeOption: TypeAlias = Annotated[
    str,
    Option("--home", metavar="FOLDER", help="Folder with catalog, results and logs.", show_default=False),
]
JsonOption: TypeAlias = Annotated[
    bool, Option("--json", help="Print one JSON document, also for an error.", show_default=False)
]
VerboseOption: TypeAlias = Annotated[
    bool, Option("--verbose", help="With an error, print all that was said about it.", show_default=False)
]
VersionOption: TypeAlias = Annotated[bool, Option("--version", "-V", help="Print the version.", show_default=False)]
RefArgument: TypeAlias = Annotated[
    str, Argument(metavar="REF", help="Path of a model file, or name[@version|@label|@alias].", show_default=False)
]
NameArgument: TypeAlias = Annotated[str, Argument(metavar="NAME", help="Name of a model.", show_default=False)]
DimOption: TypeAlias = Annotated[
    list[str] | None,
    Option("--dim", metavar="NAME=SIZE", help="Size of a symbolic dim, such as batch=8.", show_default=False),
]
ShapeOption: TypeAlias = Annotated[
    list[str] | None,
    Option("--shape", metavar="INPUT=SHAPE", help="Shape of an input, such as x=1x3x224x224.", show_default=False),
]
RangeOption: TypeAlias = Annotated[
    list[str] | None,
    Option(
        "--range",
        metavar="INPUT=LOW:HIGH",
        help="Values of an input, both ends included, such as x=0:255, or one: x=10.",
        show_default=False,
    ),
]
BatchOption: TypeAlias = Annotated[
    int | None,
    Option("--batch", metavar="N", help="Size of each leading dim that is not fixed.", show_default=False),
]
SeedOption: TypeAlias = Annotated[
    int, Option("--seed", metavar="N", help="Seed of the synthetic values; 0 keeps a saved one.")
]
LengthOption: TypeAlias = Annotated[
    list[str] | None,
    Option("--length", metavar="INPUT=N", help="Elements of an input that is a sequence or map.", show_default=False),
]
WordOption: TypeAlias = Annotated[
    list[str] | None,
    Option("--word", metavar="INPUT=TEXT", help="String for a string input; repeat it for more.", show_default=False),
]
AbsentOption: TypeAlias = Annotated[
    list[str] | None,
    Option("--absent", metavar="INPUT", help="Optional input that gets no value.", show_default=False),
]
FormatOption: TypeAlias = Annotated[
    str,
    Option("--format", metavar="FORMAT", help="text, csv, json or markdown."),
]
VerifyOption: TypeAlias = Annotated[
    bool,
    Option("--verify/--no-verify", help="Check golden outputs of the version first."),
]

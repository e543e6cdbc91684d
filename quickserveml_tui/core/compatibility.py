"""What the installed runtime takes, and how a model compares with it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RuntimeLimits:
    """The newest formats that a runtime takes, found by trying."""

    runtime: str
    """Name and version, such as `onnxruntime 1.32.0`."""
    ir_version: int
    opsets: dict[str, int] = field(default_factory=dict)
    """Newest opset by operator domain; the default domain is `ai.onnx`."""
    convertible_opset: int = 0
    """Newest opset of `ai.onnx` that the onnx package can convert from; 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One format of a model that the runtime does not take."""

    what: str
    """`IR version`, or `opset` with its domain: `opset of ai.onnx`."""
    has: int
    takes: int
    """The newest that the runtime takes."""
    remedy: str
    """One sentence: what to do."""


@dataclass(frozen=True, slots=True)
class Compatibility:
    """A model beside what the runtime takes."""

    limits: RuntimeLimits
    mismatches: tuple[Mismatch, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the runtime takes every format of the model."""
        return not self.mismatches


@dataclass(frozen=True, slots=True)
class ConvertRequest:
    """A version to convert into a new version of the same model, or of another."""

    ref: str
    opset: int | None = None
    """Opset of `ai.onnx`; None takes the newest that the runtime takes, or keeps the model's when that is older."""
    ir_version: int | None = None
    """None takes what fits the opset."""
    name: str = ""
    """Model to add it to; empty takes the one it comes from."""
    label: str = ""
    seed: int = 0
    """Of the inputs that both are run on."""
    rtol: float = 1e-3
    atol: float = 1e-5


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a converted file is, before it is added."""

    opset_before: int
    opset: int
    ir_before: int
    ir_version: int
    by: str = ""
    """Tool and version that wrote it; the program itself where only numbers had to change."""
    compared_with: str = ""
    """What the original's outputs came from: `onnxruntime`, or `onnx reference` where the runtime cannot run it."""

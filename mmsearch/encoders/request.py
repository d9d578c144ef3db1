"""What was asked for of a library's model, and what comes of it: where the library has one, and where it has not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from indexer.errors import ModelMismatchError, UsageError
from indexer.types import ModelSpec
from mmsearch.encoders.events import OnModelEvent
from mmsearch.encoders.models import AUTO
from mmsearch.encoders.names import are_different, parse, said_apart, short_name, speech_of, unpinned, with_speech
from mmsearch.encoders.precision import named_precision
from mmsearch.encoders.speech_source import canonical_speech


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A model, a recogniser of speech and a number type, each None where nothing was said.

    `on_event` is told which model was chosen, and what is fetched.
    """

    model: str | None = None
    speech: str | None = None
    precision: str | None = None
    on_event: OnModelEvent | None = None

    @classmethod
    def of(
        cls, model: str | None, speech: str | None, precision: str | None, on_event: OnModelEvent | None
    ) -> ModelRequest:
        """A request in the words of a caller, for whom "auto" says nothing.

        Raises:
            UnknownModelError: there is no such recogniser of speech.
            UsageError: there is no such precision.
        """
        return cls(
            None if model == AUTO else model,
            None if speech is None else canonical_speech(speech),
            named_precision(precision, "the call"),
            on_event,
        )

    @property
    def says_nothing(self) -> bool:
        """Whether all is left to us."""
        return self.model is None and self.speech is None and self.precision is None

    def for_new_library(self, default: str) -> tuple[str, str | None]:
        """The name and precision of the model for a library that has none. "auto" is decided here, and fetched.

        Raises:
            UsageError: there is no GPU for float16.
        """
        if self.precision == "float16":
            from mmsearch.encoders.devices import check_gpu

            check_gpu(self.precision)
        model = self.model or default
        if model == AUTO:
            from mmsearch.encoders.choose import choose_model

            model = choose_model(self.on_event)
        return with_speech(model, self.speech), self.precision

    def for_library(self, spec: ModelSpec) -> tuple[str, str | None]:
        """The name and precision of a library's model: what made its vectors, wherever its files lie now."""
        same = self.model is None or unpinned(self._whole_name(spec)) == unpinned(spec.name)
        return spec.name if same else self._whole_name(spec), spec.precision

    def check(self, library: Path, spec: ModelSpec) -> None:
        """Refuse what is surely not the library's, before any weights are looked for.

        Raises:
            ModelMismatchError: another model, recogniser of speech or precision was asked for than made the library.
        """
        if self.speech is not None and said_apart(self.speech, speech_of(spec.name)):
            raise _mismatch(library, "speech", speech_of(spec.name), self.speech)
        if self.model is not None and are_different(self._whole_name(spec), spec.name):
            raise ModelMismatchError(
                f"the library at {library} was made with the model {short_name(spec.name)!r}, not with {self.model!r},"
                " and vectors of two models cannot be compared; leave --model out to use the library's own, or make"
                " another library with --library"
            )
        has = spec.precision or "float32"
        if self.precision is not None and self.precision != has:
            raise _mismatch(library, "precision", has, self.precision)

    def _whole_name(self, spec: ModelSpec) -> str:
        """The model asked for, with the library's recogniser where the name says none."""
        found = parse(self.model or "")
        if self.model is None:
            raise UsageError("no model was asked for")
        return self.model if found is None or found.speech else with_speech(self.model, speech_of(spec.name))


def _mismatch(library: Path, what: str, has: str, asked: str) -> ModelMismatchError:
    return ModelMismatchError(
        f"the library at {library} was made with --{what} {has}, not with {asked}, and what two of them make is not"
        f" mixed; leave --{what} out to use the library's own, or make another library with --library"
    )

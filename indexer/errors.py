"""Every error that indexer and mmsearch raise on purpose, in one tree.

    MmsearchError
    ├── UsageError                what was asked cannot be done as asked
    ├── CancelledError            whoever asked for it has stopped it
    ├── LibraryError              something about the library on disk
    │   ├── LibraryNotFoundError      there is none at that place
    │   ├── EmptyLibraryError         nothing has been indexed in it yet
    │   ├── LibraryLockedError        another process is writing to it
    │   ├── LibraryVersionError       a newer mmsearch made it
    │   ├── LibraryDamagedError       the database cannot be read
    │   └── ModelMismatchError        another model made its vectors
    ├── ModelError                a model is unknown, or cannot be loaded
    │   ├── UnknownModelError         there is none of that name: a UsageError, too
    │   └── WeightsError              its weights are missing or not the promised ones
    └── MediaError                one media file cannot be used
        ├── UnsupportedMediaError     not a kind of file that mmsearch reads
        ├── DamagedMediaError         empty, truncated, or not what it says
        └── MediaTooLargeError        decoding it would cost too much

Each message says what was found, what was expected, and what to do. What is done about it by a command or an option
stands apart, so that whoever asks from elsewhere is not told of commands. While a folder is indexed a `MediaError` is
recorded beside its file and the run goes on.
"""

from __future__ import annotations


class MmsearchError(Exception):
    """The root of the tree: catch this to catch them all.

    `str` of an error is all of it, as the command line prints it: the message, and the advice behind it.

    Args:
        message: what was found and what was expected; as true over a network as at the command line.
        advice: what to do about it with a command or an option of one. It ends the sentence, and begins with the "; "
            or ", " before it.
        hint: what to do about it by asking in JSON or with an address, where that is not said yet.
    """

    def __init__(self, message: str = "", advice: str = "", *, hint: str | None = None) -> None:
        super().__init__(message + advice)
        self.message = message
        self.advice = advice
        self.hint = hint


class UsageError(MmsearchError):
    """What was asked cannot be done as asked."""


class CancelledError(MmsearchError):
    """Stopped by whoever asked for it, before there was a result."""


class LibraryError(MmsearchError):
    """Something is wrong with the library on disk."""


class LibraryNotFoundError(LibraryError):
    """There is no library at that place."""


class EmptyLibraryError(LibraryError):
    """Nothing has been indexed in the library yet."""


class LibraryLockedError(LibraryError):
    """Another process is writing to the library."""


class LibraryVersionError(LibraryError):
    """A newer version of mmsearch made the library."""


class LibraryDamagedError(LibraryError):
    """The library's database cannot be read."""


class ModelMismatchError(LibraryError):
    """Another model than the one asked for made the library's vectors."""


class ModelError(MmsearchError):
    """A model is unknown, or cannot be loaded."""


class UnknownModelError(ModelError, UsageError):
    """No model has the name that was given."""


class WeightsError(ModelError):
    """A model's weights are missing, damaged or not the promised ones."""


class MediaError(MmsearchError):
    """One media file cannot be used."""


class UnsupportedMediaError(MediaError):
    """The file is not of a kind that mmsearch reads."""


class DamagedMediaError(MediaError):
    """The file is empty, truncated, or not what it says."""


class MediaTooLargeError(MediaError):
    """Decoding the file would cost more than the limits allow."""

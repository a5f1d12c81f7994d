"""Record images and image-text pairs that cannot be used, and why."""
import enum

import torch

from ..io.text_files import display_name


class Reason(enum.IntEnum):
    """State of one image of the dataset; all from ``MISSING`` on are bad."""

    UNTRIED = 0
    GOOD = 1
    MISSING = 2
    UNREADABLE = 3
    EMPTY = 4
    NOT_AN_IMAGE = 5
    DAMAGED = 6
    TOO_LARGE = 7
    # Of image-text pairs.
    NO_TEXT = 8
    EMPTY_TEXT = 9
    BAD_TEXT = 10
    NO_IMAGE = 11
    NOT_DOWNLOADED = 12
    # Of images again.
    OTHER_FORMAT = 13

    @property
    def sentence(self) -> str:
        return _SENTENCES[self]


_SENTENCES = {
    Reason.UNTRIED: 'not tried yet',
    Reason.GOOD: 'good',
    Reason.MISSING: 'file not found',
    Reason.UNREADABLE: 'file cannot be read',
    Reason.EMPTY: 'empty file',
    Reason.NOT_AN_IMAGE: 'not an image Pillow knows',
    Reason.DAMAGED: 'truncated or damaged image',
    Reason.TOO_LARGE: 'more pixels than the limit',
    Reason.NO_TEXT: 'no caption',
    Reason.EMPTY_TEXT: 'empty caption',
    Reason.BAD_TEXT: 'caption is not readable text',
    Reason.NO_IMAGE: 'caption without an image',
    Reason.NOT_DOWNLOADED: 'URL without a local file',
    Reason.OTHER_FORMAT: 'of a format that is not opened',
}


class BadImage(ValueError):
    """An image file, or the caption that belongs to it, cannot be used.

    Args:
        path: The image file.
        reason: Why, as a :class:`Reason`.
        detail: Error message of the library that read it.
    """

    def __init__(self, path: str, reason: Reason, detail: str = '') -> None:
        # All arguments go to the base class, so that the exception can be pickled
        # from a worker to the main process.
        super().__init__(path, reason, detail)
        self.path, self.reason, self.detail = path, Reason(reason), detail

    def __str__(self) -> str:
        detail = f' ({self.detail})' if self.detail else ''
        return f'{display_name(self.path)}: {self.reason.sentence}{detail}'


class ImagesGone(FileNotFoundError):
    """The folder, archive or disk that the images are read from is gone."""


class ImageStatus:
    """One byte per image in shared memory: untried, good, or why it is bad.

    Workers write, the main process reads: the table is in memory that forked and
    spawned workers share with the process that built the dataset.

    Args:
        num_images: Length of the dataset.
    """

    def __init__(self, num_images: int) -> None:
        self.table = torch.zeros(num_images, dtype=torch.uint8).share_memory_()
        self._news = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def num_news(self) -> int:
        """A counter that changes whenever an image is found bad; cheap to read."""
        return int(self._news)

    def set_good(self, idx: int) -> None:
        self.table[idx] = int(Reason.GOOD)

    def set_bad(self, idx: int, reason: Reason) -> bool:
        """Record why image ``idx`` is bad; returns whether that is new."""
        if self.table[idx] == int(reason):
            return False
        self.table[idx] = int(reason)
        self._news += 1
        return True

    def is_bad(self, idx: int) -> bool:
        """Whether image ``idx`` is known to be bad."""
        return bool(self.table[idx] >= Reason.MISSING)

    def counts(self) -> tuple[int, int]:
        """(images tried, images found bad) so far, by all workers together."""
        tried = int((self.table != Reason.UNTRIED).sum())
        return tried, int((self.table >= Reason.MISSING).sum())

    def bad(self) -> list[tuple[int, Reason]]:
        """Index and reason of every bad image, in the order of the dataset."""
        indices = (self.table >= Reason.MISSING).nonzero().flatten().tolist()
        return [(idx, Reason(int(self.table[idx]))) for idx in indices]

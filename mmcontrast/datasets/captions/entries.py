"""Collect the captions of each image, and list the pairs that cannot be used."""
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..bad_images import Reason


class Entry(NamedTuple):
    """One image-text pair as it stands in a file.

    Attributes:
        path: Of the image; None if the file does not say.
        text: The caption; anything but a string with letters makes the pair bad.
        place: Where in the file, for messages: 'line 12', 'annotation 7'.
    """

    path: str | None
    text: object
    place: str


@dataclass(frozen=True)
class CaptionList:
    """What a file of image-text pairs holds.

    Attributes:
        images: ``dict(img_path=..., texts=(...))``, one for each image with a usable
            caption, in the order of the file.
        num_pairs: Image-text pairs in the file, bad ones included.
        skipped: (image and place in the file, reason) of the bad ones.
    """

    images: list[dict]
    num_pairs: int
    skipped: list[tuple[str, Reason]]


def collect(entries: Iterable[Entry], ann_file: str, locate: Callable[[str], str],
            local_files: Mapping[str, str] | None = None) -> CaptionList:
    """Group the pairs of a file by image.

    Args:
        entries: The pairs.
        ann_file: Their file, for messages.
        locate: Makes the full path out of a path in the file.
        local_files: Local path of every URL that was downloaded.

    Raises:
        ValueError: If an image is a URL and ``local_files`` is not given.
    """
    texts: dict[str, list[str]] = {}
    skipped, num_pairs = [], 0
    for path, text, place in entries:
        num_pairs += 1
        reason = _text_problem(text)
        if not path:
            path, reason = ann_file, Reason.NO_IMAGE
        elif is_url(path):
            if local_files is None:
                raise ValueError(_no_download(ann_file, path, place))
            if path in local_files:
                path = local_files[path]
            else:
                reason = Reason.NOT_DOWNLOADED
        if reason:
            skipped.append((f'{path} ({place})', reason))
        else:
            texts.setdefault(locate(path), []).append(text.strip())
    images = [dict(img_path=path, texts=tuple(found)) for path, found in texts.items()]
    return CaptionList(images, num_pairs, skipped)


def parse_caption(text: object) -> tuple[str, ...] | Reason:
    """Captions of one image: a string, or a list of strings; else what is wrong."""
    texts = text if isinstance(text, list | tuple) and text else [text]
    problems = [_text_problem(one) for one in texts]
    good = tuple(one.strip() for one, problem in zip(texts, problems, strict=True)
                 if not problem)
    return good or problems[0]


def is_url(path: str) -> bool:
    """Whether a path is a web address."""
    return path.lower().startswith(('http://', 'https://', 'ftp://'))


def _text_problem(text: object) -> Reason | None:
    if text is None:
        return Reason.NO_TEXT
    if not isinstance(text, str):
        return Reason.BAD_TEXT
    return None if text.strip() else Reason.EMPTY_TEXT


def _no_download(ann_file: str, url: str, place: str) -> str:
    return (
        f'{ann_file}, {place}: the image is the URL {url!r}, and nothing is downloaded '
        'here. Download the images once, e.g. with img2dataset (--output_format '
        'webdataset) and read its shards with ShardedPairs, name a column of local '
        'paths (image_column=...), or list URL<TAB>PATH in a file (local_files=...).')

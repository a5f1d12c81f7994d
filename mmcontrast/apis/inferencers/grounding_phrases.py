"""Read the phrases to look for: the same for all images, or some for each."""
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...datasets.captions.entries import Entry, collect
from ...datasets.captions.json_files import read_json
from ...datasets.captions.tables import is_tab_separated, read_table
from ...datasets.listed_paths import spellings
from ...errors import UserValueError
from ...io.text_files import display_name, read_text, split_lines
from .images import ImageSource

#: What an inferencer takes as phrases.
Phrases = str | Path | Sequence | Mapping

_TABLES, _JSON = ('.csv', '.tsv'), ('.json', '.jsonl')
_SUFFIXES = ('.txt', *_TABLES, *_JSON)


def asked_phrases(phrases: Phrases, sources: Sequence[ImageSource], notes: list[str]
                  ) -> list[tuple[str, ...]]:
    """The phrases of each image.

    Args:
        phrases: One of

            - phrases as on a command line, ``'the left cup;a dog'``;
            - a list of phrases, for every image;
            - a list of lists, one for each image, in their order;
            - a mapping from images to a phrase or a list of them;
            - a file: text, a phrase a line for every image (``#`` begins a comment); a
              table of images and phrases (CSV or TSV, with a header such as
              ``image,phrase``); JSON, a list of phrases, a mapping, or
              ``[{"image": ..., "phrases": [...]}]``.

            Images are named by their path, as it is, from the file that lists it, or
            below the folder that was given; or by their file name, where it is
            the only one.
        sources: The images.
        notes: Takes sentences about images without phrases, and the other way round.

    Returns:
        A tuple an image; () for images without phrases.

    Raises:
        FileNotFoundError: If a file is missing.
        UserValueError: If there are none, one is empty, or they fit no image.
    """
    place = 'phrases'
    if isinstance(phrases, str | Path):
        phrases, place = _read_text(phrases)
    folder = os.path.dirname(os.path.abspath(place)) if place != 'phrases' else ''
    if isinstance(phrases, Mapping):
        listed = {str(image): _checked([texts] if isinstance(texts, str) else texts,
                                       f'{place}, {display_name(str(image))}')
                  for image, texts in phrases.items()}
        return _by_image(listed, sources, folder, place, notes)
    if not isinstance(phrases, Sequence):
        raise UserValueError(f'{place}: expected phrases, a list or mapping of them, or'
                             f' a file, got {type(phrases).__name__}.')
    if phrases and all(isinstance(each, list | tuple) for each in phrases):
        if len(phrases) != len(sources):
            raise UserValueError(
                f'{place}: {len(phrases)} lists of phrases for {len(sources)} images. '
                'Give one list an image, or a flat list for all images.')
        return [_checked(each, f'{place}[{i}]') for i, each in enumerate(phrases)]
    return [_checked(phrases, place)] * len(sources)


def _read_text(named: str | Path) -> tuple[Any, str]:
    """Phrases of a file or a command line, and what messages call their place."""
    path = Path(os.path.expanduser(named))  # leaves the user of '~nobody' as it is
    # Not path.is_file(), which fails for a text that is too long for a file name.
    if os.path.isfile(path):
        return _read_file(str(path)), str(path)
    if isinstance(named, Path) or ';' not in named and path.suffix.lower() in _SUFFIXES:
        raise FileNotFoundError(
            f'No phrases at {named}. Expected a text file, a phrase a line, or a table '
            'or JSON file of images and phrases.')
    return [text.strip() for text in named.split(';') if text.strip()], 'phrases'


def _read_file(path: str) -> Sequence | Mapping:
    suffix = os.path.splitext(path)[1].lower()
    if suffix in _JSON:
        return _read_json(path)
    if suffix in _TABLES or is_tab_separated(path):
        tabs = is_tab_separated(path)
        return _grouped(read_table(path, '\t' if tabs else ',', quoted=not tabs), path)
    lines = map(str.strip, split_lines(read_text(path)))
    return [line for line in lines if line and not line.startswith('#')]


def _read_json(path: str) -> Sequence | Mapping:
    if path.lower().endswith('.json'):
        text = read_text(path)
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserValueError(f'{path} is not valid JSON: {error}.') from None
        if isinstance(content, list) and all(isinstance(each, str) for each in content):
            return content
        if isinstance(content, dict) and not isinstance(content.get('images'), list):
            return content
        if not isinstance(content, dict) and not _lists_images(content):
            raise UserValueError(
                f'{path} holds no phrases: expected a list of phrases, '
                '{image: [phrase, ...]} or [{"image": ..., "phrases": [...]}], got '
                f'{text.strip()[:60]}.')
    return _grouped(read_json(path), path)


def _lists_images(content: Any) -> bool:
    return isinstance(content, list) and all(isinstance(e, dict) for e in content)


def _grouped(entries: Iterable[Entry], path: str) -> dict[str, tuple[str, ...]]:
    """The phrases of each image that a file lists."""
    found = collect(entries, path, lambda listed: listed)
    if found.skipped:
        where, reason = found.skipped[0]
        raise UserValueError(f'{path}: {where}: {reason.sentence}. Correct or remove '
                             f'{len(found.skipped)} of its {found.num_pairs} phrases.')
    return {image['img_path']: image['texts'] for image in found.images}


def _checked(phrases: Any, place: str) -> tuple[str, ...]:
    """Phrases that are text and not empty."""
    if not isinstance(phrases, list | tuple) or not phrases:
        raise UserValueError(
            f"{place}: expected at least one phrase, such as 'the left cup', got "
            f'{phrases!r}.')
    for i, phrase in enumerate(phrases):
        if not isinstance(phrase, str) or not phrase.strip():
            raise UserValueError(f'{place}: phrase {i + 1} of {len(phrases)} must be '
                                 f'text that is not empty, got {phrase!r}.')
    return tuple(phrase.strip() for phrase in phrases)


def _by_image(listed: Mapping[str, tuple[str, ...]], sources: Sequence[ImageSource],
              folder: str, place: str, notes: list[str]) -> list[tuple[str, ...]]:
    """Assign phrases to the images that are meant."""
    known, found, unknown = _names(sources), [()] * len(sources), []
    for path, texts in listed.items():
        numbers = _meant(path, known, folder)
        if len({_identity(sources[number]) for number in numbers}) > 1:
            raise UserValueError(
                f'{place}: {display_name(path)} may be '
                f'{" or ".join(_identity(sources[i]) for i in numbers[:3])}; write its '
                'path.')
        for number in numbers:
            found[number] += texts
        unknown += [] if numbers else [path]
    if not any(found):
        first = f', the first is {display_name(unknown[0])}' if unknown else ''
        raise UserValueError(
            f'{place}: none of its {len(listed)} images is among the {len(sources)} '
            f'that were given{first}; these begin with {display_name(sources[0].name)}.'
            ' Name images by their path, or as below the folder that is given.')
    without = [source.name for source, texts in zip(sources, found, strict=True)
               if not texts]
    for names, what in ((without, 'of the images have no phrase and were left out'),
                        (unknown, 'images with phrases were not given')):
        if names:
            notes.append(f'{place}: {len(names)} {what}, the first is '
                         f'{display_name(names[0])}.')
    return found


def _names(sources: Sequence[ImageSource]) -> dict[str, list[int]]:
    """By which names an image may be called, and the numbers of the images."""
    known: dict[str, list[int]] = {}
    for number, source in enumerate(sources):
        names = {source.name, os.path.basename(source.name)}
        if isinstance(source.image, str):
            names.add(os.path.abspath(source.image))
        for name in names:
            known.setdefault(name, []).append(number)
    return known


def _meant(path: str, known: Mapping[str, list[int]], folder: str) -> list[int]:
    """Numbers of the images that a path may mean, in the closest reading."""
    for spelling in spellings(os.path.expanduser(path)):
        for name in (os.path.abspath(os.path.join(folder, spelling)),
                     os.path.abspath(spelling), os.path.normpath(spelling),
                     os.path.basename(spelling)):
            if name in known:
                return known[name]
    return []


def _identity(source: ImageSource) -> str:
    return source.image if isinstance(source.image, str) else source.name

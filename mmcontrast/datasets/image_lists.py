"""List the images of a folder, zip, lmdb, text list or COCO file.

Each function returns a list of ``dict(img_path=...)`` in a fixed order, with an integer
``label`` where requested.
"""
import json
import os
from collections.abc import Callable, Sequence

from mmengine.fileio import exists, get_file_backend, get_text, isdir, join_path

from .storage.addresses import archive_address, archive_scheme
from .storage.lmdb_backend import lmdb_keys
from .storage.zip_backend import zip_members

IMAGE_SUFFIXES = (
    '.jpg', '.jpeg', '.png', '.webp', '.bmp', '.ppm', '.pgm', '.tif', '.tiff')


def list_folder(folder: str, suffixes: Sequence[str] = IMAGE_SUFFIXES,
                with_label: bool = False) -> tuple[list[dict], list[str]]:
    """All images under ``folder``, recursively, sorted by path.

    Hidden files and folders (names with a leading dot) are left out.

    Returns:
        The images, and with ``with_label`` the class names: the sorted names of the
        folders right below ``folder``, as in ImageNet.

    Raises:
        FileNotFoundError: If the folder is missing or holds no image.
    """
    if not exists(folder):
        raise FileNotFoundError(
            f'No folder {folder!r} (looked for {os.path.abspath(folder)}). Set '
            'data_root and data_prefix of the data set to the folder of your images.')
    if not isdir(folder):
        raise FileNotFoundError(
            f'{folder!r} is a file, not a folder. data_root takes a folder or a .zip '
            'archive; a list of images goes to ann_file.')
    files = get_file_backend(folder).list_dir_or_file(
        folder, list_dir=False, recursive=True)
    paths = _only_images(files, suffixes, folder)
    return _with_classes(paths, folder, with_label, lambda p: join_path(folder, p))


def list_archive(archive: str, inside: str = '',
                 suffixes: Sequence[str] = IMAGE_SUFFIXES, with_label: bool = False
                 ) -> tuple[list[dict], list[str]]:
    """All images of a zip or lmdb below the path ``inside``, as :func:`list_folder`.

    Keys of an lmdb are paths, its values encoded files.
    """
    if archive_scheme(archive) == 'zip':
        members = [m for m in zip_members(archive) if not m.startswith('__MACOSX/')]
    else:
        members = lmdb_keys(archive)
    inside = f'{inside.strip("/")}/' if inside.strip('/') else ''
    below = (m.removeprefix(inside) for m in members if m.startswith(inside))
    paths = _only_images(below, suffixes, f'{archive}@/{inside}')
    return _with_classes(
        paths, archive, with_label, lambda p: archive_address(archive, inside + p))


def read_text_list(list_file: str, locate: Callable[[str], str],
                   with_label: bool = False) -> list[dict]:
    """Images listed in a text file, one ``path[<TAB>label]`` per line.

    Args:
        list_file: UTF-8 text. Empty lines are skipped; paths may hold dots and spaces.
        locate: Makes the full path out of a path in the list.
        with_label: Whether every line must carry an integer label.
    """
    images = []
    for number, line in enumerate(_text(list_file).splitlines(), start=1):
        path, tab, label = line.rpartition('\t') if '\t' in line else (line, '', '')
        path = path.strip()
        if not path:
            continue
        image = dict(img_path=locate(path))
        if with_label:
            image['label'] = _label(label, list_file, number)
        images.append(image)
    if not images:
        raise ValueError(f'{list_file} names no image; expected one path per line.')
    return images


def read_coco_images(ann_file: str, locate: Callable[[str], str]) -> list[dict]:
    """The images of a COCO annotation file; its annotations are not read.

    Raises:
        ValueError: If the file is not a COCO file or lists no image.
    """
    try:
        images = json.loads(_text(ann_file))['images']
        names = [image['file_name'] for image in images]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{ann_file} is not a COCO file: expected JSON with a list 'images' whose "
            f"entries have a 'file_name', got {type(error).__name__}: {error}."
        ) from None
    if not names:
        raise ValueError(f"{ann_file} lists no image: its 'images' is empty.")
    return [dict(img_path=locate(name)) for name in names]


def _only_images(paths, suffixes, where: str) -> list[str]:
    suffixes = tuple(s.lower() for s in suffixes)
    found = 0
    images = []
    for path in paths:
        found += 1
        hidden = path.startswith('.') or '/.' in path
        if path.lower().endswith(suffixes) and not hidden:
            images.append(path)
    if not images:
        raise FileNotFoundError(
            f'No image in {where}: none of its {found} files ends in '
            f'{" ".join(suffixes)} (upper or lower case).')
    return sorted(images)


def _with_classes(paths: list[str], where: str, with_label: bool,
                  locate: Callable[[str], str]) -> tuple[list[dict], list[str]]:
    if not with_label:
        return [dict(img_path=locate(path)) for path in paths], []
    loose = [path for path in paths if '/' not in path]
    if loose:
        raise ValueError(
            f'with_label=True takes the folders below {where} as classes, but '
            f'{len(loose)} images are in none of them, e.g. {loose[0]!r}.')
    names = [path.split('/')[0] for path in paths]
    classes = sorted(set(names))
    label_of = {name: label for label, name in enumerate(classes)}
    return [dict(img_path=locate(path), label=label_of[name])
            for path, name in zip(paths, names, strict=True)], classes


def _text(path: str) -> str:
    if not exists(path):
        raise FileNotFoundError(
            f'No list of images at {path!r} (looked for {os.path.abspath(path)}).')
    return get_text(path).removeprefix('\ufeff')


def _label(text: str, list_file: str, number: int) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f'{list_file}, line {number}: with_label=True expects '
            f'PATH<TAB>INTEGER, got label {text!r}.') from None

"""Read image-text pairs from JSON: COCO captions, Karpathy splits, plain lists."""
import json
from collections.abc import Collection, Iterator

from ...io.file_kinds import describe_content
from .entries import Entry
from .tables import read_captions

LAYOUTS = """one of
  COCO captions: {"images": [{"id", "file_name"}], "annotations": [{"image_id", \
"caption"}]}
  Karpathy split: {"images": [{"filename", "split", "sentences": [{"raw"}]}]}
  list: [{"image": PATH, "caption": TEXT or [TEXT, ...]}], also one object a line"""
_IMAGE_KEYS = ('image', 'img_path', 'image_path', 'file_name', 'filename', 'filepath')
_CAPTION_KEYS = ('caption', 'captions', 'text', 'texts', 'phrase', 'phrases')


def read_json(ann_file: str, layout: str = 'auto', split: Collection[str] = (),
              encoding: str | None = None) -> Iterator[Entry]:
    """The pairs of a JSON file, in any of the three layouts.

    Args:
        ann_file: File.
        layout: 'coco', 'karpathy', 'list', or 'auto', which looks at the content.
        split: Parts of a Karpathy split to take, e.g. ``('train', 'restval')``; empty
            takes all.
        encoding: Of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file has another layout, or an image id twice.
    """
    content = _parse(ann_file, encoding)
    found = _layout_of(content)
    if found is None or layout not in ('auto', found):
        what = f'looks like {found!r}' if found else f'holds {_describe(content)}'
        wanted = '' if layout == 'auto' else f' with format={layout!r}'
        raise ValueError(
            f'{ann_file} is not a file of captions{wanted}: it {what}. Expected '
            f'{LAYOUTS}.')
    if split and found != 'karpathy':
        raise ValueError(
            f'split={list(split)} selects from a Karpathy split; {ann_file} is '
            f'{found!r}. Leave split out.')
    if found == 'coco':
        return _coco_entries(content, ann_file)
    if found == 'karpathy':
        return _karpathy_entries(content['images'], ann_file, split)
    return _list_entries(content)


def karpathy_splits(ann_file: str, encoding: str | None = None) -> list[str]:
    """Parts of a Karpathy split that a JSON file holds; none for other layouts."""
    content = _parse(ann_file, encoding)
    if _layout_of(content) != 'karpathy':
        return []
    return sorted({str(image.get('split')) for image in content['images']})


def _parse(ann_file: str, encoding: str | None):
    text = read_captions(ann_file, encoding)
    try:
        if ann_file.lower().endswith('.jsonl'):
            # Not splitlines(): U+2028 and others may stand in a caption.
            return [json.loads(line) for line in text.split('\n') if line.strip()]
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        what = describe_content(ann_file)
        what = f'; {what}' if what else '.'
        raise ValueError(f'{ann_file} is not valid JSON: {error}{what}') from None


def _layout_of(content) -> str | None:
    """Layout by the keys that only it has."""
    if isinstance(content, list):
        return 'list' if _are_dicts(content) and content and any(
            key in content[0] for key in _IMAGE_KEYS) else None
    if not isinstance(content, dict) or not _are_dicts(content.get('images')):
        return None
    if any('sentences' in image for image in content['images'][:1]):
        return 'karpathy'
    annotations = content.get('annotations')
    is_coco = _are_dicts(annotations) and (not annotations or any(
        'caption' in annotation for annotation in annotations))
    return 'coco' if is_coco else None


def _are_dicts(items) -> bool:
    return isinstance(items, list) and all(isinstance(item, dict) for item in items)


def _describe(content) -> str:
    if isinstance(content, dict):
        keys = ', '.join(map(repr, list(content)[:8]))
        if 'annotations' in content and _are_dicts(content['annotations']):
            return (f"an object with {keys}, and none of its 'annotations' has a "
                    "'caption' (an instances_*.json?)")
        return f'an object with {keys or "no keys"}'
    if isinstance(content, list):
        first = content[0] if content else 'nothing'
        kind = f'an object with {list(first)[:8]}' if isinstance(first, dict) else (
            repr(first)[:60])
        return f'a list of {len(content)} entries, the first of them {kind}'
    return f'a {type(content).__name__}'


def _coco_entries(content: dict, ann_file: str) -> Iterator[Entry]:
    names: dict = {}
    for image in content['images']:
        if 'id' not in image or 'file_name' not in image:
            raise ValueError(f"{ann_file}: an image without 'id' or 'file_name': "
                             f'{repr(image)[:120]}.')
        if image['id'] in names:
            raise ValueError(
                f'{ann_file}: two images have the id {image["id"]!r}: '
                f'{names[image["id"]]!r} and {image["file_name"]!r}. Captions cannot '
                'be told apart; give every image an id of its own.')
        names[image['id']] = image['file_name']
    without = set(names)
    for number, annotation in enumerate(content['annotations'], start=1):
        image_id = annotation.get('image_id')
        without.discard(image_id)
        yield Entry(names.get(image_id), annotation.get('caption'),
                    f'annotation {annotation.get("id", number)}')
    for image_id in names:
        if image_id in without:
            yield Entry(names[image_id], None, f'image {image_id}')


def _karpathy_entries(images: list[dict], ann_file: str, split: Collection[str]
                      ) -> Iterator[Entry]:
    present = {image.get('split') for image in images}
    unknown = sorted(set(split) - present)
    if unknown:
        raise ValueError(f'{ann_file} has no images of split {unknown}; it has '
                         f'{sorted(map(str, present))}.')
    for number, image in enumerate(images):
        if split and image.get('split') not in split:
            continue
        name = image.get('filename')
        # The COCO file of the Karpathy split has folders, 'train2014', apart.
        path = f'{image["filepath"]}/{name}' if name and image.get('filepath') else name
        sentences = image.get('sentences') or [{}]
        for k, sentence in enumerate(sentences):
            text = sentence.get('raw') if isinstance(sentence, dict) else sentence
            yield Entry(path, text, f'image {image.get("imgid", number)}, sentence {k}')


def _list_entries(content: list[dict]) -> Iterator[Entry]:
    for number, item in enumerate(content):
        path, texts = (next((item[key] for key in keys if key in item), None)
                       for keys in (_IMAGE_KEYS, _CAPTION_KEYS))
        path = path if isinstance(path, str) else None
        texts = texts if isinstance(texts, list) and texts else [texts]
        for text in texts:
            yield Entry(path, text, f'entry {number}')

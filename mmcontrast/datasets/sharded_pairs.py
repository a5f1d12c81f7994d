"""Provide image-text pairs from tar shards in the WebDataset layout."""
import json
from collections.abc import Callable, Sequence

from ..registry import DATASETS
from .bad_images import BadImage, Reason
from .captions.entries import parse_caption
from .image_lists import IMAGE_SUFFIXES
from .shards import ShardedImages
from .storage.tar_index import ImageTable

TEXT_MEMBERS = ('auto', 'txt', 'json')


@DATASETS.register_module()
class ShardedPairs(ShardedImages):
    """Images of tar shards with the captions that lie beside them.

    A sample is an image with a ``.txt``, one caption in UTF-8, or a ``.json`` with one
    caption or a list of them, as img2dataset and open_clip write and read them. The
    headers of the shards are indexed once; ``ShardSampler`` shuffles, splits by rank
    and resumes, see :class:`ShardedImages`.

    The pipeline gets ``img_bytes``, ``img_path`` (``SHARD.tar/MEMBER``) and ``texts``.
    A sample with a missing, empty or unreadable caption is replaced, counted and
    listed like one whose image cannot be decoded.

    Args:
        shards: Paths, see :class:`ShardedImages`.
        text: Member to read: 'txt', 'json', or 'auto', the ``.txt`` if there is one.
        caption_key: Key of the caption in a ``.json``.
        data_root, suffixes, max_bad_share, index_file, pipeline, kwargs: See
            :class:`ShardedImages`.

    Raises:
        FileNotFoundError: If a shard is missing.
        ValueError: If a shard is damaged, or no sample has such a text.
    """

    noun = 'pair'
    with_texts = True

    def __init__(self, shards: str | Sequence[str], text: str = 'auto',
                 caption_key: str = 'caption', data_root: str = '',
                 suffixes: Sequence[str] = IMAGE_SUFFIXES, max_bad_share: float = 0.1,
                 index_file: str | None = None,
                 pipeline: Sequence[dict | Callable] = (), **kwargs) -> None:
        if text not in TEXT_MEMBERS:
            raise ValueError(f'text must be one of {list(TEXT_MEMBERS)}, got {text!r}.')
        if kwargs.get('with_label'):
            raise ValueError('ShardedPairs gives texts, no labels: leave with_label '
                             'out, or use ShardedImages.')
        self.text, self.caption_key = text, caption_key
        super().__init__(
            shards, data_root, suffixes=suffixes, max_bad_share=max_bad_share,
            index_file=index_file, pipeline=pipeline, **kwargs)

    def load_data_list(self) -> ImageTable:
        table = super().load_data_list()
        kinds = ('txt', 'json') if self.text == 'auto' else (self.text,)
        if not any((getattr(table, kind)[:, 0] >= 0).any() for kind in kinds):
            names = ' or '.join(f'.{kind}' for kind in kinds)
            raise ValueError(
                f'None of the {len(table)} samples of {self.source} has a {names} '
                f'beside its image; the first image is {table[0]["img_path"]}. Images '
                'without texts are read by ShardedImages.')
        return table

    def read_item(self, idx: int) -> dict:
        # The caption first: it is cheaper to read than the image.
        texts = self._read_texts(self.get_data_info(idx))
        item = super().read_item(idx)
        del item['txt'], item['json']
        return item | dict(texts=texts)

    def _read_texts(self, info: dict) -> tuple[str, ...]:
        path = info['img_path']
        use_txt = self.text == 'txt' or (self.text == 'auto' and info['txt'][0] >= 0)
        offset, size = info['txt' if use_txt else 'json']
        if offset < 0:
            raise BadImage(path, Reason.NO_TEXT)
        data = self._files.read(info['shard'], offset, size)
        try:
            found = parse_caption(data.decode('utf-8-sig') if use_txt else
                                  _caption_of(data, self.caption_key))
        # UnicodeDecodeError, JSONDecodeError; a .json that is nested too deeply.
        except (ValueError, RecursionError) as error:
            raise BadImage(path, Reason.BAD_TEXT, str(error)) from None
        if isinstance(found, Reason):
            detail = '' if use_txt else f'{self.caption_key!r} of its .json'
            raise BadImage(path, found, detail)
        return found


def _caption_of(data: bytes, key: str) -> object:
    content = json.loads(data.decode('utf-8-sig')) if data.strip() else {}
    if not isinstance(content, dict):
        raise ValueError(f'expected an object with {key!r}, got '
                         f'{type(content).__name__}')
    return content.get(key)

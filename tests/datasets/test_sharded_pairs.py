"""Image-text pairs in tar shards: which text belongs to an image, and bad ones."""
import json

import numpy as np
import pytest

from mmcontrast.datasets import Reason, ShardedImages, ShardedPairs, ShardSampler
from mmcontrast.datasets.storage import tar_index
from tests.datasets.test_shards import encoded, number, write_tar


def texts(results):
    return number(results), list(results['texts'])


def sharded(folder, kind=ShardedPairs, **options):
    return kind('*.tar', data_root=str(folder), **dict(pipeline=[texts]) | options)


def members(**files):
    """Members of a shard: ``a_txt='x'`` is the text x in ``a.txt``."""
    return {name.replace('_', '.'): data if isinstance(data, bytes) else data.encode()
            for name, data in files.items()}


def write_pairs(folder, sizes, suffix='txt'):
    first = 0
    for k, size in enumerate(sizes):
        write_tar(folder / f's-{k}.tar', {
            f'{n:03}.{kind}': data for n in range(first, first + size)
            for kind, data in ((suffix, b'text %d' % n), ('png', encoded(n)))})
        first += size
    return folder


def test_a_txt_is_one_caption_and_a_json_one_or_several(tmp_path):
    write_tar(tmp_path / 'a.tar', members(
        a_png=encoded(1), a_txt='\ufeff a cat \n', b_json=json.dumps(dict(caption='b')),
        b_png=encoded(2), c_png=encoded(3), c_txt='c',
        c_json=json.dumps(dict(caption=['d', ' ', 'e'], title='f'))))
    dataset = sharded(tmp_path)
    assert [dataset[k] for k in range(3)] == [(1, ['a cat']), (2, ['b']), (3, ['c'])]
    assert sharded(tmp_path, text='json')[2] == (3, ['d', 'e'])
    assert sharded(tmp_path, text='json', caption_key='title', max_bad_share=1
                   )[2] == (3, ['f'])
    item = sharded(tmp_path, pipeline=[dict])[1]
    assert item['img_path'] == f'{tmp_path}/a.tar/b.png'


def test_the_text_has_the_name_of_the_image_also_with_dots(tmp_path):
    write_tar(tmp_path / 'a.tar', {
        'd/my.first.png': encoded(1), 'd/my.first.txt': b'one',
        'd/my.second.png': encoded(2), 'd/my.second.txt': b'two',
        'e/my.png': encoded(3), 'e/my.txt': b'three', 'e/my.other.txt': b'no'})
    dataset = sharded(tmp_path)
    assert [dataset[k] for k in range(3)] == [
        (1, ['one']), (2, ['two']), (3, ['three'])]


def test_bad_texts_are_replaced_counted_and_listed(tmp_path):
    files = {f'{k:03}.{kind}': data for k in range(40)
             for kind, data in (('png', encoded(k)), ('txt', b't%d' % k))}
    files |= {'003.txt': b' \n', '007.txt': b'caf\xe9'}
    del files['005.txt']
    files['005.json'] = b'{"text": "the key is another"}'
    files['009.png'] = b'nope'
    write_tar(tmp_path / 'a.tar', files)
    dataset = sharded(tmp_path, max_bad_share=0.4)
    for k in range(40):
        shown, found = dataset[k]
        assert found == [f't{shown}'] and (shown == k) == (k not in (3, 5, 7, 9))
    assert [(path.rpartition('/')[2], reason) for path, reason in
            dataset.bad_images()] == [
        ('003.png', Reason.EMPTY_TEXT), ('005.png', Reason.NO_TEXT),
        ('007.png', Reason.BAD_TEXT), ('009.png', Reason.NOT_AN_IMAGE)]
    assert dataset.status.counts() == (40, 4)
    with pytest.raises(ValueError, match=r'(?s)pairs .* of \*.tar cannot be used.*'
                                         '003.png: empty caption'):
        dataset = sharded(tmp_path, max_bad_share=0.05)
        [dataset[k] for k in range(40)]


@pytest.mark.parametrize('content', [
    '{"caption": ', '["a"]', '{"caption": 3}', '[' * 100_000], ids=range(4))
def test_json_that_holds_no_caption_is_a_bad_text(tmp_path, content):
    write_tar(tmp_path / 'a.tar', members(
        a_png=encoded(1), a_json=content, b_png=encoded(2), b_json='{"caption": "b"}'))
    dataset = sharded(tmp_path, max_bad_share=1)
    assert dataset[0] == (2, ['b'])
    assert dataset.bad_images() == [(f'{tmp_path}/a.tar/a.png', Reason.BAD_TEXT)]


def test_shards_without_texts_are_an_error(tmp_path):
    write_tar(tmp_path / 'a.tar', members(a_png=encoded(1), a_txt='a'))
    with pytest.raises(ValueError, match=r'None of the 1 samples.*has a .json.*a.png'):
        sharded(tmp_path, text='json')
    with pytest.raises(ValueError, match='text must be one of'):
        sharded(tmp_path, text='caption')
    with pytest.raises(ValueError, match='no labels'):
        sharded(tmp_path, with_label=True)


def test_an_index_serves_images_and_pairs_and_an_older_one_is_replaced(
        tmp_path, monkeypatch):
    write_pairs(tmp_path, [3, 2])
    assert sharded(tmp_path)[4] == (4, ['text 4'])
    index = tmp_path / 's-0.2-shards.npz'
    scan, scanned = tar_index.scan_shard, []
    monkeypatch.setattr(tar_index, 'scan_shard', lambda *args: (
        scanned.append(args[0]) or scan(*args)))
    images = sharded(tmp_path, ShardedImages, pipeline=[number])
    assert images[4] == 4 and images.data_list.txt is None and not scanned
    # What an earlier version wrote: another format, no columns of texts.
    stored = {k: v for k, v in np.load(index).items() if k not in ('txt', 'json')}
    np.savez(index, **stored | dict(format=1))
    assert sharded(tmp_path)[4] == (4, ['text 4']) and len(scanned) == 2
    assert sharded(tmp_path)[1] == (1, ['text 1']) and len(scanned) == 2


def test_the_sampler_orders_pairs_and_subsets_keep_their_texts(tmp_path):
    dataset = sharded(write_pairs(tmp_path, [5, 3, 4], 'txt'))
    order = ShardSampler(dataset, seed=1, buffer_size=3).order(0)
    assert sorted(order.tolist()) == list(range(12))
    assert [dataset[k] for k in order[:4]] == [(k, [f'text {k}']) for k in order[:4]]
    assert dataset.get_subset([11, 2])[0] == (11, ['text 11'])

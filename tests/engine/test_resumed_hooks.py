"""Counts of hooks and the status of a data set survive a resume."""
import random
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from mmcontrast.datasets.images import UnlabeledImages
from mmcontrast.engine.hooks import BadImagesHook, PretrainMonitorHook


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / 'images'
    images.mkdir()
    for k in range(30):
        Image.new('RGB', (8, 8), (k, k, k)).save(images / f'{k:02}.png')
    for k in (4, 9):
        (images / f'{k:02}.png').write_bytes(b'')
    return images


def dataset(folder, **options):
    return UnlabeledImages(str(folder), pipeline=[dict(type='LoadImage')], **options)


def through_a_file(checkpoint, path):
    torch.save(checkpoint, path)
    return torch.load(path, weights_only=True)


def test_the_list_of_bad_images_is_continued(folder, tmp_path):
    def runner(data, step):
        return SimpleNamespace(work_dir=str(tmp_path), iter=step, hooks=[],
                               train_dataloader=SimpleNamespace(dataset=data))
    first, hook, checkpoint = dataset(folder), BadImagesHook(), {}
    hook.before_train(runner(first, 0))
    for k in range(20):
        first[k]
    hook.before_save_checkpoint(None, checkpoint)
    checkpoint = through_a_file(checkpoint, tmp_path / 'x.pth')

    resumed, again = dataset(folder), BadImagesHook()
    again.after_load_checkpoint(None, checkpoint)
    again.before_train(runner(resumed, 5))
    # Good ones, too: the share of bad ones would else be judged from bad ones alone.
    assert resumed.status.counts() == first.status.counts()
    again.after_train_iter(runner(resumed, 5), 0)
    assert (tmp_path / 'bad_images.txt').read_text().count('empty file') == 2

    fresh, other = dataset(folder), BadImagesHook()
    other.after_load_checkpoint(None, checkpoint)
    other.before_train(runner(fresh, 0))  # load_from: the weights of another run
    assert fresh.status.counts() == (0, 0)


def test_the_stand_in_of_a_bad_image_does_not_depend_on_what_was_met_before(folder):
    """A resumed run, or another worker, has met other bad images."""
    data = dataset(folder, max_bad_share=1.0)
    for seed in range(40):
        chosen = []
        for known in (False, True):
            data._reset_status()
            if known:
                data[9]
            random.seed(seed)
            chosen.append(data[4]['img_path'])
        assert chosen[0] == chosen[1]


def test_the_monitor_warns_once_and_after_its_patience_over_a_resume(tmp_path):
    hook, checkpoint = PretrainMonitorHook(), {}
    hook._low_intervals['feature_std'] = 3
    hook._warned.add('pairs')
    hook.before_save_checkpoint(None, checkpoint)
    checkpoint = through_a_file(checkpoint, tmp_path / 'x.pth')
    for step, expected in ((7, (3, {'pairs'})), (0, (0, set()))):
        again = PretrainMonitorHook()
        again.after_load_checkpoint(None, checkpoint)
        again.before_train(SimpleNamespace(
            iter=step, hooks=[], model=torch.nn.Linear(1, 1)))
        assert (again._low_intervals['feature_std'], again._warned) == expected

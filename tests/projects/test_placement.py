"""The settings in projects/placement: the same but for what is pasted."""
import subprocess
from pathlib import Path

import mmdet.datasets  # noqa: F401
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from mmcontrast.apis.data.make_shapes import make_shapes
from mmcontrast.apis.data.place_objects import place_objects
from tests.helpers import tiny_topnet

PROJECT = Path(__file__).parents[2] / 'projects/placement'
PASTED = ('placed', 'random')


def setting(name):
    ending = f'-{name}' if name else ''
    return Config.fromfile(
        PROJECT / f'configs/faster-rcnn_r18-fpn_1xb4-200it_shapes{ending}.py')


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('files')
    scenes = make_shapes(folder / 'scenes', train=6, val=0, progress=False)
    config, checkpoint, _, _ = tiny_topnet.write_files(folder)
    bank = place_objects(
        config, checkpoint, scenes / 'annotations/instances_train.json',
        folder / 'bank', scenes / 'images/train', with_occluded=True, device='cpu',
        progress=False).path
    return scenes, bank


def dataset(name, files):
    """As the script sets it."""
    config = setting(name).train_dataloader.dataset
    (config.dataset if name == 'mixed' else config).data_root = f'{files[0]}/'
    if name in PASTED:
        config.pipeline[2].bank = str(files[1])
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DATASETS.build(config)


def test_settings_differ_in_what_is_pasted_alone():
    plain, placed, at_random, mixed = (
        setting(name) for name in ('', 'placed', 'random', 'mixed'))
    steps = placed.train_dataloader.dataset.pipeline
    assert [steps[2].placement, at_random.train_dataloader.dataset.pipeline[
        2].placement] == list(PASTED)
    at_random.train_dataloader.dataset.pipeline[2].placement = 'placed'
    assert steps == at_random.train_dataloader.dataset.pipeline
    assert [*steps[:2], *steps[3:]] == plain.train_dataloader.dataset.pipeline
    for other in (placed, at_random, mixed):
        for key in ('model', 'test_dataloader', 'optim_wrapper', 'param_scheduler',
                    'train_cfg'):
            assert other[key] == plain[key]
    assert plain.model.roi_head.bbox_head.num_classes == len(plain.classes)


@pytest.mark.parametrize('name', ['', 'placed', 'random', 'mixed'])
def test_every_setting_loads_its_data(files, name):
    plain, own = dataset('', files), dataset(name, files)
    assert len(own) == len(plain) == 6
    counts = [[len(data[k]['data_samples'].gt_instances) for k in range(6)]
              for data in (plain, own)]
    assert (sum(counts[1]) > sum(counts[0])) == bool(name)


def test_the_script_is_valid_bash_and_names_files_that_exist():
    script = PROJECT / 'copy_paste.sh'
    subprocess.run(['bash', '-n', script], check=True)
    for word in script.read_text().split():
        if word.startswith('tools/'):
            assert (PROJECT.parents[1] / word).is_file()

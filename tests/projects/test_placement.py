"""The settings in projects/placement: the same but for what is pasted."""
import os
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


def scenes_made(folder, finished):
    """Calls of make_shapes.py by the script, where nothing else is left to do."""
    lists = [folder / 'data/shapes_paste' / name for name in (
        'evaluation/annotations/instances_test.json',
        'seed3/annotations/instances_train.json')]
    for path in (*lists, folder / 'work_dirs/placement/seed3/none/done'):
        path.parent.mkdir(parents=True)
        if finished or path.name == 'done':
            path.write_text('')
    (folder / 'python').write_text('#!/bin/bash\necho "$@"\n')
    (folder / 'python').chmod(0o755)
    said = subprocess.run(
        ['bash', PROJECT / 'copy_paste.sh', '3', 'none'], cwd=folder, check=True,
        capture_output=True, text=True,
        env=os.environ | dict(PATH=f'{folder}:{os.environ["PATH"]}')).stdout
    assert 'tools/data/place_objects.py' in said and 'train.py' not in said
    return [line for line in said.splitlines() if 'make_shapes.py' in line]


def test_scenes_that_were_interrupted_are_made_again(tmp_path):
    calls = scenes_made(tmp_path, finished=False)
    assert len(calls) == 2 and all(call.endswith('--overwrite') for call in calls)


def test_scenes_that_are_complete_stay(tmp_path):
    assert scenes_made(tmp_path, finished=True) == []


def test_the_script_is_valid_bash_and_names_files_that_exist():
    script = PROJECT / 'copy_paste.sh'
    subprocess.run(['bash', '-n', script], check=True)
    for word in script.read_text().split():
        if word.startswith('tools/'):
            assert (PROJECT.parents[1] / word).is_file()

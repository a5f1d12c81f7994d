"""A method outside of the package: the tools train, test and run it."""
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcontrast.apis.run_files import last_checkpoint, read_scores
from mmcontrast.datasets.shapes import CLASSES, draw_scene, scene_seed

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / 'projects/example_project'
CONFIG = str(PROJECT / 'configs/color-segmentor_1xb8-2e_shapes.py')

pytestmark = pytest.mark.usefixtures('scope_as_it_was')


def tool(name: str, *arguments: object) -> None:
    main = runpy.run_path(str(ROOT / 'tools' / f'{name}.py'))['main']
    main([CONFIG, *map(str, arguments)])


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The work dir of a training, with the project on the path."""
    folder = tmp_path_factory.mktemp('example')
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROJECT)
        # mmengine keeps visualizers, and their folders, by name.
        tool('train', '--work-dir', folder, '--cfg-options', 'visualizer.name=example')
        yield folder


def test_training_calls_the_hook_and_lowers_the_loss(trained):
    images = sorted(trained.rglob('class_colors_*.png'))
    assert [path.stem for path in images] == ['class_colors_16', 'class_colors_8']
    assert Image.open(images[0]).size == (32 * len(CLASSES), 32)


def test_testing_gives_the_metric(trained):
    tool('test', last_checkpoint(trained), '--work-dir', trained)
    # The commonest class has 47 % of the pixels.
    assert read_scores(trained)['accuracy'] > 0.6


def test_its_inferencer_serves_it(trained, tmp_path, capsys):
    scene = draw_scene(scene_seed('test', 0), 64)
    Image.fromarray(scene.image).save(tmp_path / 'a.png')
    tool('infer', last_checkpoint(trained), tmp_path / 'a.png', '--out',
         tmp_path / 'out', '--device', 'cpu')
    assert 'pixels of 1 image' in capsys.readouterr().out
    labels = np.asarray(Image.open(tmp_path / 'out/labels/a.png'))
    assert (labels == scene.semantic_map).mean() > 0.6
    classes = (tmp_path / 'out/classes.txt').read_text().split('\n')[:-1]
    assert classes == list(CLASSES)

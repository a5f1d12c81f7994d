"""tools/infer.py with a model that places objects."""
import json
import sys
from pathlib import Path

import pytest

from mmcontrast.apis import infer
from mmcontrast.apis.loading import without_init_log
from tests.helpers.tiny_topnet import write_files

TOOLS = Path(__file__).parents[2] / 'tools'


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    with without_init_log():
        return write_files(tmp_path_factory.mktemp('topnet'))


@pytest.fixture
def main(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import infer as tool
    yield tool.main
    sys.modules.pop('infer')


def test_the_command_line_places_objects_as_it_says(main, files, tmp_path, capsys):
    config, checkpoint, background, cutout = files
    main([config, checkpoint, background, '--objects', cutout, cutout, '--out',
          str(tmp_path), '--device', 'cpu', '--k', '2', '--scale', '0.25',
          '--avoid=-10,0,106,20', '--nms-iou', '0.2', '--feather', '1', '--blend',
          'poisson', '--maps'])
    shown = capsys.readouterr().out
    assert 'placements of 1 image:\n    2  cutout.png\n' in shown
    row, = json.loads((tmp_path / 'placements.json').read_text())['backgrounds']
    for thing in row['objects']:
        assert 1 <= len(thing['boxes']) <= 2
        for box in thing['boxes']:
            assert box['scale'] == 0.25 and box['bbox'][1] >= 20
    assert (tmp_path / 'maps/scene_2.jpg').is_file()


def test_a_placement_model_asks_for_objects_and_refuses_classes(main, files, tmp_path):
    out = ['--out', str(tmp_path), '--device', 'cpu']
    with pytest.raises(SystemExit, match=r'TopNet places objects: give objects.*'
                                         r'--objects cup\.png'):
        main([*files[:3], *out])
    with pytest.raises(SystemExit, match='classes: TopNet takes no classes; leave it '
                                         'out, or name the config of a'):
        main([*files[:3], '--objects', files[3], '--classes', 'cat', *out])


def test_objects_without_a_place_are_named_in_the_summary(files, tmp_path):
    # 32 of 96 columns and 48 of 64 rows each: there is room for three at most.
    found = infer(files[0], files[1], [files[2]], str(tmp_path), device='cpu',
                  objects=[files[3]] * 4, scale=0.75, progress=False)
    placed = found.totals['cutout.png']
    assert found.unit == 'placements' and 1 <= placed <= 3
    assert found.summary().count('cutout.png: no place is left in scene.png.') == \
        4 - placed

"""Test ``--cfg-options``: values arrive as they were typed."""
import argparse
from operator import attrgetter
from pathlib import Path

import pytest

from mmcontrast.apis.cli import add_cfg_options
from mmcontrast.apis.config import UsageError, load_config
from mmcontrast.apis.options import Options, read_value, spell
from mmcontrast.errors import UserValueError

ROOT = Path(__file__).parents[2]
FOLDER = str(ROOT / 'configs/pixpro/pixpro_resnet18_1xb32-coslr-600i_demo.py')
SEGMENTOR = 'mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py'
DETECTOR = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
ROOT_KEY = 'train_dataloader.dataset.data_root'


def parsed(*texts: str) -> Options:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_cfg_options(parser, 'x=1')
    return parser.parse_args(['--cfg-options', *texts]).cfg_options


def loaded(config: str, *texts: str):
    """The value of the first of these options in the config that they make."""
    node = load_config(config, parsed(*texts))
    for key in texts[0].partition('=')[0].split('.'):
        node = node[int(key) if isinstance(node, list) else key]
    return node


@pytest.mark.parametrize('text, value', [
    # faults A: blanks stay, outside and inside of lists.
    ('my pictures', 'my pictures'), (' a\tb ', ' a\tb '), ('[a b, c]', ['a b', 'c']),
    ("it's", "it's"), ('a=b', 'a=b'), ('', ''),
    # Numbers and words as users of DictAction know them.
    ('8', 8), ('-3', -3), ('0.5', 0.5), ('.5', 0.5), ('1e-4', 1e-4),
    ('inf', float('inf')), ('true', True), ('False', False), ('None', None),
    ('none', 'none'),
    ('1,2', [1, 2]), ('1, 2,', [1, 2]), ('[1,[2,a]]', [1, [2, 'a']]), ('[]', []),
    ('(1,)', (1,)), ('[(1, 2), (3, 4)]', [(1, 2), (3, 4)]), ("['a','b']", ['a', 'b']),
    # What Python does not write for a number is none.
    ('2023_01', '2023_01'), ('007', '007'), ('１２', '１２'), ('1.2.3', '1.2.3'),
    # Brackets that do not enclose the whole value.
    ('photos (2)', 'photos (2)'), ('(a) and (b)', '(a) and (b)'), ('[x', '[x'),
    ('photos (a, b', 'photos (a, b'), ('[2023] x', '[2023] x'),
    # Quotes make text of anything.
    ("'2023'", '2023'), ('"a, b"', 'a, b'), ("'None'", 'None'), ("'[1]'", '[1]'),
    ("'it's, here'", "it's, here"), ('[\'a,b\', "1", 2]', ['a,b', '1', 2]), ("''", '')])
def test_a_value_is_what_was_typed(text, value):
    assert repr(read_value(text)) == repr(value)
    assert parsed(f'key={text}') == {'key': value}


@pytest.mark.parametrize('value', [
    'a b', '2023', 'a,b', "it's, here", '[1]', 'None', '', "a', b", ' a', 'x\\n', 3,
    1e-7, None, True, [1, 'a b', 'c,d', '4', None], (1.5, 'x'), [], float('nan')])
def test_our_tools_spell_options_that_arrive(value):
    """faults A: a path that the demo or a benchmark passes to a training."""
    assert repr(parsed(spell('key', value))['key']) == repr(value)


def test_what_cannot_be_spelled_is_refused():
    with pytest.raises(ValueError, match='cannot be written as an option'):
        spell('key', dict(a=1))


@pytest.mark.parametrize('text', ['pictures', '=3', 'a..b=3', 'config.py'])
def test_an_option_without_key_or_value_is_a_usage_error(text, capsys):
    with pytest.raises(SystemExit):
        parsed('data_root=my', text)
    assert f'{text!r} is not of the form KEY=VALUE' in capsys.readouterr().err


@pytest.mark.parametrize('text', [
    'my pictures', '2023', '1e5', 'a,b', '[2023]', 'true', 'nan', '2023_01', 'a, (b)'])
def test_a_folder_may_have_any_name(text):
    """faults A: numbers, commas and brackets, where the setting takes text alone."""
    assert loaded(FOLDER, f'{ROOT_KEY}={text}') == text
    assert loaded(FOLDER, f"{ROOT_KEY}='{text}'") == text


@pytest.mark.parametrize('name', ['2023', 'a,b'])
def test_all_paths_may_have_any_name(name):
    dataset = 'train_dataloader.dataset'
    keys = [f'{dataset}.data_root', f'{dataset}.ann_file', f'{dataset}.data_prefix.img',
            'model.backbone.init_cfg.checkpoint', 'load_from', 'work_dir',
            'experiment_name', 'val_evaluator.outfile_prefix']
    cfg = load_config(DETECTOR, parsed(*(f'{key}={name}' for key in keys)))
    assert [attrgetter(key)(cfg) for key in keys] == [name] * len(keys)


def test_where_numbers_fit_too_they_stay_numbers():
    amp = 'optim_wrapper.type=AmpOptimWrapper'
    assert loaded(FOLDER, 'optim_wrapper.loss_scale=512', amp) == 512
    assert loaded(FOLDER, f'{ROOT_KEY}=None') is None
    assert loaded(DETECTOR, 'model.backbone.out_indices=0,1,2,3') == [0, 1, 2, 3]


def test_a_number_for_a_path_in_a_config_is_an_error_that_says_how_to_write_it():
    """faults A: an int passed lint and ended in a TypeError."""
    with pytest.raises(UsageError, match=f"{ROOT_KEY}: found 2023 .* it is '2023'"):
        load_config(FOLDER, {ROOT_KEY: 2023})


@pytest.mark.parametrize('texts', [
    ('optim_wrapper.dtype=bfloat16', 'optim_wrapper.type=AmpOptimWrapper'),  # faults A
    ('model.decode_head.ignore_index=0',),  # faults AA
    ('model.decode_head.in_index=3',), ('model.backbone.stage_with_dcn=[0,0,0,0]',),
    ('train_cfg.val_begin=3',), ('test_dataloader.dataset.test_mode=True',),
    ('optim_wrapper.optimizer.maximize=True',), ('model.test_cfg.mode=whole',),
    ('my_own.mode=1',), ('model.decode_head.norm_cfg.momentum=0.1',)])
def test_an_option_that_the_final_config_accepts_is_accepted(texts):
    loaded(SEGMENTOR, *texts)


@pytest.mark.parametrize('text, near', [
    ('model.decode_head.ignor_index=0', 'ignore_index'), ('load_form=x', 'load_from'),
    ('train_dataloader.dataset.metainfo.clases=a,b', 'classes'),
    ('env_cfg.cudnn_benchmrk=True', 'cudnn_benchmark'),
    ('default_hooks.chekpoint.interval=3', 'checkpoint'),
    ('model.test_cfg.moed=whole', 'mode'),
    ('optim_wrapper.paramwise_cfg.custom_key.backbone.lr_mult=1', 'custom_keys'),
    ('train_dataloader.dataset.pipeline[2].keep_ration=False', 'keep_ratio')])
def test_a_misspelled_option_is_refused(text, near):
    with pytest.raises(UsageError, match=f'^--cfg-options .*did you mean {near!r}'):
        load_config(SEGMENTOR, parsed(text))


@pytest.mark.parametrize('lint', ['lint=False', 'lint=None', 'lint.skip=[siez,load_*]',
                                  'lint.skip=*'])
def test_lint_and_skip_hold_for_options(lint):
    """faults A, AA: they were of no use on the same line."""
    assert load_config(FOLDER, parsed('load_form=x', lint)).load_form == 'x'
    load_config(FOLDER, parsed('load_form=x', 'train_cfg.max_iter=3', lint.replace(
        'siez', 'train_cfg.max_iter')))


@pytest.mark.parametrize('texts, words', [
    (('model.backbone.depth.x=3',), 'model.backbone.depth is 50 and holds no'),
    (('param_scheduler.7.power=3',), 'param_scheduler is a list of 1'),
    (('param_scheduler.power=3',), 'param_scheduler.0 to param_scheduler.0'),
    (('model.neck=None', 'model.neck.type=FPN'), 'model.neck is None'),
    (('model=1', 'model.neck.type=FPN'), 'model is 1')])
def test_a_key_that_leads_nowhere_is_a_sentence(texts, words):
    with pytest.raises(UserValueError, match=words):
        load_config(SEGMENTOR, parsed(*texts))


def test_an_option_replaces_what_is_no_dict():
    made = load_config(DETECTOR, parsed(
        'model.train_cfg.rpn.sampler._delete_=True',
        'model.train_cfg.rpn.sampler.type=PseudoSampler'))
    assert made.model.train_cfg.rpn.sampler == dict(type='PseudoSampler')


def test_a_variable_that_was_inserted_before_is_named_with_its_places(monkeypatch):
    """faults A: another folder would be used without a word."""
    notes = []
    monkeypatch.setattr('mmcontrast.apis.config.print_log',
                        lambda note, *_: notes.append(note))
    cfg = load_config(DETECTOR, parsed('data_root=mine/'))
    assert cfg.train_dataloader.dataset.data_root == 'data/coco/'
    note = notes.pop()
    assert note.startswith('--cfg-options data_root changes a variable of the config')
    assert 'Change train_dataloader.dataset.data_root, val_dataloader.' in note
    load_config(DETECTOR, parsed('train_dataloader.dataset.data_root=mine/', 'mine=1'))
    assert not notes

"""Scores of a trained and a kept vocabulary: metric, groups and table."""
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmcontrast.apis.config import UsageError
from mmcontrast.apis.test import test as run_test
from mmcontrast.apis.vocabulary_report import (
    add_vocabulary_metric,
    set_vocabularies,
    table,
)
from mmcontrast.models.text.vocabulary import read_vocabulary


def test_the_grouped_metric_reads_what_the_metric_of_the_config_reads():
    cfg = Config(dict(test_evaluator=dict(
        type='mmdet.CocoMetric', ann_file='a.json', metric=['bbox', 'segm'],
        proposal_nums=(100, 300, 1000))))
    own = dict(cfg.test_evaluator)
    add_vocabulary_metric(cfg)
    assert cfg.test_evaluator[0] == own
    assert cfg.test_evaluator[1] == dict(
        type='mmcontrast.GroupedCocoMetric', prefix='vocabulary', groups={},
        ann_file='a.json', metric=['bbox', 'segm'])


def test_a_config_without_such_a_metric_says_so():
    with pytest.raises(UsageError, match='needs one of CocoMetric.*has OVLVISMetric'):
        add_vocabulary_metric(Config(dict(test_evaluator=[dict(type='OVLVISMetric')])))


class Detector:
    class_names = ['red fox', 'cat', 'dog', 'bus']
    trained_class_names = ['cat', 'Red fox']

    def set_classes(self, class_names):
        """Part of the protocol."""


def groups(model, kept, labels=('red_fox', 'cat', 'dog', 'bus')):
    metric = SimpleNamespace(prefix='vocabulary', groups={})
    other = SimpleNamespace(prefix='coco', groups={})
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=labels)))
    set_vocabularies(SimpleNamespace(
        model=model, test_loop=SimpleNamespace(dataloader=loader),
        test_evaluator=SimpleNamespace(metrics=[other, metric])), kept)
    assert other.groups == {}
    return metric.groups


def test_trained_classes_are_those_of_the_model_or_all_that_are_not_kept():
    assert groups(Detector(), 'dog;') == dict(
        trained=['red_fox', 'cat'], kept=['dog'])
    assert groups(object(), 'dog;red fox') == dict(
        trained=['cat', 'bus'], kept=['dog', 'red_fox'])
    with pytest.raises(UsageError, match='nothing is left'):
        groups(Detector(), 'cat;red fox')


def test_trained_classes_are_found_by_synonyms_and_missing_ones_are_logged(caplog):
    class WithTexts(Detector):
        trained_class_names = ['vulpes', 'cat', 'stop_sign', 'zebra']
        class_texts = SimpleNamespace(trained_vocabulary=read_vocabulary(
            [['vulpes', 'Red fox'], 'cat', 'stop_sign', 'zebra']))

    logger = MMLogger.get_instance('report')
    logger.addHandler(caplog.handler)
    try:
        found = groups(WithTexts(), 'dog;',
                       labels=('red_fox', 'cat', 'dog', 'bus', 'Stop sign'))
    finally:
        logger.removeHandler(caplog.handler)
    assert found['trained'] == ['red_fox', 'cat', 'Stop sign']
    assert '1 of the 4 trained classes are not labels of the test set and have no ' \
        'scores: zebra.' in caplog.text


def test_the_table_shows_what_was_forgotten():
    after = {'coco/bbox_mAP': 0.5, 'vocabulary/bbox_mAP': 0.5,
             'vocabulary/trained/bbox_mAP': 0.6, 'vocabulary/kept/bbox_mAP': 0.25}
    before = {'vocabulary/trained/bbox_mAP': 0.1, 'vocabulary/kept/bbox_mAP': 0.375}
    assert [line.split() for line in table(after, before).splitlines()] == [
        ['vocabulary', 'before', 'after', 'change'],
        ['trained', 'bbox_mAP', '0.1000', '0.6000', '+0.5000'],
        ['kept', 'bbox_mAP', '0.3750', '0.2500', '-0.1250']]
    assert [line.split() for line in table(after, {}).splitlines()][1:] == [
        ['trained', 'bbox_mAP', '0.6000'], ['kept', 'bbox_mAP', '0.2500']]


def test_an_earlier_checkpoint_alone_is_an_error():
    with pytest.raises(UsageError, match='name classes with --kept'):
        run_test('config.py', 'a.pth', before='b.pth')
    with pytest.raises(FileNotFoundError, match='checkpoint b.pth'):
        run_test('config.py', 'a.pth', before='b.pth', kept='cat;')

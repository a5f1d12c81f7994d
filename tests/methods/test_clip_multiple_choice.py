"""Accuracy of answers, by hand."""
import pytest

from mmcontrast.registry import METRICS


def sample(questions, answers):
    return dict(questions=questions, answers=answers)


def test_each_kind_of_question_has_its_own_accuracy():
    metric = METRICS.build(dict(type='MultipleChoiceAccuracy'))
    two, three = ('a', 'b'), ('a', 'b', 'c')
    metric.process(None, [
        sample({'x': (two, 0), 'y': (three, 2)}, {'x': 0, 'y': 1}),
        sample({'x': (two, 1)}, {'x': 0}), sample({'x': (two, 1)}, {'x': 1})])
    metric.process(None, [sample({'y': (three, 0)}, {'y': 0})])
    found = metric.evaluate(size=4)
    assert found == {'zero_shot/x': pytest.approx(200 / 3),
                     'zero_shot/y': pytest.approx(50)}


def test_the_log_shows_how_many_were_asked_and_what_guessing_gives(caplog):
    metric = METRICS.build(dict(type='MultipleChoiceAccuracy'))
    metric.process(None, [sample({'x': (tuple('abcd'), 0)}, {'x': 0})] * 3)
    import logging

    from mmengine.logging import MMLogger
    logger = MMLogger.get_current_instance()
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)
    try:
        metric.evaluate(size=3)
    finally:
        logger.removeHandler(handler)
    assert ['x', '3', '100.0', '25.0'] in [
        line.split() for text in lines for line in text.splitlines()]

"""Data samples of phrases, as a grounding model predicts and a pipeline packs them."""
import numpy as np
import torch

from mmcontrast.registry import METRICS


def phrase(found=(), scores=(), true=(), mask=None, true_mask=None, exists=None,
           others=(), **meta) -> dict:
    """A sample as mmengine's Evaluator passes it on: a dict.

    Args:
        found, scores: Predicted boxes x1, y1, x2, y2 and their scores.
        true, others: Boxes that the phrase means, and other objects.
        mask, true_mask: Rows of zeros and ones.
        exists: Predicted existence, left out if None.
        meta: Meta information, and masks of other names.
    """
    boxes = torch.tensor(np.array([*true, *others], np.float64)).reshape(-1, 4)
    referred = torch.arange(len(boxes)) < len(true)
    sample = dict(
        text='a dog', img_id=1, scale_factor=(1.0, 1.0),
        gt_instances=dict(bboxes=boxes, referred=referred),
        pred_instances=dict(
            bboxes=torch.tensor(np.array(found, np.float32)).reshape(-1, 4),
            scores=torch.tensor(scores, dtype=torch.float32))) | meta
    if exists is not None:
        sample['pred_exists'] = torch.tensor(exists)
    for key, rows in (('pred_mask', mask), ('gt_mask', true_mask)):
        if rows is not None:
            sample[key] = torch.tensor(np.array(rows)).bool()
    return sample


def stored_samples(case, chosen=None) -> list[dict]:
    """The samples of a golden metric case; ``chosen`` is a bool a sample."""
    arrays = {key.removeprefix('in_'): value for key, value in case.arrays.items()}
    counts = arrays['gt_count']
    true = np.split(arrays['gt_boxes'], np.cumsum(counts)[:-1])
    groups = np.zeros(len(counts), int)
    for group, (start, end) in enumerate(arrays.get('groups', ())):
        groups[start:end] = group
    return [phrase(arrays['boxes'][i], arrays['scores'][i], true[i],
                   arrays['pred_mask'][i], arrays['gt_mask'][i],
                   group_id=int(groups[i]), sentence_id=i)
            for i in range(len(counts)) if chosen is None or chosen[i]]


def random_phrases(count: int) -> list[dict]:
    """Groups of three sentences, the last of which is false, predicted at random."""
    rng = np.random.default_rng(0)
    samples = []
    for i in range(count):
        count_true = 0 if i % 3 == 2 else 1 + i % 2
        true = [(5 * k, 0, 5 * k + 5, 8) for k in range(count_true)]
        found = [*(np.add(box, rng.integers(0, 2, 4)) for box in true),
                 (50, 50, 60, 60)]
        samples.append(phrase(
            found, rng.uniform(0.4, 1, len(found)), true, rng.integers(0, 2, (6, 6)),
            rng.integers(0, 2, (6, 6)) * bool(true), group_id=i // 3,
            sentence_id=i % 3))
    return samples


def evaluated(kind: str, samples: list[dict], **arguments) -> dict[str, float]:
    """The scores of a registered metric, with its prefix."""
    metric = METRICS.build(dict(type=kind, **arguments))
    # A partial last batch, as in a run.
    for start in range(0, len(samples), 4):
        metric.process({}, samples[start:start + 4])
    return metric.evaluate(len(samples))

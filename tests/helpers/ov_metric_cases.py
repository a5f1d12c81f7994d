"""Golden cases of detection metrics, as mmdet's evaluators receive them."""
import json
from pathlib import Path

import torch

FOLDER = Path(__file__).parents[1] / 'golden' / 'dito'


def metric_case(name: str) -> dict:
    return json.loads((FOLDER / f'{name}.json').read_text())


def samples(images: list[dict], detections: list[dict], labels: dict[int, int],
            with_masks: bool = False) -> list[dict]:
    """Data samples with predictions.

    Args:
        images: Of a COCO file.
        detections: Of a COCO result file.
        labels: Category ids to labels.
        with_masks: Add the whole box as a mask.
    """
    found = []
    for image in images:
        mine = [d for d in detections if d['image_id'] == image['id']]
        boxes = torch.tensor([d['bbox'] for d in mine], dtype=torch.float64)
        boxes = boxes.reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        predicted = dict(
            bboxes=boxes, scores=torch.tensor([d['score'] for d in mine]).double(),
            labels=torch.tensor([labels[d['category_id']] for d in mine]).long())
        shape = image['height'], image['width']
        if with_masks:
            predicted['masks'] = torch.stack(
                [box_mask(box, shape) for box in boxes]) if mine else torch.zeros(
                    0, *shape, dtype=torch.bool)
        found.append(dict(img_id=image['id'], ori_shape=shape,
                          pred_instances=predicted))
    return found


def box_mask(box: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    left, top, right, bottom = box.round().long().clamp(min=0).tolist()
    mask[top:bottom, left:right] = True
    return mask


def evaluated(metric, meta: dict, data_samples: list[dict]) -> dict:
    metric.dataset_meta = meta
    metric.process({}, data_samples)
    return metric.evaluate(len(data_samples))

"""Read, resize and pack samples of phrases with boxes and masks."""
from collections.abc import Sequence

import cv2
import mmcv
import numpy as np
import torch
from mmcv.transforms import BaseTransform, to_tensor
from mmengine.structures import InstanceData

from ...errors import UserValueError
from ...registry import TRANSFORMS
from ..coco_masks import decode_mask
from ..image_files import decode_bytes, encoded_bytes

_META = ('text', 'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor',
         'group_id', 'sentence_id', 'data_source')


@TRANSFORMS.register_module()
class LoadGroundingImage(BaseTransform):
    """Read ``img_path`` as an upright (H, W, 3) uint8 BGR array.

    A sample that already holds ``img`` in this form is not read from disk: the toy
    world draws its images.

    Sets ``img``, ``ori_shape`` and ``img_shape`` (H, W).

    Args:
        backend_args: Options of ``mmengine.fileio.get``.

    Raises:
        BadImage: If the file is missing, no image, damaged or too large.
        UserValueError: If it has another size than its annotations say.
    """

    def __init__(self, backend_args: dict | None = None) -> None:
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        if results.get('img') is None:
            path = results['img_path']
            rgb = decode_bytes(encoded_bytes(results, self.backend_args), path)
            # A quarter of the time of a reversed copy by numpy.
            results['img'] = cv2.cvtColor(np.asarray(rgb), cv2.COLOR_RGB2BGR)
        size = results['img'].shape[:2]
        written = results['height'], results['width']
        if size != written:
            raise UserValueError(
                f'{results.get("img_path")} has {size[1]} x {size[0]} pixels, but its '
                f'annotations are of {written[1]} x {written[0]}. Is it another image, '
                'or resized, or turned by its EXIF orientation?')
        results['ori_shape'] = results['img_shape'] = size
        return results


@TRANSFORMS.register_module()
class LoadGroundingAnnotations(BaseTransform):
    """Make arrays of the ``objects`` of a sample.

    Sets ``gt_bboxes``, (N, 4) float64 x1, y1, x2, y2 of all objects, clipped to
    [0, W - 1] and [0, H - 1]; ``gt_referred``, (N,) bool; ``gt_attributes``, (N, K)
    int64, where the objects have ``attributes``; and ``gt_mask``, (H, W) uint8, the
    union of the objects that are referred to, of which alone the masks are decoded.

    Args:
        with_mask: Whether to read masks.

    Raises:
        UserValueError: If an object that is referred to has no mask, or a damaged one;
            names the annotation.
    """

    def __init__(self, with_mask: bool = True) -> None:
        self.with_mask = with_mask

    def transform(self, results: dict) -> dict:
        objects, size = results['objects'], (results['height'], results['width'])
        boxes = np.array([o['bbox'] for o in objects], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        limits = np.array([size[1] - 1, size[0] - 1] * 2, np.float64)
        results['gt_bboxes'] = np.clip(boxes, 0, limits)
        results['gt_referred'] = np.array([o['referred'] for o in objects], bool)
        if objects and 'attributes' in objects[0]:
            results['gt_attributes'] = np.array([o['attributes'] for o in objects])
        if self.with_mask:
            mask = np.zeros(size, bool)
            for target in objects:
                if target['referred']:
                    mask |= _mask_of(target, size, results)
            results['gt_mask'] = mask.view(np.uint8)
        return results


@TRANSFORMS.register_module()
class ResizeGrounding(BaseTransform):
    """Resize to a fixed size without keeping the ratio.

    The image bilinearly, boxes by the scale factors, the mask by nearest neighbor; the
    mask of the original size stays in ``gt_mask_original``.

    Sets ``scale_factor`` (w, h) and ``img_shape``.

    Args:
        scale: Width and height in pixels, or one number for both.
    """

    def __init__(self, scale: int | Sequence[int]) -> None:
        self.scale = (tuple(scale) if isinstance(scale, list | tuple)
                      else (scale, scale))
        if len(self.scale) != 2 or not all(
                type(side) is int and side >= 1 for side in self.scale):
            raise UserValueError(
                f'scale must be width and height in pixels, got {scale!r}.')

    def transform(self, results: dict) -> dict:
        height, width = results['img'].shape[:2]
        results['img'] = mmcv.imresize(results['img'], self.scale)
        results['img_shape'] = results['img'].shape[:2]
        factors = self.scale[0] / width, self.scale[1] / height
        results['scale_factor'] = factors
        if 'gt_bboxes' in results:
            results['gt_bboxes'] = results['gt_bboxes'] * np.array(factors * 2)
        if 'gt_mask' in results:
            results['gt_mask_original'] = results['gt_mask']
            results['gt_mask'] = mmcv.imresize(
                results['gt_mask'], self.scale, interpolation='nearest')
        return results


@TRANSFORMS.register_module()
class PackGrounding(BaseTransform):
    """Pack a sample as ``dict(inputs, data_samples)``.

    ``inputs`` is the (3, H, W) uint8 BGR image; ``data_samples`` an mmdet
    ``DetDataSample`` with ``gt_instances`` (``bboxes`` float32, ``referred`` bool,
    ``labels`` zeros, and ``attributes`` where there are any) and ``gt_mask`` (H, W)
    bool. The phrase is in its metainfo.

    Args:
        keep_original_mask: Also pack ``gt_mask_original``, the mask in the size of the
            image file, to evaluate at that size.
    """

    def __init__(self, keep_original_mask: bool = False) -> None:
        self.keep_original_mask = keep_original_mask

    def transform(self, results: dict) -> dict:
        from mmdet.structures import DetDataSample
        image = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
        sample = DetDataSample(metainfo={
            key: results[key] for key in _META if results.get(key) is not None})
        if 'gt_bboxes' in results:
            boxes = to_tensor(results['gt_bboxes'].astype(np.float32))
            sample.gt_instances = InstanceData(
                bboxes=boxes, referred=to_tensor(results['gt_referred']),
                labels=torch.zeros(len(boxes), dtype=torch.int64))
            if 'gt_attributes' in results:
                sample.gt_instances.attributes = to_tensor(results['gt_attributes'])
        if 'gt_mask' in results:
            sample.gt_mask = to_tensor(results['gt_mask']).bool()
            if self.keep_original_mask:
                original = results.get('gt_mask_original', results['gt_mask'])
                sample.gt_mask_original = to_tensor(original).bool()
        return dict(inputs=to_tensor(image), data_samples=sample)


def _mask_of(target: dict, size_hw: tuple[int, int], results: dict) -> np.ndarray:
    place = f'annotation {target["id"]} of {results["img_path"]}'
    if not target.get('segmentation'):
        raise UserValueError(
            f'{place} has no mask. Add its segmentation, or train with boxes alone: '
            'LoadGroundingAnnotations(with_mask=False).')
    try:
        return decode_mask(target['segmentation'], size_hw)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise UserValueError(
            f'{place} has a damaged mask ({error}). Expected polygons of three points '
            f'or more, or RLE of size {list(size_hw)}. Correct or remove it.'
        ) from error

"""Unwrap the model and the datasets of a Runner."""
from collections.abc import Sequence

from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model without wrappers of distribution and test-time augmentation."""
    if is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        return unwrap_model(model.module)
    return model


def leaf_datasets(dataset: object) -> list:
    """The datasets inside the wrappers of mmengine and mmdet, such as ConcatDataset."""
    inner = getattr(dataset, 'datasets', None) or (
        [dataset.dataset] if hasattr(dataset, 'dataset') else None)
    if inner is None:
        return [dataset]
    return [part for child in inner for part in leaf_datasets(child)]


def classes_of(dataset: object) -> Sequence[str] | None:
    """Names of the classes of a dataset; of several that differ, of the first.

    mmdet's ConcatDataset has a list of ``metainfo`` then.
    """
    metainfo = getattr(dataset, 'metainfo', None)
    if isinstance(metainfo, list):
        metainfo = metainfo[0] if metainfo else None
    return (metainfo or {}).get('classes')

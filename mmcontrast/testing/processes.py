"""Start processes from a server that has imported the heavy libraries already."""
import importlib.util
import multiprocessing
import sys
from multiprocessing.context import BaseContext

# What takes long to import. The server imports those that its caller has.
_HEAVY = (
    'torch', 'torch._dynamo', 'torch.distributed.fsdp', 'torch.utils.tensorboard',
    'torchvision', 'numba', 'cv2', 'scipy.stats', 'scipy.optimize',
    'matplotlib.pyplot', 'rich.progress', 'open_clip', 'lmdb', 'webdataset',
    'pycocotools.coco', 'mmengine.runner', 'mmengine.hub', 'mmengine.visualization',
    'mmcv.ops', 'mmcv.transforms', 'mmpretrain', 'mmpretrain.models',
    'mmpretrain.datasets', 'mmdet.models', 'mmdet.datasets', 'mmdet.evaluation',
    'mmdet.engine', 'mmdet.visualization', 'mmseg.models', 'mmseg.datasets',
    'mmseg.evaluation', 'mmseg.engine', 'mmseg.visualization', 'mmcontrast.registry',
    'mmcontrast.datasets', 'mmcontrast.models', 'mmcontrast.evaluation',
    'mmcontrast.engine', 'mmcontrast.methods', 'mmcontrast.apis.train')


def warm_context() -> BaseContext:
    """A multiprocessing context whose processes start in a tenth of a second.

    They are forks of one server per calling process, which has done nothing but import
    libraries: each begins as clean as a fresh interpreter, with ``torch`` and those of
    mmcv, mmdet, mmseg and mmpretrain that the caller has imported by the first call.
    Elsewhere than on Unix, new interpreters as multiprocessing starts them.
    """
    if 'forkserver' not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context('spawn')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload([
        name for name in _HEAVY
        if name.split('.')[0] in sys.modules and importlib.util.find_spec(name)])
    return context

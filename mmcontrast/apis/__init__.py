"""Train, test, infer, export and check from Python: the functions behind the tools."""
from .convert.export_backbone import export_backbone
from .doctor import doctor
from .infer import infer
from .inferencers import DenseCLIPInferencer, Detection, Segmentation
from .test import test
from .train import train

__all__ = ['DenseCLIPInferencer', 'Detection', 'Segmentation', 'doctor',
           'export_backbone', 'infer', 'test', 'train']

"""Pretrain a detector on image-text pairs and detect classes named by text: DITO.

Source: Kim et al., arXiv 2310.00161 (2023; ECCV 2024 as "Region-centric Image-Language
Pretraining for Open-Vocabulary Detection").
"""
from ...registry import DATASETS, METRICS, MODELS, TASK_UTILS, TRANSFORMS

MODELS.announce('mmcontrast.methods.dito.regions', 'RandomRegions', 'GridRegions')
MODELS.announce('mmcontrast.methods.dito.cropped_positions', 'CroppedPositions')
MODELS.announce('mmcontrast.methods.dito.pretraining', 'DITOPretraining')
MODELS.announce('mmcontrast.methods.dito.roi_crop', 'PyramidRoICrop')
MODELS.announce('mmcontrast.methods.dito.box_head', 'TextBoxHead')
MODELS.announce('mmcontrast.methods.dito.mask_head', 'NormedMaskHead')
MODELS.announce('mmcontrast.methods.dito.rpn_head', 'CenternessRPNHead')
TASK_UTILS.announce('mmcontrast.methods.dito.box_coder', 'DeltaYXHWBoxCoder')
MODELS.announce('mmcontrast.methods.dito.roi_head', 'TextRoIHead')
MODELS.announce('mmcontrast.methods.dito.detector', 'DITODetector')
DATASETS.announce('mmcontrast.methods.dito.coco_dataset', 'OpenVocabularyDataset',
                  'OVCocoDataset')
TRANSFORMS.announce('mmcontrast.methods.dito.jitter', 'LargeScaleJitter')
METRICS.announce('mmcontrast.methods.dito.lvis_metric', 'OVLVISMetric')

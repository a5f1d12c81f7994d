"""Find where and how large to paste an object into a background: TopNet (CVPR 2023).

Source: Zhu et al., "TopNet: Transformer-based Object Placement Network for Image
Compositing", arXiv 2304.03372, whose code is not public.
"""
from ...registry import (
    DATASETS,
    FUNCTIONS,
    METRICS,
    MODELS,
    TRANSFORMS,
    WEIGHT_INITIALIZERS,
)
from .grid import PlacementGrid
from .sample import PlacementSample

MODELS.announce('mmcontrast.methods.topnet.topnet', 'TopNet')
MODELS.announce('mmcontrast.methods.topnet.preprocessor', 'PlacementPreprocessor')
MODELS.announce('mmcontrast.methods.topnet.fusion', 'PlacementFusion')
MODELS.announce('mmcontrast.methods.topnet.losses', 'SparseContrastiveLoss')
MODELS.announce('mmcontrast.methods.topnet.label_losses', 'SparseCellBCE',
                'GaussianPeakFocalLoss')
MODELS.announce('mmcontrast.methods.topnet.pair_net', 'TopNetPair')
MODELS.announce('mmcontrast.methods.topnet.simopa', 'SimOPA')
WEIGHT_INITIALIZERS.announce('mmcontrast.methods.topnet.pair_trunk', 'SOPAPretrained')
METRICS.announce('mmcontrast.methods.topnet.placement_iou', 'PlacementIoU')
METRICS.announce('mmcontrast.methods.topnet.opa_metric', 'OPAMetric')
METRICS.announce('mmcontrast.methods.topnet.toy_plausibility', 'ToyPlausibility')
METRICS.announce('mmcontrast.methods.topnet.composite_metrics', 'SimOPAAccuracy',
                 'CompositeFID', 'CompositeLPIPS')
MODELS.announce('mmcontrast.methods.topnet.composite_networks', 'FIDInception',
                'TorchvisionFeatures', 'LPIPSAlexNet')
FUNCTIONS.announce('mmcontrast.methods.topnet.composite_networks',
                   'build_placement_classifier')
TRANSFORMS.announce('mmcontrast.methods.topnet.transforms', 'FlipPlacement',
                    'JitterObject', 'PackPlacement', 'PrepareTopNet',
                    'PrepareTopNetPair')
TRANSFORMS.announce('mmcontrast.methods.topnet.scaled_objects',
                    'PrepareTopNetPairScales')
TRANSFORMS.announce('mmcontrast.methods.topnet.copy_paste', 'PlacedCopyPaste')
DATASETS.announce('mmcontrast.methods.topnet.shapes_placements', 'ShapesPlacements')
DATASETS.announce('mmcontrast.methods.topnet.opa', 'OPAComposites', 'OPAPairs')
DATASETS.announce('mmcontrast.methods.topnet.placement_pairs', 'PlacementPairs')
FUNCTIONS.announce('mmcontrast.methods.topnet.cutouts', 'open_cutout', 'read_mask')
FUNCTIONS.announce('mmcontrast.methods.topnet.compositing', 'check_blending')
FUNCTIONS.announce('mmcontrast.methods.topnet.placement_search', 'PlacementSearch')
FUNCTIONS.announce('mmcontrast.methods.topnet.place_scorer', 'PlaceScorer')
FUNCTIONS.announce('mmcontrast.methods.topnet.object_placer', 'ObjectPlacer')
FUNCTIONS.announce('mmcontrast.methods.topnet.drawing', 'paste_in_order',
                   'draw_placements', 'draw_placement_maps')

__all__ = ['PlacementGrid', 'PlacementSample']

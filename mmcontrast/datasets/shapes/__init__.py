"""Draw the toy world: scenes of textured colored shapes, each from a seed."""
from ...registry import DATASETS
from .clip import Clip, draw_clip
from .dataset import ShapesDataset
from .objects import SceneObject
from .placement import (
    IMPLAUSIBILITIES,
    Placement,
    PlacementPlan,
    draw_placement,
    plan_placement,
)
from .questions import Question, ShapesQuestions
from .referring import Referring
from .regions import Region, regions
from .scene import Scene, Segment, draw_scene
from .vocabulary import (
    CLASSES,
    COLORS,
    HELD_OUT_COMBINATIONS,
    PALETTE,
    SHAPES,
    SPLITS,
    STUFF,
    TEXTURES,
    scene_seed,
)

# Reads and writes masks with pycocotools, which nothing else here needs.
DATASETS.announce('mmcontrast.datasets.shapes.grounding', 'ShapesGrounding')

__all__ = [
    'CLASSES', 'COLORS', 'HELD_OUT_COMBINATIONS', 'IMPLAUSIBILITIES', 'PALETTE',
    'SHAPES', 'SPLITS', 'STUFF', 'TEXTURES', 'Clip', 'Placement', 'PlacementPlan',
    'Question', 'Referring', 'Region', 'Scene', 'SceneObject', 'Segment',
    'ShapesDataset', 'ShapesQuestions', 'draw_clip', 'draw_placement', 'draw_scene',
    'plan_placement', 'regions', 'scene_seed']

"""The embedded toy world: scenes of textured coloured shapes, drawn from a seed."""
from mmcontrast.datasets.shapes.clip import Clip, draw_clip
from mmcontrast.datasets.shapes.dataset import ShapesDataset
from mmcontrast.datasets.shapes.placement import Placement, draw_placement
from mmcontrast.datasets.shapes.questions import Question, ShapesQuestions
from mmcontrast.datasets.shapes.referring import Referring
from mmcontrast.datasets.shapes.regions import Region, regions
from mmcontrast.datasets.shapes.scene import Scene, SceneObject, Segment, draw_scene
from mmcontrast.datasets.shapes.vocabulary import (
    CLASSES,
    COLOURS,
    HELD_OUT_COMBINATIONS,
    PALETTE,
    SHAPES,
    SPLITS,
    STUFF,
    TEXTURES,
    scene_seed,
)

__all__ = [
    'CLASSES', 'COLOURS', 'HELD_OUT_COMBINATIONS', 'PALETTE', 'SHAPES', 'SPLITS',
    'STUFF', 'TEXTURES', 'Clip', 'Placement', 'Question', 'Referring', 'Region',
    'Scene', 'SceneObject', 'Segment', 'ShapesDataset', 'ShapesQuestions', 'draw_clip',
    'draw_placement', 'draw_scene', 'regions', 'scene_seed']

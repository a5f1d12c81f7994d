import numpy as np
import pytest

from mmcontrast.visualization.label_maps import (
    COLORS,
    draw_label_maps,
    label_colors,
    label_overlay,
)

TOP, LEFT = np.s_[:20], np.s_[:, :20]


@pytest.fixture
def image():
    image = np.full((40, 60, 3), (30, 60, 90), np.uint8)
    image[LEFT] = (200, 100, 0)
    return image


def test_an_overlay_blends_the_color_of_the_label_with_the_gray_image(image):
    labels = np.zeros((40, 60), int)
    labels[:, 20:] = 2
    colors = np.array([(250, 0, 0), (9, 9, 9), (0, 0, 200)], np.uint8)
    found = label_overlay(image, labels, colors, strength=0.5, mark=None)
    assert (found[LEFT] == (175, 50, 50)).all()      # (100 + 250) / 2, 100 / 2
    assert (found[:, 20:] == (30, 30, 130)).all()    # 60 / 2, (60 + 200) / 2


def test_marks_stand_inside_of_their_region(image):
    labels = np.zeros((40, 60), int)
    labels[:, 30:] = 1
    colors = np.array([(200, 0, 0), (0, 0, 200)], np.uint8)
    plain = label_overlay(image, labels, colors, mark=None)
    written = (label_overlay(image, labels, colors) != plain).any(2)
    for half in (written[:, :30], written[:, 30:]):
        assert half.any()
        rows, columns = half.nonzero()
        assert abs(rows.mean() - 19.5) < 4 and abs(columns.mean() - 14.5) < 4


def test_marks_of_narrow_regions_at_an_edge_are_whole(image):
    labels = np.zeros((40, 60), int)
    labels[:, 57:] = 11
    colors = np.full((12, 3), 128, np.uint8)
    plain = label_overlay(image, labels, colors, mark=None)
    written = (label_overlay(image, labels, colors) != plain).any(2)
    assert written[:, 45:].any() and not written[:, -1].any()


def test_a_speck_carries_no_mark(image):
    labels = np.zeros((40, 60), int)
    labels[0, :5] = 1
    colors = np.full((2, 3), 128, np.uint8)
    written = (label_overlay(image, labels, colors)
               != label_overlay(image, labels, colors, mark=None)).any(2)
    assert written.any() and not written[:8].any()


def test_colors_follow_the_rank_and_never_repeat():
    ranks = {label: rank for rank, label in enumerate(range(255, 195, -1))}
    table = label_colors(ranks, 256)
    assert tuple(table[255]) == COLORS[0] and tuple(table[254]) == COLORS[1]
    assert len({tuple(color) for color in table[196:]}) == 60
    assert (table[:196] == 0).all()


def test_overlay_sheet_shows_image_and_labels_in_their_colors(image):
    labels = np.zeros((40, 60), int)
    labels[TOP] = 1
    colors = np.array([(250, 0, 0), (0, 0, 250)], np.uint8)
    sheet = draw_label_maps([image, image], [labels, labels], ['a.jpg', 'b.jpg'],
                            colors, width=120, title='two rows')
    pixels = np.asarray(sheet)
    # Rows of 80 (40 at twice the size) + 30 below a head of 30; columns of 120 + 10.
    assert sheet.height == 30 + 2 * (80 + 30)
    for top in (30, 140):
        assert (pixels[top + 40, 10 + 10] == (200, 100, 0)).all()
        assert (pixels[top + 40, 10 + 100] == (30, 60, 90)).all()
        blue, red = pixels[top + 5, 140 + 10], pixels[top + 75, 140 + 10]
        assert blue[2] > 180 > 60 > blue[0] and red[0] > 180 > 60 > red[2]
    # The legend: half of the pixels each, with a swatch of the full color.
    legend = pixels[30:70, 270:284].reshape(-1, 3)
    assert {(250, 0, 0), (0, 0, 250)} <= {tuple(p) for p in legend.tolist()}


def test_tall_and_wide_images_share_a_sheet(image):
    tall = np.ascontiguousarray(image.transpose(1, 0, 2))
    maps = [np.zeros(x.shape[:2], int) for x in (image, tall)]
    sheet = draw_label_maps([image, tall], maps, ['wide', 'tall'],
                            label_colors({0: 0}, 1), width=120)
    assert sheet.height == 10 + (80 + 30) + (120 + 30)


def test_a_long_name_is_cut_and_a_long_title_widens_the_sheet(image):
    args = ([image], [np.zeros((40, 60), int)])
    colors = label_colors({0: 0}, 1)
    short = draw_label_maps(*args, ['a'], colors, width=120)
    named = draw_label_maps(*args, ['a' * 200], colors, width=120)
    titled = draw_label_maps(*args, ['a'], colors, width=120, title='t' * 200)
    assert named.size == short.size and titled.width > short.width
    right = np.asarray(titled)[:, -5:]
    assert (right == 255).all()

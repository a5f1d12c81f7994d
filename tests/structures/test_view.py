import torch

from mmcontrast.structures import View, ViewBatch


def test_grid_lies_at_cell_centers():
    view = View(left=10, top=20, right=110, bottom=220)
    # 100 px over 4 columns: centers 12.5 px in, then every 25 px.
    assert view.grid(2, 4)[0, :, 0].tolist() == [22.5, 47.5, 72.5, 97.5]
    # 200 px over 2 rows: centers 50 px in, then 100 px on.
    assert view.grid(2, 4)[:, 0, 1].tolist() == [70, 170]


def test_mirrored_view_reads_right_to_left():
    plain, mirrored = View(0, 0, 8, 8), View(0, 0, 8, 8, flipped=True)
    torch.testing.assert_close(mirrored.grid(3, 3), plain.grid(3, 3).flip(1))


def test_batch_gives_the_grids_of_its_views():
    views = [View(0, 2, 9, 8, True, 20, 10), View(3, 1, 4, 7, False, 30, 40)]
    batch = ViewBatch.stack(views)
    for view, grid in zip(views, batch.grid(5, 3), strict=True):
        torch.testing.assert_close(grid, view.grid(5, 3))
    assert batch.source_sizes.tolist() == [[20, 10], [30, 40]]

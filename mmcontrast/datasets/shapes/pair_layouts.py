"""Write the scenes with their captions as image-text pairs: CSV and tar shards."""
import csv
import io
import json
import tarfile
from pathlib import Path

from ...io.atomic import atomic_write, write_text
from .layout_files import add_image, jpeg_bytes
from .scene import Scene

SCENES_PER_SHARD = 1000


class CsvWriter:
    """open_clip's table: ``captions_SPLIT.csv`` with the columns filepath and title.

    One row for each caption; paths are relative to the folder, ``images/SPLIT/*.jpg``.
    """

    def __init__(self, root: Path, split: str) -> None:
        self.root, self.split = root, split
        self.images: list[dict] = []
        self.table = io.StringIO()
        self.rows = csv.writer(self.table, lineterminator='\n')
        self.rows.writerow(('filepath', 'title'))

    def add(self, name: str, scene: Scene) -> None:
        image = add_image(self.root, self.split, name, scene, self.images)
        path = f'images/{self.split}/{image["file_name"]}'
        self.rows.writerows((path, text) for text in scene.captions)

    def finish(self) -> None:
        write_text(self.root / f'captions_{self.split}.csv', self.table.getvalue())


class ShardWriter:
    """WebDataset: ``shards/SPLIT-000000.tar`` ... with 1000 scenes each.

    A sample is ``NAME.jpg``, ``NAME.txt`` with the first caption, which names all
    objects, and ``NAME.json`` with the list of all captions under ``caption``.
    """

    def __init__(self, root: Path, split: str) -> None:
        self.folder, self.split = root / 'shards', split
        # In memory, so that a file appears whole or not at all.
        self.data = io.BytesIO()
        self.tar: tarfile.TarFile | None = None
        self.count = 0

    def add(self, name: str, scene: Scene) -> None:
        if self.count % SCENES_PER_SHARD == 0:
            self.finish()
            self.data = io.BytesIO()
            self.tar = tarfile.open(fileobj=self.data, mode='w')
        self.count += 1
        members = dict(jpg=jpeg_bytes(scene.image), txt=scene.captions[0].encode(),
                       json=json.dumps(dict(caption=scene.captions)).encode())
        for ending, data in members.items():
            info = tarfile.TarInfo(f'{name}.{ending}')
            info.size = len(data)
            self.tar.addfile(info, io.BytesIO(data))

    def finish(self) -> None:
        if self.tar is not None:
            self.tar.close()
            number = (self.count - 1) // SCENES_PER_SHARD
            path = self.folder / f'{self.split}-{number:06d}.tar'
            with atomic_write(path) as file:
                file.write(self.data.getbuffer())
            self.tar = None

"""Convert the official files of grounding benchmarks to those that PropVG trains with.
"""
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...datasets.grounding.checks import check_groups
from ...datasets.grounding.files import read_grounding
from ...datasets.grounding.foreground import check_crowds
from ...datasets.grounding.records import (
    Element,
    GroundingFile,
    GroundingRecord,
    records_of,
)
from ...errors import UserValueError, did_you_mean
from ...io.atomic import write_text
from ...progress import working
from ..inferencers.results import refuse_overwriting
from .check_grounding import GroundingReport, check_grounding, is_training
from .grounding_entries import entries_of, objects_of, ranges_of

#: Benchmark -> kind of its entries, see :func:`.grounding_entries.entries_of`, and
#: names of the files of phrases and of all objects, as PropVG's own configs have them.
BENCHMARKS = dict(
    refcoco=('object', 'instances_withid.json', 'coco_all.json'),
    mixed=('object', 'instances_nogoogle_withid.json', 'coco_all.json'),
    grefcoco=('objects', 'instances.json', 'coco_annotations.json'),
    refzom=('objects', 'instance_withid.json', 'allobj.json'),
    rrefcoco=('groups', 'instance_withid.json', 'allobj.json'))
INDEX = 'instance_index.json'
#: What the mixed set and the three sets of R-RefCOCO are made of, in this order.
SOURCES = dict(mixed=('refcoco_unc', 'refcocoplus_unc', 'refcocog_umd'),
               rrefcoco=('rrefcoco', 'rrefcoco+', 'rrefcocog'))


@dataclass(frozen=True)
class PreparedGrounding:
    """Result of :func:`prepare_grounding`.

    Attributes:
        phrases, objects: The files of phrases and of all objects.
        index: The file of groups; None without groups.
        report: What the written files hold.
        left_out: Training records that were left out, because their image is in a
            split for evaluation.
    """

    phrases: Path
    objects: Path
    index: Path | None
    report: GroundingReport
    left_out: int


def prepare_grounding(files: Sequence[str | Path], benchmark: str, out: str | Path,
                      instances: Sequence[str | Path] = (),
                      sources: Sequence[str] = (),
                      foreground: str | Path | None = None, crowds: str = 'drop',
                      images: str | Path | None = None, overwrite: bool = False,
                      progress: bool = True) -> PreparedGrounding:
    """Write the phrases and all objects of a benchmark, and check what was written.

    Evaluated splits get one record a sentence. Several files are joined into one
    training split, from which the images of all other splits are left out; these get
    the name of their source, ``val_refcoco_unc``.

    Args:
        files: Lists of refs, such as ``refs(unc).p``.
        benchmark: One of :data:`BENCHMARKS`.
        out: Folder of the new files.
        instances: COCO file of each; default: ``instances.json`` beside it, if there
            is one.
        sources: Name of each, for 'mixed' and 'rrefcoco'; default: :data:`SOURCES`.
        foreground: COCO file of all objects, ``instances_train2014.json``; default:
            those of ``instances``.
        crowds: 'drop' or 'keep' regions of several objects.
        images: Folder of the images, to check that all are there.
        overwrite: Replace files of an earlier call.
        progress: Show a progress bar.

    Raises:
        FileNotFoundError: If a file does not exist.
        FileExistsError: If a file to write exists, without ``overwrite``.
        UserValueError: If an option or an entry is wrong, or a file is of another
            benchmark, or ``out`` would overwrite what is read.
    """
    check_crowds(crowds)
    sources = _sources(benchmark, files, instances, sources)
    kind, *names = BENCHMARKS[benchmark]
    grouped = kind == 'groups'
    paths = [Path(os.path.expanduser(out)) / name for name in names + [INDEX] * grouped]
    for path in paths:
        if path.exists() and not overwrite:
            raise FileExistsError(f'{path} exists; remove it, give another --out, or '
                                  '--overwrite (overwrite=True) to replace it.')
    annotated = [_instances_of(path, instances, k) for k, path in enumerate(files)]
    refuse_overwriting(paths, *map(str, files), *annotated, foreground)
    if images is not None and not Path(images).expanduser().is_dir():
        raise FileNotFoundError(f'No folder of images at {images}.')
    with working('convert', progress):
        splits, left_out = _joined(
            [read_grounding(path, instances=coco)
             for path, coco in zip(files, annotated, strict=True)], sources)
        contents = [
            {name: list(entries_of(elements, kind, not is_training(name)))
             for name, elements in splits.items()},
            objects_of(_files_of_objects(foreground, annotated, files), {
                record.image_id for elements in splits.values()
                for record in records_of(elements)}, crowds)]
        if grouped:
            contents.append(_ranges(splits, Path(files[0]).name))
        # Only now, so that an error leaves nothing half done.
        for path, content in zip(paths, contents, strict=True):
            write_text(path, json.dumps(content))
    index = paths[2] if grouped else None
    report = check_grounding(paths[0], index=index, foreground=paths[1], images=images,
                             progress=progress)
    return PreparedGrounding(paths[0], paths[1], index, report, left_out)


def _sources(benchmark: str, files: Sequence, instances: Sequence,
             sources: Sequence[str]) -> list[str | None]:
    if benchmark not in BENCHMARKS:
        raise UserValueError(f'No benchmark is called {benchmark!r}'
                             f'{did_you_mean(str(benchmark), BENCHMARKS)} Known are '
                             f'{", ".join(BENCHMARKS)}.')
    if instances and len(instances) != len(files):
        raise UserValueError(f'{len(files)} files of phrases need as many instances, '
                             f'got {len(instances)}.')
    if benchmark not in SOURCES:
        if len(files) != 1 or sources:
            raise UserValueError(
                f'{benchmark} is one file of phrases without sources, got '
                f'{len(files)} files and sources {list(sources)}. Several are joined '
                f'by {", ".join(SOURCES)}.')
        return [None]
    sources = list(sources or SOURCES[benchmark][:len(files)])
    if len(sources) != len(files) or len(set(sources)) < len(sources):
        raise UserValueError(
            f'{len(files)} files of phrases need as many different sources, got '
            f'{sources}.')
    return sources


def _instances_of(path: str | Path, instances: Sequence, number: int) -> Path | None:
    if instances:
        return Path(instances[number])
    beside = Path(path).expanduser().parent / 'instances.json'
    return beside if beside.is_file() and beside != Path(path).expanduser() else None


def _files_of_objects(foreground: str | Path | None, annotated: Sequence[Path | None],
                      files: Sequence[str | Path]) -> list[str | Path]:
    if foreground is not None:
        return [foreground]
    return [coco or path for coco, path in zip(annotated, files, strict=True)]


def _joined(files: Sequence[GroundingFile], sources: Sequence[str | None]
            ) -> tuple[dict[str, list[Element]], int]:
    """Splits of all files, with data_source; and the number of those left out."""
    splits: dict[str, list[Element]] = {}
    for file, source in zip(files, sources, strict=True):
        for name, elements in file.splits.items():
            evaluated = source is not None and not is_training(name)
            splits.setdefault(f'{name}_{source}' if evaluated else name, []).extend(
                tuple(_of_source(record, source) for record in element)
                for element in elements)
    if len(files) == 1:
        return splits, 0
    seen = {record.image_id for name, elements in splits.items()
            if not is_training(name) for record in records_of(elements)}
    left_out = 0
    for name in filter(is_training, splits):
        kept = [element for element in splits[name]
                if not any(record.image_id in seen for record in element)]
        left_out += len(splits[name]) - len(kept)
        splits[name] = kept
    return splits, left_out


def _ranges(splits: Mapping[str, list[Element]], path: str) -> dict[str, list]:
    """The index of the evaluated splits: an element is a group."""
    evaluated = {name: elements for name, elements in splits.items()
                 if not is_training(name)}
    for name, elements in evaluated.items():
        check_groups([
            tuple(replace(record, group_id=k) for record in element)
            for k, element in enumerate(elements)], f'{path}: {name}')
    return {name: ranges_of(elements) for name, elements in evaluated.items()}


def _of_source(record: GroundingRecord, source: str | None) -> GroundingRecord:
    return record if source is None else replace(record, data_source=source)

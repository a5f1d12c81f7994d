"""Convert released checkpoints with the converters of the methods."""
import pkgutil
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from mmengine.config import Config

from ...converters.report import Conversion, KeyReport
from ...errors import UserValueError, did_you_mean
from ...io.checkpoint import find_state_dict, read_checkpoint, write_checkpoint
from ...io.config_types import with_names
from ...io.flax_files import write_flax
from ..config import read_config
from .weight_files import provenance

# By name: a method is imported only when it is asked for.
METHODS = 'mmcontrast.methods'


def convert_official(method: str, src: str | Path, dst: str | Path,
                     config: str | Path | None = None, drop: Sequence[str] = (),
                     back: bool = False) -> KeyReport:
    """Convert a released checkpoint into one of mmcontrast.

    Every method brings ``convert.py`` with ``convert(weights, model_cfg, drop, meta)``.
    ``dst`` is written after the equality check; it holds ``state_dict`` and ``meta`` of
    text only.

    Args:
        method: Name of the method, e.g. ``pixpro``.
        src: The released file.
        dst: The file to write.
        config: Config whose model the weights must fill; by default the model is read
            off the weights.
        drop: Patterns of keys that may be dropped.
        back: Write a checkpoint of ours in the released layout instead; for methods
            whose ``convert.py`` brings ``convert_back(weights, model_cfg)`` and
            ``RELEASED_SUFFIX``, the ending of the released files.

    Raises:
        ValueError: If the method is unknown, keys would be lost or outputs differ.
    """
    names = converter_names()
    if method not in names:
        raise ValueError(f'No converter for {method!r}{did_you_mean(method, names)} '
                         f'There is one for: {", ".join(names)}.')
    converter = import_module(f'{METHODS}.{method}.convert')
    checkpoint = read_checkpoint(src)
    model = read_config(config).model if config else None
    if back:
        return _convert_back(converter, method, checkpoint, src, dst, model)
    conversion: Conversion = converter.convert(
        find_state_dict(checkpoint, src), model, drop, checkpoint.get('meta'))
    report = conversion.report
    others = {'state_dict', 'model'} & set(checkpoint)
    if others:
        report.checks.append('Not weights, not converted: ' + (
            ', '.join(sorted(map(str, set(checkpoint) - others))) or 'nothing') + '.')
    write_checkpoint(dict(state_dict=conversion.state_dict, meta=dict(
        provenance(src), converted_from=Path(src).name, method=method,
        model=with_names(Config(dict(model=conversion.model))).pretty_text,
        **conversion.meta)), dst)
    return report


def _convert_back(converter: ModuleType, method: str, checkpoint: dict,
                  src: str | Path, dst: str | Path, model: dict | None) -> KeyReport:
    if not hasattr(converter, 'convert_back'):
        raise UserValueError(f'{method} has no way back to the released layout.')
    suffix = converter.RELEASED_SUFFIX
    if Path(dst).suffix != suffix:
        raise UserValueError(f'{dst}: released files of {method} end in {suffix}; name '
                             f'a {suffix} file.')
    weights = find_state_dict(checkpoint, src)
    tree = converter.convert_back(weights, model)
    (write_flax if suffix == '.msgpack' else write_checkpoint)(tree, dst)
    return KeyReport(f'{src} -> {len(tree)} arrays of the released layout')


def converter_names() -> list[str]:
    """Methods that have a converter."""
    return [m.name for m in pkgutil.iter_modules(import_module(METHODS).__path__)
            if m.ispkg and find_spec(f'{METHODS}.{m.name}.convert') is not None]

"""Load a model for an inferencer, and find the inferencer that serves a model."""
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from warnings import warn

from torch import nn

from ...errors import UserValueError
from ...registry import INFERENCERS
from ..loading import LoadedModel, load_model
from .images import Images, skipped_sentence


class ModelInferencer(ABC):
    """A model with its weights, and what it makes of images.

    Registered in ``INFERENCERS``, a subclass is found by :func:`open_inferencer` and so
    by ``tools/infer.py``. Those that segment or detect derive from
    :class:`~mmcontrast.apis.inferencers.Inferencer`.

    Results have ``unit``, what is counted in them, and ``tally()``, how many by name.

    Args:
        config: Config file, or ``mmcontrast::...``; or a model that is loaded already.
        checkpoint: Weights of its training, or converted released ones.
        device: 'cpu', 'cuda:1', ...; None for a GPU if there is one.
        cfg_options: Overrides of the config, dotted keys.

    Attributes:
        model: The model, in eval mode.
        skipped: Images that the last call could not use, a sentence each.
        notes: Sentences about results of the last call that lack something.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a config comes without a checkpoint, the model is of another
            kind, the weights do not fit it, or the device is not there.
    """

    #: Which config to name instead, for the message about a model of another kind.
    wanted = 'name the config of a model of the right kind.'
    #: What a model of another kind lacks, for that message.
    lacks = 'is not served by this inferencer'
    #: What :meth:`stream` takes beside images, ``out`` and how to run, by name.
    options: tuple[str, ...] = ()
    #: Score below which boxes are left out, unless a call says otherwise.
    score_thr = 0.0

    def __init__(self, config: str | LoadedModel, checkpoint: str | None = None,
                 device: str | None = None, cfg_options: dict | None = None) -> None:
        if not isinstance(config, LoadedModel):
            config = load_model(config, _given(checkpoint, config), device, cfg_options,
                                wanted=self.wanted,
                                check=partial(self._check, config))
        self.loaded, self.model = config, config.model
        self.skipped: list[str] = []
        self.notes: list[str] = []

    @classmethod
    @abstractmethod
    def serves(cls, model: nn.Module) -> bool:
        """Whether a model is of the kind that this class is for."""

    @abstractmethod
    def stream(self, images: Images, **options: Any) -> Iterator:
        """Yield the results one by one, for more images than memory holds."""

    def accept(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options that were given, not None, for :meth:`stream`.

        Raises:
            ValueError: If this kind of model takes no such option.
        """
        given = {name: value for name, value in options.items() if value is not None}
        for name in given:
            if name not in self.options:
                raise UserValueError(
                    f'{name}: {type(self.model).__name__} takes no {name}; leave it '
                    f'out{_for_which(name)}.')
        return given

    def collect(self, images: Images, results: Iterable) -> Any:
        """All results of a stream: one for a single image, else a list.

        Warns:
            UserWarning: With the images that were left out.
        """
        results = list(results)
        if self.skipped:
            warn(skipped_sentence(self.skipped, len(self.skipped) + len(results)),
                 stacklevel=3)
        return results[0] if is_single(images) else results

    @classmethod
    def _check(cls, config: str, model: nn.Module, weights: Any) -> None:
        if not cls.serves(model):
            raise UserValueError(
                f'{config}: {type(model).__name__} {cls.lacks}; {cls.wanted}')


def is_single(images: Images) -> bool:
    """Whether a call is about one image, not a folder or a list."""
    if isinstance(images, str | Path):
        return not Path(images).expanduser().is_dir()
    return not isinstance(images, Sequence)


def _for_which(option: str) -> str:
    """', or name the config of ...' for an option of other inferencers."""
    owners = [cls for cls in INFERENCERS.module_dict.values()
              if option in getattr(cls, 'options', ())]
    return f', or {owners[0].wanted.rstrip(".")}' if owners else ''


def open_inferencer(config: str, checkpoint: str, device: str | None = None,
                    cfg_options: dict | None = None) -> ModelInferencer:
    """Load a model and wrap it in the inferencer that serves it.

    Of several that do, the one with the most base classes is taken: it is the most
    specific. Modules that the config names in ``custom_imports`` may register more.

    Args:
        config, checkpoint, device, cfg_options: As of :class:`ModelInferencer`.

    Raises:
        FileNotFoundError, KeyError, ValueError: See
            :func:`~mmcontrast.apis.loading.load_model`; also if no inferencer serves
            the model.
    """
    def check(model: nn.Module, weights: Any) -> None:
        if not serving(model):
            INFERENCERS.import_from_location()
            raise UserValueError(
                f'{config}: no inferencer serves {type(model).__name__}. Registered '
                f'are {", ".join(sorted(INFERENCERS.module_dict))}; a subclass of '
                'mmcontrast.apis.inferencers.Inferencer adds one.')

    loaded = load_model(config, _given(checkpoint, config), device, cfg_options,
                        check=check)
    return max(serving(loaded.model), key=lambda cls: len(cls.__mro__))(loaded)


def _given(checkpoint: str | None, config: str) -> str:
    if checkpoint is None:
        raise UserValueError(
            f'{config}: give a checkpoint of its training, too; or, for random '
            'weights, the model that load_model(config, None) builds.')
    return checkpoint


def serving(model: nn.Module) -> list[type[ModelInferencer]]:
    """The registered inferencers that serve a model, the last registered first."""
    INFERENCERS.import_from_location()
    return [cls for cls in reversed(INFERENCERS.module_dict.values())
            if issubclass(cls, ModelInferencer) and cls.serves(model)]


def derives_from(model: nn.Module, library: str, name: str) -> bool:
    """Whether a class of another library is among the bases of a model's class.

    The library is not imported for it.
    """
    return any(base.__name__ == name and base.__module__.partition('.')[0] == library
               for base in type(model).__mro__)

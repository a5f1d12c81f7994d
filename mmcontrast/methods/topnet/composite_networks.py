"""Load the networks behind FID and LPIPS from files on this machine.

Nothing is downloaded: every network takes the path of its weights, and a missing file
is an error that says which file it is. Files are read as data only.
"""
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from ...errors import UserKeyError, UserValueError, did_you_mean
from ...io.checkpoint import check_matching_keys, find_state_dict, read_checkpoint
from ...registry import FUNCTIONS, MODELS

INSTALL = "pip install 'torchmetrics[image]'"
INCEPTION_FILE = 'weights-inception-2015-12-05-6726825d.pth'
ALEXNET_FILE = 'alexnet-owt-7be5be79.pth'
#: After each ReLU of the features, and how many channels there are.
ALEXNET_NODES = {'features.1': 64, 'features.4': 192, 'features.7': 384,
                 'features.9': 256, 'features.11': 256}


@MODELS.register_module()
class FIDInception(nn.Module):
    """The InceptionV3 of published FIDs: its pooled features, 2048 channels.

    torchmetrics' network around torch-fidelity's, a port of the TensorFlow graph of
    2015 that FID is defined by. torchvision's InceptionV3 differs in weights and
    pooling; distances of the two cannot be compared.

    Args:
        weights: Path of ``weights-inception-2015-12-05-6726825d.pth``, from the
            releases of torch-fidelity.

    Raises:
        ImportError: If torchmetrics or torch-fidelity is not installed.
        FileNotFoundError: If there is no such file.
    """

    def __init__(self, weights: str | Path) -> None:
        super().__init__()
        path = weights_file(weights, INCEPTION_FILE, 'the releases of torch-fidelity')
        if not all(map(importlib.util.find_spec, ('torchmetrics', 'torch_fidelity'))):
            raise ImportError(f'FIDInception needs torchmetrics and torch-fidelity: '
                              f'{INSTALL}')
        from torchmetrics.image.fid import NoTrainInceptionV3
        find_state_dict(read_checkpoint(path), path)  # torch-fidelity does not check it
        self.network = NoTrainInceptionV3(
            'inception-v3-compat', ['2048'], feature_extractor_weights_path=str(path))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, 299, 299) uint8 RGB -> (N, 2048) float32."""
        return self.network(images).float()


@MODELS.register_module()
class TorchvisionFeatures(nn.Module):
    """Features of a torchvision network: those of a layer, averaged over positions.

    For a Frechet distance by another network than FID's, in whose features composites
    of a special kind of images may differ more. It cannot be compared with a FID.

    Args:
        network: Name in torchvision, such as 'resnet50'.
        node: Layer whose output is taken, such as 'flatten' or 'layer4'.
        weights: Path of the network's state dict.

    Raises:
        FileNotFoundError, UserKeyError: If there is no such file or it does not fit.
        UserValueError: If there is no such network or layer.
    """

    def __init__(self, network: str, node: str, weights: str | Path) -> None:
        super().__init__()
        known = torchvision.models.list_models(torchvision.models)
        if network not in known:
            raise UserValueError(
                f'TorchvisionFeatures: torchvision has no network {network!r}'
                f'{did_you_mean(network, known)}')
        whole = torchvision_network(
            network, weights_file(weights, f'of {network}', 'torchvision'))
        try:
            self.network = create_feature_extractor(whole, {node: 'features'})
        except ValueError as error:
            raise UserValueError(
                f'TorchvisionFeatures: {network} has no node {node!r}; see '
                'torchvision.models.feature_extraction.get_graph_node_names.'
            ) from error
        for name, values in (('mean', (0.485, 0.456, 0.406)),
                             ('std', (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 RGB -> (N, C) float32."""
        features = self.network((images / 255 - self.mean) / self.std)['features']
        return features.float().flatten(2).mean(2) if features.ndim > 2 else features


@MODELS.register_module()
class LPIPSAlexNet(nn.Module):
    """LPIPS v0.1 with AlexNet: how different images of one size look.

    The distance of two images is a weighted squared distance of their features, which
    are L2-normalized at each position, after each of the five ReLUs, averaged over
    positions. AlexNet is torchvision's; no linear layer is computed pair by pair.

    Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a
    Perceptual Metric" (CVPR 2018), version 0.1 of the authors' package lpips.

    Args:
        weights: Path of torchvision's ``alexnet-owt-7be5be79.pth``; of it, only
            ``features.*`` is read.
        linear_weights: Path of lpips' ``weights/v0.1/alex.pth``; default: the copy that
            torchmetrics installs.

    Raises:
        ImportError: If ``linear_weights`` is not given and torchmetrics is not
            installed.
        FileNotFoundError, UserKeyError: If there is no such file or it does not fit.
    """

    def __init__(self, weights: str | Path, linear_weights: str | Path | None = None
                 ) -> None:
        super().__init__()
        network = torchvision_network(
            'alexnet', weights_file(weights, ALEXNET_FILE, 'torchvision'), 'features')
        self.network = create_feature_extractor(network, {
            node.removeprefix('features.'): node for node in ALEXNET_NODES})
        path = _linear_file(linear_weights)
        state = find_state_dict(read_checkpoint(path), path)
        for i, (node, channels) in enumerate(ALEXNET_NODES.items()):
            key = f'lin{i}.model.1.weight'
            if key not in state or state[key].numel() != channels:
                raise UserKeyError(
                    f'{path} does not hold {key} with {channels} values for {node}. '
                    "Give lpips' weights/v0.1/alex.pth.")
            self.register_buffer(f'linear_{i}', state[key].float().flatten(), False)
        # Of images in [-1, 1].
        for name, values in (('shift', (-0.030, -0.088, -0.188)),
                             ('scale', (0.458, 0.448, 0.450))):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), False)

    def features(self, images: Tensor) -> list[Tensor]:
        """(N, 3, H, W) uint8 RGB -> five (N, C, h, w), L2-normalized over C."""
        scaled = (images / 127.5 - 1 - self.shift) / self.scale
        found = self.network(scaled)
        return [found[node] / (found[node].norm(dim=1, keepdim=True) + 1e-10)
                for node in ALEXNET_NODES]

    def mean_distance(self, images: Tensor) -> Tensor:
        """Mean LPIPS over all unordered pairs of images.

        The mean squared difference of all pairs is twice the unbiased variance, so each
        image passes through once.

        Args:
            images: (N, 3, H, W) uint8 RGB, N at least 2, 63 pixels or more wide and
                high.

        Returns:
            Scalar, on the device of the images.

        Raises:
            UserValueError: If the images are too small for AlexNet.
        """
        if min(images.shape[2:]) < 63:
            raise UserValueError(
                'LPIPS needs images of 63 pixels or more in width and height, got '
                f'{images.shape[3]} x {images.shape[2]}.')
        weights = (getattr(self, f'linear_{i}') for i in range(len(ALEXNET_NODES)))
        return sum(2 * (found.var(0).mean((1, 2)) @ weight) for found, weight in
                   zip(self.features(images), weights, strict=True))


def load_weights(network: nn.Module, path: Path, part: str = '') -> nn.Module:
    """Load all weights of a network, no more and no less, and freeze it.

    Args:
        network: May be on the device 'meta': it takes the tensors of the file.
        path: File of the weights.
        part: Only these of the file, whose names begin so.

    Raises:
        UserKeyError: If a weight is missing, has another shape, or is left over.
    """
    state = find_state_dict(read_checkpoint(path), path)
    prefix = f'{part}.' if part else ''
    state = {key.removeprefix(prefix): value for key, value in state.items()
             if key.startswith(prefix)}
    differs = check_matching_keys(state, network, path)
    if differs:
        raise UserKeyError(f'{differs} All of them are needed, and no others.')
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False).eval()


def weights_file(path: str | Path, name: str, source: str) -> Path:
    """The path of a file of weights.

    Raises:
        FileNotFoundError: If there is no such file; says which file it is.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f'No weights at {path}. Nothing is downloaded here: get the file {name} '
            f'from {source} and give its path.')
    return path


def torchvision_network(name: str, path: Path, part: str = '') -> nn.Module:
    """A classification network of torchvision, or a part of it, with its weights."""
    with torch.device('meta'):
        network = torchvision.models.get_model(name, weights=None)
    return load_weights(getattr(network, part) if part else network, path, part)


def _linear_file(path: str | Path | None) -> Path:
    if path is not None:
        return weights_file(path, 'weights/v0.1/alex.pth', 'the package lpips')
    found = importlib.util.find_spec('torchmetrics')
    if found is None:
        raise ImportError(
            f'LPIPSAlexNet takes its linear weights from torchmetrics: {INSTALL}, or '
            "give linear_weights, the path of lpips' weights/v0.1/alex.pth.")
    return Path(found.origin).parent / 'functional/image/lpips_models/alex.pth'


@FUNCTIONS.register_module()
def build_placement_classifier(weights: str | Path, device: str = 'cpu',
                               cfg: dict | None = None) -> nn.Module:
    """Build a classifier of composites, frozen, by default SimOPA.

    Args:
        weights: Path of its weights, converted by ``tools/convert/official.py``.
        device: Where it runs.
        cfg: Config of the classifier; it needs a method ``scores``, see
            :class:`~.simopa.SimOPA`.

    Raises:
        FileNotFoundError, UserKeyError: If there is no such file or it does not fit.
        UserValueError: If the classifier has no ``scores``.
    """
    path = weights_file(weights, 'of SimOPA', "OPA's repository, convert it with "
                        'tools/convert/official.py topnet')
    try:
        return build_network(cfg or dict(type='SimOPA'), device, ['scores'], path)
    except UserKeyError as error:
        raise UserKeyError(f'{error} Released weights of SimOPA are converted with '
                           'tools/convert/official.py topnet.') from error


def build_network(cfg: dict, device: str, methods: Sequence[str] = (),
                  weights: Path | None = None) -> nn.Module:
    """Build a frozen network of a metric on its device.

    Args:
        cfg: Config of the network.
        device: Where it runs.
        methods: What it must have.
        weights: File of its weights, unless ``cfg`` names it.

    Raises:
        UserValueError: If it lacks one of ``methods``.
        UserKeyError: If the weights do not fit.
    """
    network = MODELS.build(cfg)
    for name in methods:
        if not hasattr(network, name):
            raise UserValueError(
                f'{type(network).__name__} cannot be used here: it has no method '
                f'{name}.')
    if weights is not None:
        load_weights(network, weights)
    return network.requires_grad_(False).eval().to(device)

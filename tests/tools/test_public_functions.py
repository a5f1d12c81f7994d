"""What ``mmcontrast.apis`` offers to Python."""
import importlib
import inspect

import pytest

from mmcontrast import apis

MODULES = dict(
    train='mmcontrast.apis.train', test='mmcontrast.apis.test',
    infer='mmcontrast.apis.infer', doctor='mmcontrast.apis.doctor',
    export_backbone='mmcontrast.apis.convert.export_backbone')


@pytest.mark.parametrize('name', MODULES)
def test_public_functions_stay_functions_after_their_modules_are_imported(name):
    importlib.import_module(MODULES[name])
    assert inspect.isfunction(getattr(apis, name))
    assert name in apis.__all__

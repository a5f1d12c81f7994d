"""Fixtures of many test modules."""
import pytest
from mmengine.registry import DefaultScope


@pytest.fixture
def scope_as_it_was():
    """A Runner sets a global default scope; the next test must not inherit it."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)

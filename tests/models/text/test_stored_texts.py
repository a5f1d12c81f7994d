"""Class embeddings out of files."""
import numpy as np
import pytest
import torch

from mmcontrast.models.text.stored_texts import StoredClassTexts

ROWS = np.arange(6, dtype=np.float64).reshape(3, 2)


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / 'rows.npy', ROWS)
    np.save(tmp_path / 'bg.npy', [[7.0, 8.0], [9.0, 9.0]])
    return tmp_path


def test_another_vocabulary_selects_rows_by_name(files):
    texts = StoredClassTexts([['car', 'auto'], 'sky', 'Tree'], files / 'rows.npy',
                             files / 'bg.npy')
    assert texts().tolist() == [[0, 1], [2, 3], [4, 5], [7, 8]]
    with texts.temporarily('tree;auto'):
        assert texts().tolist() == [[4, 5], [0, 1], [7, 8]]
        assert texts.class_names == ['tree', 'auto'] and len(texts) == 2
    assert texts.is_trained_vocabulary and not texts.state_dict()
    assert texts.notes == [['car', 'auto'], ['sky'], ['Tree']]


def test_a_class_without_a_row_names_the_closest(files):
    texts = StoredClassTexts('car;sky;tree', files / 'rows.npy')
    with pytest.raises(ValueError, match="'trees'.*did you mean 'tree'"):
        texts.set_vocabulary('car;trees')
    assert texts.is_trained_vocabulary


def test_a_class_list_of_another_length_is_rejected(files):
    with pytest.raises(ValueError, match='holds 3 embeddings.* 2 classes'):
        StoredClassTexts('car;sky', files / 'rows.npy')


def test_files_that_hold_no_rows_of_numbers_are_rejected(files):
    (files / 'text.npy').write_text('no array')
    np.save(files / 'objects.npy', np.array([{}]), allow_pickle=True)
    np.save(files / 'wide.npy', np.zeros((1, 3)))
    with pytest.raises(FileNotFoundError, match='No embeddings at'):
        StoredClassTexts('car;sky;tree', files / 'none.npy')
    for name in ('text.npy', 'objects.npy'):
        with pytest.raises(ValueError, match=f'{name} is no .npy file of numbers'):
            StoredClassTexts('car;sky;tree', files / name)
    with pytest.raises(ValueError, match='has 3 dimensions.* has 2'):
        StoredClassTexts('car;sky;tree', files / 'rows.npy', files / 'wide.npy')


def test_rows_move_with_the_module(files):
    texts = StoredClassTexts('car;sky;tree', files / 'rows.npy').double()
    assert texts().dtype == torch.float64


def test_a_file_may_hold_more_classes_than_are_trained(files):
    texts = StoredClassTexts('tree;car', files / 'rows.npy',
                             stored_classes='car;sky;tree')
    assert texts().tolist() == [[4, 5], [0, 1]] and texts.notes == [['tree'], ['car']]
    texts.set_vocabulary('sky;')
    assert texts().tolist() == [[2, 3]] and not texts.is_trained_vocabulary

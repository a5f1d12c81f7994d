"""PropVG's refer scoring and target discrimination against the reference."""
import pytest
import torch

from mmcontrast.methods.propvg.names import our_weights
from mmcontrast.methods.propvg.refer_scoring import (
    ContrastiveReferScoring,
    text_position_code,
)
from mmcontrast.methods.propvg.target_discrimination import (
    ScorePriorLayer,
    TargetDiscrimination,
    pixel_position_code,
)
from mmcontrast.testing import fill
from tests.helpers.propvg_case import Case, padding_mask

pytestmark = pytest.mark.usefixtures('nan_weights')


def weights(case: Case, theirs: str, ours: str) -> dict:
    """Those of a module of the head under our names, from its place in the release."""
    released = {f'head.{theirs}.{key}': value for key, value in case.params().items()}
    return {key.removeprefix(f'head.{ours}.'): value
            for key, value in our_weights(released).items()}


def refer_scoring(case: Case, **options) -> ContrastiveReferScoring:
    net = ContrastiveReferScoring(**options)
    net.load_state_dict(weights(case, 'mrsm', 'refer_scoring'))
    return net.eval()


@pytest.mark.parametrize('pooling, suffix', [
    ('reference', ''), ('masked_max', '_bool_mask')])
@torch.no_grad()
def test_refer_scores_of_both_poolings(pooling, suffix):
    case = Case('crs')
    net = refer_scoring(case, sentence_pooling=pooling)
    given = case.draw('crs/query'), case.draw('crs/text'), padding_mask([5, 12, 9], 12)
    case.check({
        f'refer_score{suffix}': net(*given)[..., None],
        f'sentence_vector{suffix}': net.sentence_vector(*given[1:])})


@torch.no_grad()
def test_proposals_after_the_words_and_what_they_attend_to():
    case = Case('crs')
    net, maps = refer_scoring(case), []
    last = net.word_attention.layers[-1].cross_attn.attn
    last.register_forward_hook(lambda module, given, outputs: maps.append(outputs[1]))
    read = net.attend(
        case.draw('crs/query'), case.draw('crs/text'), padding_mask([5, 12, 9], 12))
    case.check(dict(query_after_words=read[None], word_attention_map=maps[0]))


def test_position_codes():
    code = pixel_position_code(256, 5, 7, torch.device('cpu'))
    Case('position_codes').check(dict(
        pos1d=text_position_code(20, 256), pos2d=code.T.reshape(1, 256, 5, 7)))


@torch.no_grad()
def test_score_prior_layer():
    case = Case('spca_layer')
    layer = ScorePriorLayer()
    layer.load_state_dict(case.params())
    code = case.draw('spca/src_pos')
    out = layer.eval()(case.draw('spca/tgt'), case.draw('spca/src'),
                       fill.rand('propvg/spca/score', (2, 3, 20)), code)
    case.check(dict(out=out))


@pytest.mark.parametrize('training', [False, True])
@torch.no_grad()
def test_existence_in_evaluation_and_training(training):
    case = Case('mtd')
    net = TargetDiscrimination(dropout=0, top_k=case.config['K'])
    net.load_state_dict(weights(case, 'dist_head', 'target_discrimination'))
    query, refer = case.draw('mtd/query'), fill.rand('propvg/mtd/refer', (2, 20))
    given = query, refer, case.draw('mtd/unet'), (
        case.draw('mtd/mask', scale=2).sigmoid())
    token = net.token.weight.expand(2, 1, -1)
    exists = net.train(training)(*given)
    case.check({
        f'exist_{"train" if training else "eval"}': exists[:, None],
        'after_object_layer': net.object_layer(token, query, refer[:, None]),
        'after_semantic_layer': net.read(*given), 'logit': net.mlp(net.read(*given))})

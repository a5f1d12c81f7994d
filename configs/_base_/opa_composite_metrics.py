# GracoNet's protocol on OPA's test set: a box of the first 50 is drawn for each pair of
# object and background, and counts once for each of its plausible rows (3,588 in all);
# ten boxes a pair for LPIPS. Weights: docs/topnet_evaluation.md.
weights = 'data/weights/'
composite_metrics = [
    dict(type='PlacementIoU', per_truth=True),
    dict(type='SimOPAAccuracy', weights=weights + 'simopa.pth', among=50),
    dict(type='CompositeFID', among=50,
         network=dict(type='FIDInception', weights=weights
                      + 'weights-inception-2015-12-05-6726825d.pth'),
         # OPA's own composites; masks lie beside them, labels end their names.
         real_folder='data/OPA/composite/test_set', real_pattern='[0-9]*_1.jpg'),
    dict(type='CompositeLPIPS', among=50, num=10,
         network=dict(type='LPIPSAlexNet', weights=weights
                      + 'alexnet-owt-7be5be79.pth'))]

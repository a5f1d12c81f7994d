"""Save and restore what exact resume needs beyond mmengine's checkpoint."""
from mmengine.dist import get_rank
from mmengine.hooks import EarlyStoppingHook
from mmengine.runner import Runner

from .loader import never_ends, sampler_seeds, set_sampler_seeds
from .loops import EpochBasedExactLoop, IterBasedExactLoop
from .rank_state import gather_rank_state, restore_rank_state
from .rng_state import rng_state_from_data

#: Its key in a checkpoint.
KEY = 'exact_resume'

# Counters of mmengine's hooks that mmengine does not save.
_COUNTERS = {EarlyStoppingHook: ('wait_count', 'best_score')}


def take_snapshot(runner: Runner, epoch: int, step: int) -> dict | None:
    """State of a run besides weights, optimizer, schedules and log; all ranks call it.

    Args:
        epoch, step: Epochs and iterations trained, as in the checkpoint's ``meta``.

    Returns:
        On rank 0 numbers, text and tensors only. None on the others, and for a training
        loop that is not one of ours.
    """
    loop = runner.train_loop
    if not isinstance(loop, EpochBasedExactLoop | IterBasedExactLoop):
        return None
    ranks = gather_rank_state(runner, loop.training_rng)
    if ranks is None:
        return None
    pass_index, done = loop.position(epoch, step)
    return dict(
        pass_index=pass_index, done=done, validated=loop.validated_step == step,
        stop_training=bool(loop.stop_training), layout=_layout(runner),
        sampler_seeds=sampler_seeds(loop.dataloader) if loop.repeatable else [],
        counters=_counters(runner), ranks=ranks)


def resume_from(runner: Runner, saved: dict | None) -> None:
    """Let the training loop start where a snapshot was taken.

    ``runner`` has loaded the rest of the checkpoint. A warning says what keeps the
    result from being that of the uninterrupted run.

    Args:
        saved: From :func:`take_snapshot`; None for a checkpoint without it.
    """
    loop = runner.train_loop
    if not isinstance(loop, EpochBasedExactLoop | IterBasedExactLoop):
        return runner.logger.warning(
            f'{type(loop).__name__} is a training loop of your own: the run resumes '
            'with its weights, but not exactly (RNG state and position in the data are '
            'left to the loop).')
    if saved is None:
        return _resume_without_snapshot(runner)
    if loop.repeatable:
        loop.dataloader.numbered.seed = runner.seed
        set_sampler_seeds(loop.dataloader, saved['sampler_seeds'])
    for kind, names, hook in _counting_hooks(runner):
        for name in names if kind in saved['counters'] else ():
            setattr(hook, name, saved['counters'][kind][name])
    loop.stop_training = saved['stop_training']
    done = _done_here(runner, saved)
    loop.resume_from(
        saved['pass_index'], done, saved['validated'], _restorer(runner, saved))
    runner.logger.info(
        f'Resuming in pass {saved["pass_index"] + 1} over the data after {done} of its '
        'batches.')


def _restorer(runner: Runner, saved: dict):
    """The function to call right before the first iteration."""
    rank = get_rank()
    if rank >= len(saved['ranks']):
        return lambda: None
    mine = saved['ranks'][rank]
    # Read now: an error belongs to the loading of the checkpoint.
    states = rng_state_from_data(mine['random'])
    return lambda: restore_rank_state(runner, mine, states)


def _layout(runner: Runner) -> dict[str, int | None]:
    """What the order of the data and its split into batches depend on."""
    loader = runner.train_dataloader
    batch_size = getattr(loader, 'batch_size', None) or getattr(
        getattr(loader, 'batch_sampler', None), 'batch_size', None)
    try:
        num_samples = len(loader.dataset)
    except (TypeError, AttributeError):
        num_samples = None
    return dict(ranks=runner.world_size, batch_size=batch_size, samples=num_samples)


def _done_here(runner: Runner, saved: dict) -> int:
    """Batches of this pass to leave out; warns if the layout has changed."""
    then, now = saved['layout'], _layout(runner)
    changed = [f'{name} {then[name]} -> {value}' for name, value in now.items()
               if then[name] != value]
    if not changed:
        return saved['done']
    done = saved['done']
    if then['batch_size'] and now['batch_size']:
        done = (done * then['batch_size'] * then['ranks']
                // (now['batch_size'] * now['ranks']))
    if isinstance(runner.train_loop, EpochBasedExactLoop):
        done = min(done, len(runner.train_dataloader))
    runner.logger.warning(
        f'Resuming is not exact: {", ".join(changed)} since the checkpoint was '
        f'written. Continuing after {done} batches, as many samples as before; random '
        'numbers and batches differ from those of the uninterrupted run.')
    return done


def _resume_without_snapshot(runner: Runner) -> None:
    """From a checkpoint of a plain runner the position follows, the rest is lost."""
    loop, length = runner.train_loop, None
    if isinstance(loop, EpochBasedExactLoop):
        length = len(loop.dataloader)
        pass_index = loop.epoch
        done = min(max(loop.iter - loop.epoch * length, 0), length)
    elif never_ends(loop.dataloader):
        pass_index, done = 0, loop.iter
    else:
        pass_index, done = divmod(loop.iter, max(1, len(loop.dataloader)))
    loop.resume_from(pass_index, done, True, lambda: None)
    runner.logger.warning(
        'Resuming is not exact: the checkpoint was written without ReliableRunner and '
        f'holds no RNG state. Continuing in pass {pass_index + 1} over the data after '
        f'{done} of its batches.')


def _counters(runner: Runner) -> dict[str, dict]:
    def number(value):
        return value if isinstance(value, int) else float(value)
    return {kind: {name: number(getattr(hook, name)) for name in names}
            for kind, names, hook in _counting_hooks(runner)}


def _counting_hooks(runner: Runner) -> list[tuple]:
    """Name (a second hook of a class ends in 2), counters, and the hook itself."""
    found = []
    for kind, names in _COUNTERS.items():
        hooks = [hook for hook in runner.hooks if isinstance(hook, kind)]
        found += [(f'{kind.__name__}{number if number > 1 else ""}', names, hook)
                  for number, hook in enumerate(hooks, 1)]
    return found

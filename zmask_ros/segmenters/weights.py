"""Weights from a checkpoint to the network that they belong to, whatever stands before their names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from zmask_ros.errors import describe_error
from zmask_ros.segmenters.checkpoints import HOW_TO_SAVE, Checkpoint, read_checkpoint
from zmask_ros.segmenters.description import Description, SegmenterError

WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""What torch's own wrappers put into the names of parameters, wherever they wrap a module."""
USUAL_HOLDERS = frozenset({"state_dict", "model_state_dict", "model_state", "model", "network", "net", "weights"})
"""Names of what a checkpoint is about; what has another one, such as ``ema``, stands beside it."""
SHOWN = 3
"""Names of each kind in a complaint."""


def load_weights(network: nn.Module, description: Description) -> None:
    """Load all described weights into ``network``; of tensors that its layers share, one name is enough.

    Raises:
        SegmenterError: they cannot be read, or belong to another network; the sentence says what differs.
    """
    assert description.weights is not None
    checkpoint = read_checkpoint(description.weights)
    # A module's own extra state may be anything; torch loads it.
    expected = {k: v for k, v in nn.Module.state_dict(network).items() if isinstance(v, Tensor)}
    state = _renamed(checkpoint, expected, description)
    differing = [name for name in expected if name in state and _shape(state[name]) != _shape(expected[name])]
    fitting = {name: tensor for name, tensor in state.items() if name not in differing}
    try:
        result = nn.Module.load_state_dict(network, fitting, strict=False)
    except RuntimeError as error:
        raise _misfit(checkpoint, description, [describe_error(error)]) from error
    absent = [name for name in result.missing_keys if name not in state and not _is_shared(name, expected, fitting)]
    shapes = [f"{k} {list(state[k].shape)} instead of {list(expected[k].shape)}" for k in differing]
    kinds = ("missing", absent), ("unexpected", result.unexpected_keys), ("of another shape", shapes)
    complaints = [_complaint(kind, names) for kind, names in kinds if names]
    if complaints:
        raise _misfit(checkpoint, description, complaints)


@dataclass(frozen=True)
class Prefixes:
    """What stands before the names that a file and a network have in common, without the last dot.

    Attributes:
        file: in the names of the file, together with what holds them.
        network: in the names of the network; empty where the file holds all of these as they are.
    """

    file: str
    network: str

    @property
    def usual(self) -> bool:
        """Whether it says no more than that these are the weights."""
        return all(part in USUAL_HOLDERS | WRAPPERS for part in self.file.split(".") if part)


@dataclass(frozen=True)
class Naming:
    """How the tensors of a file and of a network are called, to be compared.

    Attributes:
        file: full name of each in the file, by the name that is compared.
        network: likewise in the network.
    """

    file: dict[str, str]
    network: dict[str, str]


def _renamed(checkpoint: Checkpoint, expected: dict[str, Tensor], description: Description) -> dict[str, Tensor]:
    """The tensors of a checkpoint that are the network's, by the network's names, and what else is among them."""
    keys = {_joined(*key): key for key in checkpoint.tensors}
    tensors = {full: checkpoint.tensors[key] for full, key in keys.items()}
    # Names as they are come first: a network may have a part called `module`.
    tried = [(naming, _alternatives(naming, tensors, expected)) for naming in _namings(tensors, expected)]
    naming, alternatives = max(tried, key=lambda one: max((number for _, number in one[1]), default=0))
    prefixes = _choose(alternatives, len(expected), checkpoint, description)
    start, before = _dotted(prefixes.file), _dotted(prefixes.network)
    own = {full: before + name[len(start) :] for name, full in naming.file.items() if name.startswith(start)}
    # What other dicts of the file hold, such as an optimizer's state, is not about the network.
    holders = {keys[full][0] for full, name in own.items() if name in naming.network}
    return {
        naming.network.get(name, name): tensors[full]
        for full, name in own.items()
        if not holders or keys[full][0] in holders
    }


def _namings(file: Collection[str], network: Collection[str]) -> Iterator[Naming]:
    """The names as they are, and without `WRAPPERS` if they are still told apart then."""
    yield Naming({name: name for name in file}, {name: name for name in network})
    bare = Naming({_bare(name): name for name in file}, {_bare(name): name for name in network})
    if len(bare.file) == len(file) and len(bare.network) == len(network):
        yield bare


def _bare(name: str) -> str:
    *path, last = name.split(".")
    return ".".join([part for part in path if part not in WRAPPERS] + [last])


def _alternatives(naming: Naming, file: dict[str, Tensor], network: dict[str, Tensor]) -> list[tuple[Prefixes, int]]:
    """The prefixes by which most names of the network are in the file, and how many names; shapes decide first."""
    places = defaultdict(list)
    for name in naming.file:
        parts = name.split(".")
        for start in range(len(parts)):
            places[".".join(parts[start:])].append(".".join(parts[:start]))
    found: Counter[Prefixes] = Counter()
    alike: Counter[Prefixes] = Counter()
    for before in _common_prefixes(naming.network):
        for name, full in naming.network.items():
            rest = name[len(_dotted(before)) :]
            for place in places.get(rest, ()):
                # A file that has the prefix too has all of the network's names.
                if not (before and f".{place}".endswith(f".{before}")):
                    prefixes = Prefixes(place, before)
                    found[prefixes] += 1
                    alike[prefixes] += _shape(file[naming.file[_joined(place, rest)]]) == _shape(network[full])
    most = max(((alike[prefixes], found[prefixes]) for prefixes in found), default=None)
    return [(prefixes, found[prefixes]) for prefixes in found if (alike[prefixes], found[prefixes]) == most]


def _choose(
    alternatives: list[tuple[Prefixes, int]], wanted: int, checkpoint: Checkpoint, description: Description
) -> Prefixes:
    if not alternatives:
        sizes = Counter(holder for holder, _ in checkpoint.tensors)
        return Prefixes(max(sizes, key=lambda holder: sizes[holder], default=""), "")
    usual = [(prefixes, number) for prefixes, number in alternatives if prefixes.usual]
    if len(usual) == 1:
        return usual[0][0]
    prefixes, number = alternatives[0]
    if len(alternatives) > 1 and number == wanted:
        names = ", ".join(f"'{other.file}'" for other, _ in alternatives)
        raise SegmenterError(
            f"The weights {checkpoint.path} hold several that fit the network ({names}): save the right ones alone, "
            f"and name them in {description.entries('weights')}."
        )
    return prefixes


def _common_prefixes(names: Iterable[str]) -> Iterator[str]:
    """Paths of modules that all of ``names`` are in, from the outermost; the first one is empty."""
    paths = [name.split(".")[:-1] for name in names]
    yield ""
    for length in range(1, min(map(len, paths), default=0) + 1):
        if len({tuple(path[:length]) for path in paths}) > 1:
            return
        yield ".".join(paths[0][:length])


def _is_shared(name: str, expected: dict[str, Tensor], loaded: dict[str, Tensor]) -> bool:
    """Whether a tensor of the network lies in another one's memory, which was loaded as a whole."""
    memory = expected[name].untyped_storage()
    return any(
        other.untyped_storage().data_ptr() == memory.data_ptr() and other.nbytes == memory.nbytes()
        for key, other in expected.items()
        if key in loaded
    )


def _shape(tensor: Tensor) -> tuple[int, ...]:
    """The shape, in which a number counts as an array of one: torch loads either."""
    return tuple(tensor.shape) or (1,)


def _joined(holder: str, name: str) -> str:
    return f"{holder}.{name}" if holder else name


def _dotted(prefix: str) -> str:
    return f"{prefix}." if prefix else ""


def _complaint(kind: str, names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    return f"{len(names)} {'is' if len(names) == 1 else 'are'} {kind} ({shown})"


def _misfit(checkpoint: Checkpoint, description: Description, complaints: list[str]) -> SegmenterError:
    module = f" What it holds of a whole pickled module is not read: {HOW_TO_SAVE}." if checkpoint.has_modules else ""
    return SegmenterError(
        f"The weights {checkpoint.path} do not fit the network: of its tensors, {'; '.join(complaints)}: "
        f"change {description.entries('weights', 'builder', 'arguments')} so that they belong together.{module}"
    )

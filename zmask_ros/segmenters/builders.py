"""Builders of networks: torchvision's by name, and functions of modules, which may lie beside the description."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from torch import jit, nn
from torch.nn.parameter import is_lazy

from zmask_ros.errors import describe_error
from zmask_ros.segmenters.description import Description, SegmenterError

_modules_beside: set[str] = set()
"""Names in `sys.modules` of modules that lie beside a description; another description may mean others by them."""


def call_builder(description: Description) -> nn.Module:
    """The network as its builder returns it, without the wrappers of torch for several devices or for compiling.

    Raises:
        SegmenterError: there is no such builder, it fails, or it returns something else than a network.
    """
    arguments = dict(description.arguments)
    if ":" in description.builder:
        build = _import_builder(description)
    else:
        build = _torchvision_builder(description.builder)
        arguments = {"weights": None, "weights_backbone": None, "num_classes": len(description.classes)} | arguments
    try:
        network = build(**arguments)
    # A script that is called instead of imported ends the program.
    except (Exception, SystemExit) as error:
        raise SegmenterError(
            f"Builder '{description.builder}' failed: {describe_error(error)}: "
            f"change {description.entries('builder', 'arguments')}."
        ) from error
    if not isinstance(network, nn.Module):
        raise SegmenterError(
            f"Builder '{description.builder}' returned {type(network).__name__}, not an nn.Module: "
            f"change {description.entries('builder')}."
        )
    network = _unwrapped(network)
    _refuse_untappable(network, description)
    return network


@contextmanager
def modules_beside(description: Description) -> Iterator[None]:
    """Context manager in which Python finds the modules beside ``description``, if its builder is in one of them.

    They are found before others of their names, and stay loaded until the next segmenter is: modules of the same names
    that lie elsewhere are what they were before, and the search path is as well.
    """
    for name in _modules_beside:
        sys.modules.pop(name, None)
    _modules_beside.clear()
    folder = description.source.resolve().parent
    if not lies_beside(description.builder, folder):
        yield
        return
    hidden = {name: sys.modules.pop(name) for name in _names_from_elsewhere(description.builder, folder)}
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        new = {name for name in set(sys.modules) - before if _is_in(sys.modules[name], folder)}
        for name in new:
            if name.partition(".")[0] in hidden:
                del sys.modules[name]
        sys.modules.update(hidden)
        _modules_beside.update(new - hidden.keys())


def lies_beside(builder: str, folder: Path) -> bool:
    """Whether the module of ``builder``, module:function, is a file or a package in ``folder``."""
    module, colon, _ = builder.partition(":")
    path = folder.joinpath(*module.split("."))
    return bool(module and colon) and (Path(f"{path}.py").is_file() or (path / "__init__.py").is_file())


def _names_from_elsewhere(builder: str, folder: Path) -> list[str]:
    """Loaded modules that are called as the builder's module or one beside it, but are others."""
    own = {path.stem for path in folder.glob("[!_]*.py")} | {builder.partition(":")[0].partition(".")[0]}
    own -= sys.stdlib_module_names
    others = {name for name in own if name in sys.modules and not _is_in(sys.modules[name], folder)}
    return [name for name in sys.modules if name.partition(".")[0] in others]


def _is_in(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    places = [file] if file else list(getattr(module, "__path__", ()))
    return any(Path(place).resolve().is_relative_to(folder) for place in places)


def _import_builder(description: Description) -> Callable[..., object]:
    module_name, _, function_name = description.builder.partition(":")
    if not (module_name and function_name):
        raise SegmenterError(f"Builder '{description.builder}' must be written module:function.")
    try:
        module = importlib.import_module(module_name)
    # A user's module may raise anything while it is imported, and a script ends the program.
    except (Exception, SystemExit) as error:
        raise SegmenterError(
            f"Builder '{description.builder}': module '{module_name}' cannot be imported ({describe_error(error)}): "
            f"put it beside {description.source} or on PYTHONPATH, or change {description.entries('builder')}."
        ) from error
    if not hasattr(module, function_name):
        raise SegmenterError(
            f"Builder '{description.builder}': module '{module_name}' has no '{function_name}'{_defined_in(module)}: "
            f"change {description.entries('builder')}."
        )
    builder: Callable[..., object] = getattr(module, function_name)
    return builder


def _defined_in(module: ModuleType) -> str:
    """The functions and classes of a module that are its own, in words; empty where there are none."""
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    named = [name for name in own if callable(getattr(module, name)) and not name.startswith("_")]
    return f", but {', '.join(sorted(named))}" if named else ""


def _torchvision_builder(name: str) -> Callable[..., object]:
    # Only here: it takes a second, and is not installed where networks come in exported graphs.
    try:
        from torchvision.models import get_model, list_models
        from torchvision.models import segmentation as torchvision_segmentation
    except ImportError as error:
        raise SegmenterError(
            f"Builder '{name}' is torchvision's, which cannot be imported ({error}): install it with "
            "'pip install -r requirements/torch.txt', or name the graphs that zmask export wrote elsewhere."
        ) from error
    known = list_models(module=torchvision_segmentation)
    if name not in known:
        raise SegmenterError(
            f"'{name}' is no torchvision segmentation model: choose one of {', '.join(known)}, "
            "or write module:function."
        )
    return lambda **arguments: get_model(name, **arguments)


def _unwrapped(network: nn.Module) -> nn.Module:
    """``network`` without what `torch.compile` and `nn.DataParallel` put around it, which hides its layers."""
    while True:
        if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
            network = network.module
        elif "_orig_mod" in network._modules:
            network = network.get_submodule("_orig_mod")
        else:
            return network


def _refuse_untappable(network: nn.Module, description: Description) -> None:
    if isinstance(network, jit.ScriptModule):
        raise SegmenterError(
            f"Builder '{description.builder}' returned TorchScript, whose layers cannot be tapped: "
            f"change {description.entries('builder')} to one that makes the nn.Module itself."
        )
    # Those of nn.Module call each other, so that a network's own in their place may raise anything.
    try:
        parameters = [*nn.Module.parameters(network), *nn.Module.buffers(network)]
    except Exception as error:
        raise SegmenterError(
            f"Builder '{description.builder}' returned a network with something else in the place of a method of "
            f"nn.Module ({describe_error(error)}): rename that, or change {description.entries('builder')}."
        ) from error
    if any(is_lazy(parameter) or parameter.is_meta for parameter in parameters):
        raise SegmenterError(
            f"Builder '{description.builder}' returned a network with parameters that have no values yet (lazy, or on "
            f"the meta device): run it once in there, and change {description.entries('builder')}."
        )

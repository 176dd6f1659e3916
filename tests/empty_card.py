"""A GPU whose memory holds nothing: torch and Triton believe in it, down to the driver.

The driver is `cuda_stub.c`. Tensors lie on torch's meta device, so that the largest model takes no
memory, and say that they are on a GPU, with an address there. What is computed is nothing.

    with empty_card.inserted("h200") as card:
        ...  # torch.empty(2**40, device="cuda"), Triton's launcher
        card.events()
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

CAPABILITIES = {"h200": (9, 0), "a100": (8, 0), "b200": (10, 0), "l40s": (8, 9)}
UNITS = {"h200": 132, "a100": 108, "b200": 148, "l40s": 142}
STREAM = 0x5EED  # of GPU 0; that of GPU 1 is one more
GPU_BYTES = 1 << 44  # of addresses, as in cuda_stub.c: GPU i has those from (i + 1) times this on
ALIGNED = 512  # as torch's allocator does


@dataclass
class Card:
    """Two of them, in fact, of which one is current."""

    name: str
    driver: ctypes.CDLL
    log: Path
    current: int = 0

    def events(self) -> list[dict[str, Any]]:
        """What was loaded and launched since the last time."""
        if not self.log.exists():
            return []
        lines = self.log.read_text("utf-8").splitlines()
        self.log.unlink()
        return [json.loads(line) for line in lines]

    def select(self, index: int) -> None:
        """Make this GPU the current one, as cudaSetDevice does."""
        context = ctypes.c_void_p()
        assert not self.driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), index)
        assert not self.driver.cuCtxSetCurrent(context)
        self.current = index

    @contextlib.contextmanager
    def selected(self, index: int) -> Iterator[None]:
        before = self.current
        self.select(index)
        yield
        self.select(before)


@contextlib.contextmanager
def inserted(name: str) -> Iterator[Card]:
    """The card, in a process that has not used Triton before and will not use it after."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "libcuda.so.1"
        _build(library)
        os.environ |= {
            "CUDA_STUB": name,
            "CUDA_STUB_LOG": f"{folder}/log",
            "TRITON_CACHE_DIR": f"{folder}/cache",
            "TRITON_LIBCUDA_PATH": folder,
        }
        # Whoever asks for libcuda.so.1 from now on is given this one.
        card = Card(name, ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL), Path(folder) / "log")
        card.select(0)
        _play(card)
        with _Torch(card):
            yield card


def _build(library: Path) -> None:
    import triton

    headers = Path(triton.__file__).parent / "backends" / "nvidia" / "include"
    words = ["cc", "-O1", "-Wall", "-shared", "-fPIC", f"-Wl,-soname,{library.name}"]
    source = Path(__file__).with_name("cuda_stub.c")
    subprocess.run([*words, f"-I{headers}", "-o", str(library), str(source)], check=True)


def _play(card: Card) -> None:
    """The part of torch.cuda that Triton and the benchmarks ask."""
    cuda: Any = torch.cuda
    cuda.is_available = lambda: True
    cuda.current_device = lambda: card.current
    cuda.set_device = card.select
    cuda.device = card.selected
    cuda.get_device_capability = lambda _=None: CAPABILITIES[card.name]
    cuda.empty_cache = lambda: None
    torch._C._cuda_getCurrentRawStream = lambda index: STREAM + index
    torch.Generator = _Generator  # type: ignore[misc]


class _Generator:
    """One of the host's, whatever it is asked to be of: no number is drawn."""

    _of_the_host = torch.Generator

    def __new__(cls, _device: object = None) -> Any:
        return cls._of_the_host()


class OnCard(torch.Tensor):
    """A tensor that says where it is; what comes of it is on the card, too."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        with torch._C.DisableTorchFunction():
            return torch.device("cuda", _address(self) // GPU_BYTES - 1)

    def data_ptr(self) -> int:
        with torch._C.DisableTorchFunction():
            return _address(self) + self.storage_offset() * self.element_size()

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        del types
        return _computed(function, arguments, options or {})


class _Torch(TorchFunctionMode):
    """Torch, where "cuda" is the card."""

    def __init__(self, card: Card) -> None:
        super().__init__()
        _current.append(card)

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        del types
        return _computed(function, arguments, options or {})


def _computed(function: Callable[..., Any], arguments: Any, options: Any) -> Any:
    """What a function of torch gives, which is on the card if it was asked to be there, or if any
    of its arguments are.
    """
    if function is torch.device:
        return function(*arguments, **options)
    gpus = set[int]()

    def there(value: Any) -> Any:
        if isinstance(value, OnCard):
            gpus.add(value.device.index)
            return value.as_subclass(torch.Tensor)
        if str(value).startswith("cuda") and isinstance(value, str | torch.device):
            index = torch.device(value).index
            gpus.add(_current[-1].current if index is None else index)
            return torch.device("meta")
        return value

    def back(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.is_meta:
            return value
        _address(value, gpu)
        return value.as_subclass(OnCard)

    with torch._C.DisableTorchFunction():
        arguments, options = tree_map(there, (arguments, options))
        if not gpus:
            return function(*arguments, **options)
        (gpu,) = gpus
        options.pop("generator", None)
        return tree_map(back, function(*arguments, **options))


_current: list[Card] = []
_next_free: dict[int, int] = {}
# The address of each memory that was ever allocated, which is never given again.
_addresses: dict[int, tuple[int, Any]] = {}


def _address(tensor: torch.Tensor, gpu: int = 0) -> int:
    """Where the memory of a tensor begins, which it is given the first time that it is asked."""
    memory = tensor.untyped_storage()
    if memory._cdata not in _addresses:
        first = _next_free.get(gpu, (gpu + 1) * GPU_BYTES)
        _addresses[memory._cdata] = first, memory
        _next_free[gpu] = first + max(1, -(-memory.nbytes() // ALIGNED)) * ALIGNED
    return _addresses[memory._cdata][0]

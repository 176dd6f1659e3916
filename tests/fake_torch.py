"""A torch that has one GPU to tell of: enough to find a device, with no GPU and no torch there."""

from __future__ import annotations

import types
from importlib.machinery import ModuleSpec
from typing import Any


def fake_torch(
    name: str = "NVIDIA H200",
    units: int = 132,
    memory: int = 150_754_820_096,
    count: int = 1,
    uuid: str = "77f2",
    hip: str | None = None,
    cuda: str | None = "13.0",
    available: bool = True,
    failure: str = "",
    **more: Any,
) -> types.ModuleType:
    """A module to stand in `sys.modules` as torch. `more` are further device properties."""
    properties = types.SimpleNamespace(
        name=name,
        multi_processor_count=units,
        total_memory=memory,
        major=9,
        minor=0,
        uuid=uuid,
        L2_cache_size=60 * 2**20,
        **more,
    )

    def told(value: Any) -> Any:
        def tell(_index: int = 0) -> Any:
            if failure:
                raise RuntimeError(failure)
            return value

        return tell

    torch = types.ModuleType("torch")
    torch.__dict__.update(
        __spec__=ModuleSpec("torch", None),
        __version__="2.11.0+cu130" if cuda else "2.13.0+cpu",
        version=types.SimpleNamespace(cuda=cuda, hip=hip),
        cuda=types.SimpleNamespace(
            is_available=lambda: available,
            device_count=lambda: count,
            init=told(None),
            get_device_properties=told(properties),
            mem_get_info=told((memory - 2**30, memory)),
        ),
    )
    return torch

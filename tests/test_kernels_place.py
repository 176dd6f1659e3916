"""No family of kernels launches on one GPU what lies on another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from tests.kernels_support import current_gpu, needs_triton

pytestmark = needs_triton


@dataclass
class Tensor:
    """As much of a tensor on the first GPU as wrappers look at before they launch."""

    shape: tuple[int, ...]
    dtype: str = "torch.float32"
    address: int = 0
    device: Any = field(default_factory=lambda: SimpleNamespace(type="cuda", index=0))

    def dim(self) -> int:
        return len(self.shape)

    def numel(self) -> int:
        return 4096

    def is_contiguous(self) -> bool:
        return True

    def data_ptr(self) -> int:
        return self.address


def stencil(module: Any) -> None:
    module.seven_point(Tensor((16, 16, 16)), Tensor((16, 16, 16), address=2**20), 1.0, 1.0)


def skinny(module: Any) -> None:
    x, w = Tensor((4, 64), "torch.float16"), Tensor((64, 64), "torch.float16")
    module.multiply(Tensor((4, 64), "torch.float16"), x, w)


def attention(module: Any) -> None:
    q, cache = Tensor((2, 16, 64)), Tensor((2, 4, 128, 64))
    parts, sums = Tensor((2, 16, 4, 64)), Tensor((2, 16, 4))
    lengths = Tensor((2,), "torch.int32")
    module.decode(q, q, cache, cache, lengths, parts, sums, scale=0.125)


def transformer(module: Any) -> None:
    module.quantise(Tensor((4, 64), "torch.float8_e4m3fn"), Tensor((4, 64)), Tensor((4, 1)))


@pytest.mark.parametrize("launch", [stencil, skinny, attention, transformer])
def test_a_tensor_on_another_gpu_is_refused(
    launch: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = pytest.importorskip(f"gpubench.kernels.{launch.__name__}")
    current_gpu(monkeypatch, module, 1)
    with pytest.raises(ValueError, match=r"is not on the current GPU: use torch\.cuda\.device"):
        launch(module)

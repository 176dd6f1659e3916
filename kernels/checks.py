"""What every wrapper asks of its tensors before it launches a kernel on them."""

from typing import TYPE_CHECKING

import triton

if TYPE_CHECKING:
    import torch

VECTOR_BYTES = 16  # the widest load of one thread that every supported GPU has


@triton.jit
def _nothing():
    pass


INTERPRETED = not isinstance(_nothing, triton.JITFunction)
"""Whether Triton's interpreter runs kernels, on arrays in host memory."""


def dtype(tensor: "torch.Tensor") -> str:
    """ "float16" """
    return str(tensor.dtype).removeprefix("torch.")


def described(tensor: "torch.Tensor") -> str:
    """ "4 × 8 float16 on cuda:0" """
    return f"{' × '.join(map(str, tensor.shape))} {dtype(tensor)} on {tensor.device}"


def check_memory(name: str, tensor: "torch.Tensor") -> None:
    """Raises ValueError unless a tensor lies where and as vectors of it can be loaded."""
    said = f"{name} ({described(tensor)})"
    if not tensor.is_contiguous() or tensor.data_ptr() % VECTOR_BYTES:
        raise ValueError(f"{said}: must be contiguous and start at a multiple of {VECTOR_BYTES}")
    check_place(name, said, tensor)


def check_place(name: str, said: str, tensor: "torch.Tensor") -> None:
    """Raises ValueError, which begins with what is `said` of a tensor, if it is not on the current
    GPU: the launch would go there and reach the tensor through the links, or not at all.
    """
    if INTERPRETED:
        return
    if tensor.device.type != "cuda":
        raise ValueError(f"{said}: is not in GPU memory")
    if tensor.device.index != triton.runtime.driver.active.get_current_device():
        raise ValueError(f"{said}: is not on the current GPU: use torch.cuda.device({name}.device)")

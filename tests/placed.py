"""A card made of host memory, whose tensors know that they lie on it.

A benchmark that runs on a processor alone never notices an index, a mask or a generator that was
left on the host: everything is there. These tensors have their values in host memory too, but torch
meets them as the card's: an operator that mixes both places fails, as it would on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map


class Placed(torch.Tensor):
    """A tensor on the card; `held` has its values.

    To torch's own bookkeeping it is a meta tensor, for which every build has a device guard and an
    autograd engine; what asks for its device is told the card.
    """

    held: torch.Tensor
    card: torch.device

    @staticmethod
    def __new__(cls, held: torch.Tensor, card: torch.device) -> Placed:
        laid_out = (
            {"strides": held.stride(), "storage_offset": held.storage_offset()}
            if held.layout is torch.strided
            else {}
        )
        made: Placed = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), dtype=held.dtype, device="meta", **laid_out
        )
        made.held, made.card = held, card
        return made

    def __repr__(self, **_: Any) -> str:
        return f"{self.held!r} on {self.card}"

    @classmethod
    def __torch_function__(
        cls,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func == torch.Tensor.device.__get__:
            return args[0].card
        if func in (torch.Tensor.data_ptr, torch.Tensor.tolist):
            return func(args[0].held)
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            args = (args[0], _index(args[1], args[0].card), *args[2:])
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(
        cls,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return _run(func, args, dict(kwargs or {}))


def _index(index: Any, card: torch.device) -> Any:
    """An index with its tensors on the card: torch would take them to meta, without values.

    On a GPU torch takes one from the host as well, and waits for it each time.
    """
    if isinstance(index, tuple):
        return tuple(_index(one, card) for one in index)
    if isinstance(index, list):
        index = torch.tensor(index)
    elif isinstance(index, torch.Tensor) and not isinstance(index, Placed) and index.dim():
        raise RuntimeError(f"an index {tuple(index.shape)} was left on the host")
    plain = isinstance(index, torch.Tensor) and not isinstance(index, Placed)
    return Placed(index, card) if plain else index


# Operators that take a tensor from the host beside the card's: copies, and indices.
_MOVES = {
    torch.ops.aten.copy_.default,
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put_.default,
    torch.ops.aten._index_put_impl_.default,
}


def _run(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """An operator on values, and its results on the card."""
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
    placed = [x for x in tensors if isinstance(x, Placed)]
    strangers = [x for x in tensors if not isinstance(x, Placed) and x.dim() > 0]
    if strangers and func not in _MOVES:
        told = [(tuple(x.shape), "card" if isinstance(x, Placed) else "host") for x in tensors]
        raise RuntimeError(f"Expected all tensors to be on the same device: {func} has {told}")
    to_host = str(kwargs.get("device")) == "cpu"
    if kwargs.get("device") is not None:
        kwargs["device"] = torch.device("cpu")
    plain_args, plain_kwargs = tree_map(
        lambda x: x.held if isinstance(x, Placed) else x, (tuple(args), kwargs)
    )
    found = func(*plain_args, **plain_kwargs)
    if to_host or (func is torch.ops.aten.copy_.default and not isinstance(args[0], Placed)):
        return found
    known = {id(x.held): x for x in placed}

    def placed_too(x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or isinstance(x, Placed):
            return x
        return known[id(x)] if id(x) in known else Placed(x, placed[0].card)

    return tree_map(placed_too, found)


class Generator(torch.Generator):
    """Random numbers of one place; drawing them into another fails, as on a GPU."""

    place: torch.device

    def __new__(cls, device: Any = "cpu") -> Generator:
        made: Generator = super().__new__(cls, "cpu")
        made.place = torch.device(device)
        return made

    def __init__(self, device: Any = "cpu") -> None:
        """All is done."""


class _Calls(TorchFunctionMode):
    """What names the card as its device, or draws random numbers."""

    def __init__(self, card: torch.device) -> None:
        super().__init__()
        self.card = card

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        moved = func is torch.Tensor.to and len(args) > 1 and _names(args[1], self.card)
        if not (moved or given.keys() & {"device", "generator"}):
            return func(*args, **given)
        placed = any(isinstance(x, Placed) for x in tree_flatten((args, given))[0])
        if moved or _names(given.get("device"), self.card):
            if moved:
                args = (args[0], *args[2:])
            given.pop("device", None)
            return self._on_card(func, args, given, placed)
        generator = given.get("generator")
        if generator is not None and _names(generator.place, self.card) != placed:
            raise RuntimeError(f"Expected a generator of another device than {generator.place}")
        return func(*args, **given)

    def _on_card(self, func: Any, args: Any, given: dict[str, Any], placed: bool) -> Any:
        generator = given.get("generator")
        if generator is not None and not _names(generator.place, self.card):
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        if placed:
            return func(*args, **given)
        given.pop("pin_memory", None)
        found = func(*args, **given)
        return Placed(found.clone() if func is torch.Tensor.to else found, self.card)


def _names(device: Any, card: torch.device) -> bool:
    return isinstance(device, str | torch.device) and torch.device(device) == card


def _attention(
    q: Any,
    k: Any,
    v: Any,
    attn_mask: Any = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """What torch does in one operator, of which builds for hosts have none for other places."""
    if enable_gqa:
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    scores = (q @ k.transpose(2, 3)) * (scale or q.shape[3] ** -0.5)
    if is_causal:
        attn_mask = scores.new_ones(scores.shape[2:], dtype=torch.bool).tril()
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    return scores.softmax(-1) @ v


@contextmanager
def placing(name: str) -> Iterator[None]:
    """Until it ends, torch has a card of that name ("cuda:1"), whose memory is the host's."""
    attention = torch.nn.functional.scaled_dot_product_attention

    def attend(q: Any, *rest: Any, **how: Any) -> Any:
        return (_attention if isinstance(q, Placed) else attention)(q, *rest, **how)

    with pytest.MonkeyPatch.context() as patch, _Calls(torch.device(name)):
        patch.setattr(torch, "Generator", Generator)
        # By name, since what is computed again on the way back has left the mode.
        patch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)
        yield

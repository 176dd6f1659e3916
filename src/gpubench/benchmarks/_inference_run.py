"""One pass of a language model as a call: its operators, its capture, and whether it is right."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from gpubench.benchmarks import _decoder, _decoder_kernels, _decoder_ops, _inference_plan
from gpubench.benchmarks._decoder_exact import Exact
from gpubench.benchmarks._decoder_ops import Plain
from gpubench.benchmarks._inference_plan import said
from gpubench.errors import CannotMeasure, DeviceLost
from gpubench.measuring import Device, DeviceClock, Prepared, faults, import_torch
from gpubench.measuring.verify import poison, verify
from gpubench.model import Case, Caution, LanguageModel

# How far one layer may be from float64: a few roundings of activations, and of 8-bit operands.
_TOLERANCES = {"fp32": 1e-5, "fp16": 5e-3, "bf16": 2e-2, "fp8": 6e-2}
# What is kept in a cache of 8 bits is rounded once more, here and there to the other side.
_CACHED_TOLERANCES = {**_TOLERANCES, "fp8": 1e-1}
# Sequences that are compared; rows do not mix.
_CHECKED = {"decode": 4, "attention": 4, "prefill": 1}


@dataclass(frozen=True)
class State:
    """A cache with its contents, and where the new tokens stand."""

    held: _decoder.Cache
    at: _decoder.Place


def room(
    p: Mapping[str, Any], device: Device, weights: _decoder.Weights, sequences: int
) -> _decoder.Cache:
    """A cache without contents for all the tokens that a sequence will ever hold.

    A window of Mistral's is kept as a whole context here: the kernel leaves out what is too old.
    """
    full = p["input_tokens"] + p.get("output_tokens", 0)
    where = device.torch_name
    return _decoder.cache(weights.model, p["kv_precision"], sequences, full, where)


def place(
    p: Mapping[str, Any], device: Device, weights: _decoder.Weights, sequences: int, seed: int
) -> _decoder.Place:
    """Where the new tokens of a case stand: the whole prompt, or one token more."""
    context = _inference_plan.context(p)
    tokens = context if p["phase"] == "prefill" else 1
    return _decoder.place(weights.model, sequences, tokens, context, device.torch_name, seed)


def plain_or_ours(case: Case, device: Device) -> Plain:
    """The operators of a method, nothing chosen yet. Raises CannotMeasure without triton."""
    return _decoder_kernels.on(device) if case.method == "triton" else Plain()


def out_of_memory(error: BaseException) -> bool:
    """Whether that is what an exception says."""
    sentence = faults.as_sentence(error, "trying")
    return sentence is not None and "out of memory" in str(sentence)


def with_another_attention(case: Case, prepared: Callable[[], Prepared]) -> Prepared:
    """What is prepared; without cuDNN's attention where that has no plan for the case's shapes.

    torch prefers it on Hopper and does not turn to another by itself. Methods for the same work do
    without together, since they are measured in turn; the next case has it again. Raises as
    `prepared` does.
    """
    if case.parameters not in _without_cudnn:
        with_cudnn_again()
    why = ""
    try:
        found = prepared()
    except CannotMeasure as error:
        if _without_cudnn or "cudnn" not in str(error).lower():
            raise
        why = str(error)
    if why:
        import_torch().backends.cuda.enable_cudnn_sdp(False)
        _without_cudnn[:] = [case.parameters]
        found = prepared()
    if not _without_cudnn:
        return found
    told = why or "it had no plan for another method at the same work"
    return replace(found, choices={**found.choices, "without_cudnn_attention": told})


_without_cudnn: list[Mapping[str, Any]] = []
# The parameters of the case that is measured without it, if any.


def with_cudnn_again() -> None:
    """Let torch take cuDNN's attention where the case before had to do without."""
    if _without_cudnn:
        _without_cudnn.clear()
        import_torch().backends.cuda.enable_cudnn_sdp(True)


# --------------------------------------------------------------------------- the pass


def operators(
    case: Case, device: Device, weights: _decoder.Weights, state: State
) -> tuple[Plain, dict[str, Any]]:
    """The operators of a method, and what was chosen for them by trying."""
    ops = plain_or_ours(case, device)
    if not isinstance(ops, _decoder_kernels.Kernels):
        return ops, {}
    clock = DeviceClock(device.index)

    def seconds(call: Callable[[], None]) -> float:
        return min(clock.samples(call, 1, _SEARCH_SAMPLES))

    try:
        multiplies = case.parameters["phase"] != "attention"
        tried = _decoder_kernels.choose(
            ops, weights, state.held, state.at, seconds, device.trials, products=multiplies
        )
    finally:
        clock.release()
    chosen = {f"{n} x {k}": asdict(config) for (n, k), config in ops.products.items()}
    attending = asdict(ops.attending) if ops.attending else None
    return ops, {"products": chosen, "attention": attending, "search": tried}


_SEARCH_SAMPLES = 4


def pass_of(case: Case, ops: Plain, weights: _decoder.Weights, state: State) -> Callable[[], Any]:
    """The whole pass, which gives logits. Raises CannotMeasure where torch cannot compile it."""
    if case.parameters["phase"] == "attention":
        return _attention_of_all(ops, weights, state, case)
    if case.method != "compiled":
        return lambda: _decoder_ops.forward(ops, weights, state.held, state.at)
    compiled = import_torch().compile(_decoder_ops.forward, dynamic=False, fullgraph=True)

    def run() -> Any:
        return compiled(ops, weights, state.held, state.at)

    try:
        run()
    except Exception as error:
        if faults.as_sentence(error, "compiling"):
            raise
        why = faults.first_line(error)
        raise CannotMeasure(f"torch.compile does not compile this pass here ({why})") from error
    plain = _decoder_ops.forward(ops, weights, state.held, state.at)
    tolerance = _TOLERANCES[case.parameters["precision"]]
    verify(run(), _itself(plain), tolerance, f"the compiled {said(case.parameters)}")
    return run


def _attention_of_all(
    ops: Plain, weights: _decoder.Weights, state: State, case: Case
) -> Callable[[], Any]:
    """The attention of a step in all layers, one after the other; gives the last one's."""
    held, queries = state.held, _queries(weights, state.at, case)

    def run() -> Any:
        for keys, values in zip(held.keys, held.values, strict=True):
            found = ops.attend(queries, keys, values, state.at, weights.model)
        return found

    return run


def _queries(weights: _decoder.Weights, at: _decoder.Place, case: Case) -> Any:
    """Random queries of one token for each sequence, the same each time."""
    torch, model = import_torch(), weights.model
    generator = torch.Generator(at.ids.device).manual_seed(at.context)
    shape = (at.sequences, model.heads, at.tokens, model.head_dim)
    dtype = getattr(torch, _decoder.DTYPES[case.parameters["precision"]])
    return torch.empty(shape, dtype=dtype, device=at.ids.device).normal_(generator=generator)


def captured(
    run: Callable[[], Any], device: Device
) -> tuple[Callable[[], None], tuple[Caution, ...]]:
    """The pass as one launch, a CUDA graph; where no capture is possible as it is, with a caution.

    Raises:
        WrongResult: the pass gives logits that are no numbers, or others when captured.
    """

    def bare() -> None:
        run()

    logits = run()
    what = f"the logits of {len(logits)} sequences"
    if device.kind == "cpu":
        verify(logits, _itself(logits), 0.0, what)
        return bare, ()
    cuda = import_torch().cuda
    cuda.synchronize(device.index)
    graph = cuda.CUDAGraph()
    again: Any = None
    # torch leaves its capture stream current when ending a capture fails; the outer one mends.
    with cuda.stream(cuda.current_stream()):
        try:
            with cuda.graph(graph):
                again = run()
        except RuntimeError as error:
            sentence = faults.as_sentence(error, "capturing the pass")
            if isinstance(sentence, DeviceLost) or out_of_memory(error):
                raise
            why = faults.first_line(error)
            cuda.synchronize(device.index)
            verify(logits, _itself(logits), 0.0, what)
            return bare, (Caution("no-graph", f"launched kernel by kernel: {why}"),)
    graph.replay()
    cuda.synchronize(device.index)
    verify(again, _itself(logits), _TOLERANCES["fp8"], what)

    def replayed(_kept: Any = (run, again)) -> None:  # the graph reads what these hold
        graph.replay()

    return replayed, ()


def _itself(logits: Any) -> Callable[[slice], Any]:
    """A tensor as a reference, piece by piece: a wide copy may not fit beside a full cache."""
    return lambda part: logits.reshape(-1)[part]


# --------------------------------------------------------------------------- the answer


def check(ops: Plain, weights: _decoder.Weights, state: State, case: Case) -> str:
    """One layer of the pass, at its whole size, against float64 on some of its sequences.

    Raises:
        WrongResult: it is not right.
    """
    p, model, layer = case.parameters, weights.model, weights.layers[0]
    at, held = state.at, state.held
    chosen = _drawn(at.sequences, _CHECKED[p["phase"]])
    if p["phase"] == "attention":
        return _check_attention(ops, weights, state, case, chosen)
    # Beside a long context's average, the layer's residual would hide much of what attention does.
    attended = _check_attention(ops, weights, state, case, chosen) if at.tokens == 1 else ""
    # The pass writes its new tokens into the cache, and so does the reference, into its own.
    mine = [_gathered(tensor[0], chosen) for tensor in (held.keys, held.values)]
    span = slice(at.context - at.tokens, at.context)
    for tensor in (held.keys[0], held.values[0]):
        poison(tensor[:, :, span])
    found = _added(
        *_decoder_ops.run_layer(
            ops, model, layer, held.keys[0], held.values[0], at, ops.embed(weights, at), None
        )
    )
    rows, some = _rows_of(at, chosen)
    exact = Exact()
    wanted = _added(
        *_decoder_ops.run_layer(
            exact, model, layer, mine[0], mine[1], some, exact.embed(weights, some), None
        )
    )
    what = f"a layer in {said(p)}"
    limit = _CACHED_TOLERANCES[
        "fp8" if "fp8" in (p["kv_precision"], p["precision"]) else p["precision"]
    ]
    for name, ours, theirs in zip(("keys", "values"), (held.keys, held.values), mine, strict=True):
        new = _gathered(ours[0][:, :, span], chosen).float()
        verify(new, theirs[:, :, span].double(), limit, f"the cached {name} of {what}")
    compared, wanted, note = _sent_alike(found[rows], wanted, model)
    checked = verify(compared, wanted, _TOLERANCES[p["precision"]], what)
    del found, wanted, mine
    gc.collect()
    layer_told = f"one layer of {len(chosen)} of {at.sequences} sequences{note}: {checked}"
    return "; ".join(filter(None, (layer_told, attended)))


def _rows_of(at: _decoder.Place, chosen: list[int]) -> tuple[Any, _decoder.Place]:
    """(the rows of all tokens of some sequences, where these stand by themselves)."""
    torch, where = import_torch(), at.ids.device
    first = torch.tensor(chosen, device=where)[:, None] * at.tokens
    rows = (first + torch.arange(at.tokens, device=where)).reshape(-1)
    some = replace(
        at,
        sequences=len(chosen),
        ids=at.ids[rows],
        positions=at.positions[rows],
        lengths=at.lengths[: len(chosen)],
    )
    return rows, some


def _sent_alike(found: Any, wanted: Any, model: LanguageModel) -> tuple[Any, Any, str]:
    """(found, wanted, a note) without the tokens furthest off where a router chooses experts: a
    near tie in it sends a token elsewhere, and rightly so.
    """
    if not model.experts:
        return found, wanted, ""
    off = (found.double() - wanted).norm(dim=1) / wanted.norm(dim=1)
    best = off.argsort()[: max(1, math.ceil(_AGREED * len(off)))]
    note = f" ({len(best)} of {len(off)} tokens, those the router sends alike)"
    return found[best], wanted[best], note


_AGREED = 0.75


def _check_attention(
    ops: Plain, weights: _decoder.Weights, state: State, case: Case, chosen: list[int]
) -> str:
    """One layer's attention against float64 on some of its sequences. Raises WrongResult."""
    at, held = state.at, state.held
    queries = _queries(weights, at, case)
    found = ops.attend(queries, held.keys[0], held.values[0], at, weights.model)[chosen]
    some = replace(at, sequences=len(chosen), lengths=at.lengths[: len(chosen)])
    keys, values = (_gathered(tensor[0], chosen) for tensor in (held.keys, held.values))
    wanted = Exact().attend(queries[chosen].double(), keys, values, some, weights.model)
    tolerance = _TOLERANCES[DTYPES_OF[case.parameters["precision"]]]
    checked = verify(found, wanted, tolerance, f"attention in {said(case.parameters)}")
    return f"attention of {len(chosen)} of {at.sequences} sequences: {checked}"


# As which type an answer is rounded: FP8 is kept in bfloat16.
DTYPES_OF = {"fp8": "bf16", "fp16": "fp16", "bf16": "bf16", "fp32": "fp32"}


def _gathered(tensor: Any, chosen: list[int]) -> Any:
    """A copy of some of the first axis; torch has no index of 8-bit floats everywhere."""
    return import_torch().stack([tensor[one] for one in chosen])


def _added(residual: Any, x: Any) -> Any:
    return residual + x


def _drawn(sequences: int, count: int) -> list[int]:
    """Places of some sequences, the first and the last among them."""
    if sequences <= count:
        return list(range(sequences))
    if count == 1:
        return [sequences - 1]
    return sorted({round(step * (sequences - 1) / (count - 1)) for step in range(count)})

"""The inference benchmark: what it plans, counts, finds to fit and falls back to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from gpubench import catalogue  # noqa: E402
from gpubench.benchmarks import (  # noqa: E402
    _decoder,
    _decoder_exact,
    _decoder_kernels,
    _decoder_ops,
    _inference_capacity,
    _inference_plan,
    _inference_run,
    inference,
)
from gpubench.errors import CannotMeasure, WrongResult  # noqa: E402
from gpubench.measuring import (  # noqa: E402
    Device,
    Prepared,
    Reading,
    Trials,
    idle,
    limited,
    sampling,
)
from gpubench.model import Case, Work  # noqa: E402
from gpubench.records import RunRecord  # noqa: E402
from gpubench.roofline import capacity, steps  # noqa: E402
from gpubench.running import campaign  # noqa: E402
from tests.devices import CPU, H200  # noqa: E402
from tests.kernels_support import needs_triton, told_by  # noqa: E402
from tests.test_rehearsal import INDEX, PlayedCuda  # noqa: E402
from tests.test_rehearsal import cuda as cuda  # noqa: E402  the fixture

KNOWN = catalogue.load()
RECORD = RunRecord("0123abcd", "2026-01-31T09:30:00Z", "nvidia-h200-sxm", {}, complete=False)


# --------------------------------------------------------------------------- the plan


def test_the_whole_suite_ends_within_five_minutes_by_plan() -> None:
    planned = campaign.steps(H200, "full", ["inference"])
    assert sum(step.most_s for step in planned) <= 300
    models = {str(step.planned.case.parameters["model"]) for step in planned}
    assert models == {"llama-2-70b", "llama-3.1-8b", "mistral-7b", "mixtral-8x7b"}
    kinds = {
        (step.planned.case.parameters["phase"], step.planned.case.parameters["precision"])
        for step in planned
    }
    assert kinds >= {(phase, p) for phase in ("prefill", "decode") for p in ("fp16", "fp8", "bf16")}
    assert len(campaign.steps(H200, "quick", ["inference"])) == 1
    few = campaign.steps(H200, "standard", ["inference"])
    assert sum(step.most_s for step in few) <= 19
    assert all(step.planned in [one.planned for one in planned] for step in few)


def test_methods_for_the_same_pass_stand_side_by_side() -> None:
    planned = [one.case for one in inference.plan(H200, "full")]
    alone = [c for c in planned if c.method != "triton"]
    assert {c.method for c in alone} == {"torch", "compiled"}
    for case in alone:
        twin = planned[planned.index(case) - 1]
        assert twin.method == {"torch": "triton", "compiled": "torch"}[case.method]
        assert twin.parameters == case.parameters


def test_a_smaller_part_times_layers_where_the_model_does_not_fit() -> None:
    small = replace(H200, memory_limit=85_520_809_984, memory_free=84_800_000_000)
    cases = [one.case.parameters for one in inference.plan(small, "full")]
    assert {p["layers"] for p in cases if p["model"] == "llama-2-70b"} == {80, 8, 4}
    assert all(p["memory"] == small.memory_limit for p in cases if p["phase"] == "decode")
    assert not any(
        p["batch"] == "max" and p["precision"] == "fp16" and p["layers"] != 32 for p in cases
    )
    tight = replace(H200, memory_total=2**34, memory_free=2**34)
    assert inference.left_out(tight, "quick") == ()  # some layers of it fit
    ((what, why),) = inference.left_out(tight, "full")
    assert "decode of llama-2-70b fp8, batch max, 128 + 2048 tokens" in what
    assert "does not fit" in why
    for one in inference.plan(tight, "full"):
        part = _inference_plan.part(one.case.parameters)
        assert capacity.weight_bytes(part, one.case.parameters["precision"]) < 2**34


def test_a_part_without_eight_bit_floats_is_told() -> None:
    a100 = replace(H200, name="NVIDIA A100", capability="8.0", accelerator=None)
    assert not any(
        one.case.parameters["precision"] == "fp8" for one in inference.plan(a100, "full")
    )
    assert [what for what, _ in inference.left_out(a100, "full")] == ["FP8"]
    assert inference.left_out(H200, "full") == ()


# --------------------------------------------------------------------------- what it counts


def decoding(**more: Any) -> dict[str, Any]:
    base = {"phase": "decode", "model": "llama-2-70b", "precision": "fp16", "kv_precision": "fp16"}
    lengths = {"batch": 8, "input_tokens": 2048, "output_tokens": 128, "layers": 80}
    return {**base, **lengths, **more}


@given(
    st.sampled_from(["llama-2-70b", "llama-3.1-8b", "mistral-7b", "mixtral-8x7b"]),
    st.sampled_from(["fp16", "fp8"]),
    st.integers(1, 512),
    st.integers(1, 4096),
    st.integers(1, 32),
)
def test_a_case_states_the_work_of_the_performance_model(
    name: str, precision: str, batch: int, tokens: int, layers: int
) -> None:
    p = decoding(model=name, precision=precision, kv_precision=precision, batch=batch)
    p |= {"input_tokens": tokens, "layers": layers}
    part = steps.part_of(KNOWN.model(name), layers)
    counted = steps.decode(part, precision, precision, batch, tokens + 64)
    assert inference.work(p) == counted
    prefill = {**p, "phase": "prefill"}
    assert inference.work(prefill) == steps.prefill(part, precision, batch, tokens)


def test_a_few_layers_are_scaled_by_what_they_wait_for() -> None:
    assert _inference_plan.scale(decoding()) == 1.0
    p = decoding(layers=8, batch=1, input_tokens=1, output_tokens=1)
    # Of 137.4 GB of layers and 0.5 GB of head the part reads a tenth of the former.
    layered, head = 80 * 855_654_400 * 2, 32000 * 8192 * 2
    assert _inference_plan.scale(p) == pytest.approx(
        (layered + head) / (layered / 10 + head), rel=1e-3
    )
    prompt = {**p, "phase": "prefill", "input_tokens": 2048, "layers": 4}
    assert 19.9 < _inference_plan.scale(prompt) <= 20.0


def test_as_many_as_fit_are_planned_by_the_memory_of_the_case() -> None:
    p = decoding(precision="fp8", kv_precision="fp8", batch="max", memory=150.75e9)
    each = 2176 * 80 * 2 * 8 * 128
    weights = capacity.weight_bytes(KNOWN.model("llama-2-70b"), "fp8")
    room = 150.75e9 - weights - _inference_plan._RESERVE
    assert _inference_plan.planned_sequences(p) == int(room / each)
    assert _inference_plan.planned_sequences({**p, "memory": 60e9}) == 1
    assert _inference_plan.planned_sequences(decoding(batch=3)) == 3


@given(st.integers(0, 5000), st.integers(1, 6000))
def test_the_most_that_fits_is_found_to_a_hundredth(truth: int, guess: int) -> None:
    asked: list[int] = []

    def fits(number: int) -> bool:
        asked.append(number)
        return number <= truth

    low, high = _inference_capacity.most_that_fit(fits, guess, 2048)
    assert low <= truth
    if truth >= 2048:
        assert (low, high) == (2048, None)
    else:
        assert high is not None
        assert truth < high
        assert high - low <= max(1, low // 100)
    assert len(asked) <= 30
    assert len(set(asked)) == len(asked)


# --------------------------------------------------------------------------- on a processor


@pytest.fixture
def blink(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Plans of a blink, and nothing kept from one story to the next."""
    for name, plan in sampling.PLANS.items():
        short = replace(plan, limit_s=0.02, block_s=1e-3, warmup_s=2e-3, warmup_limit_s=0.02)
        monkeypatch.setitem(sampling.PLANS, name, replace(short, sample_s=1e-4, heat_s=0.0))
    monkeypatch.setattr(idle, "SETTLE_S", 0.0)
    monkeypatch.setattr(idle, "WATCH_S", 0.0)
    inference._idle_watts.clear()
    yield
    inference._idle_watts.clear()
    inference.release()


@pytest.mark.usefixtures("blink")
def test_a_tiny_model_runs_on_a_processor_from_plan_to_record() -> None:
    record = replace(RECORD, accelerator="cpu", suite="quick")
    done = campaign.measure_all(record, CPU, lambda _: None, only=("inference",))
    assert done.failures == {}
    assert [m.choices["sequences"] for m in done.measurements] == [1, 4, 4, 4]
    assert all("one layer of" in m.verification for m in done.measurements[:3])
    assert "attention of 4 of 4 sequences" in done.measurements[3].verification
    scaled = done.measurements[2]
    assert next(c.code for c in scaled.cautions) == "part-of-model"
    assert scaled.choices["scaled"]["layers"] == 2


@pytest.mark.usefixtures("blink")
def test_a_wrong_layer_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = _decoder_ops.Plain.swiglu
    wrong = lambda ops, x, eight: _decoder.Rows(right(ops, x, eight).values * 1.01)  # noqa: E731
    case = inference.plan(CPU, "quick")[0].case
    inference.prepare(case, CPU, 0)
    monkeypatch.setattr(_decoder_ops.Plain, "swiglu", wrong)
    monkeypatch.setattr(_decoder_exact.Exact, "swiglu", right)
    with pytest.raises(WrongResult, match="a layer in decode of tiny"):
        inference.prepare(case, CPU, 0)


@pytest.mark.usefixtures("blink")
def test_a_step_without_attention_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = _decoder_ops.Plain.attend

    def none(ops: Any, q: Any, *given: Any) -> Any:
        return right(ops, q, *given) * (0.0 if type(ops) is _decoder_ops.Plain else 1.0)

    monkeypatch.setattr(_decoder_ops.Plain, "attend", none)
    with pytest.raises(WrongResult, match="attention in decode of tiny"):
        inference.prepare(inference.plan(CPU, "quick")[0].case, CPU, 0)


@pytest.mark.usefixtures("blink")
def test_a_step_that_does_not_keep_its_keys_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = _decoder_ops.Plain.rope

    def forgets(ops: Any, qkv: Any, keys: Any, values: Any, at: Any, model: Any) -> Any:
        own = type(ops) is _decoder_ops.Plain
        found = right(ops, qkv, keys.clone() if own else keys, values, at, model)
        if own:
            keys[:, :, at.context - 1] = 1.0
        return found

    monkeypatch.setattr(_decoder_ops.Plain, "rope", forgets)
    with pytest.raises(WrongResult, match="the cached keys of a layer in decode of tiny"):
        inference.prepare(inference.plan(CPU, "quick")[0].case, CPU, 0)


@pytest.mark.usefixtures("blink")
def test_an_operator_that_refuses_leaves_the_next_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    right = _decoder_ops.Plain.swiglu

    def picky(ops: Any, x: Any, eight: bool) -> Any:
        if len(x) == 4:
            raise RuntimeError("mat1 must have a multiple of 16 rows\nException raised from here")
        return right(ops, x, eight)

    monkeypatch.setattr(_decoder_ops.Plain, "swiglu", picky)
    record = replace(RECORD, accelerator="cpu", suite="quick")
    done = campaign.measure_all(record, CPU, lambda _: None, only=("inference",))
    (why,) = done.failures.values()
    assert why.startswith("torch does not do decode of tiny fp32, batch 4")
    assert why.endswith("(mat1 must have a multiple of 16 rows)")
    assert len(done.measurements) == 3


@pytest.mark.usefixtures("blink")
def test_wrong_attention_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    case = inference.plan(CPU, "quick")[-1].case
    assert case.parameters["phase"] == "attention"
    p = case.parameters
    tiny = _inference_plan.TINY
    # Keys and values of 4 sequences, 64 tokens, 4 layers, 2 heads of 16, in float32.
    assert inference.work(p).bytes == 4 * 64 * 4 * 2 * 2 * 16 * 4
    assert inference.work(p).flops == 4 * 4 * 64 * 4 * tiny.heads * tiny.head_dim
    right = _decoder_ops.Plain.attend

    def short(ops: Any, q: Any, k: Any, v: Any, at: Any, model: Any) -> Any:
        """Leaves the last token out, where it is timed."""
        kept = at if q.dtype is torch.float64 else replace(at, context=at.context - 1)
        return right(ops, q, k, v, kept, model)

    monkeypatch.setattr(_decoder_ops.Plain, "attend", short)
    with pytest.raises(WrongResult, match="attention of tiny"):
        inference.prepare(case, CPU, 0)


@pytest.mark.usefixtures("blink")
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")
def test_what_torch_compiles_is_the_same_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a compiler that traces the whole pass and then runs it as it is."""
    compiled = torch.compile
    asked: list[dict[str, Any]] = []

    def traced(function: Any, **how: Any) -> Any:
        asked.append(how)
        return compiled(function, backend="aot_eager", **how)

    monkeypatch.setattr(torch, "compile", traced)
    case = replace(inference.plan(CPU, "quick")[0].case, method="compiled")
    inference.prepare(case, CPU, 0).call()
    assert asked == [{"dynamic": False, "fullgraph": True}]

    def broken(*_: Any, **__: Any) -> Any:
        def run(*_: Any) -> Any:
            raise TypeError("no such operator")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(CannotMeasure, match=r"does not compile this pass here \(no such"):
        inference.prepare(case, CPU, 0)


@needs_triton
@pytest.mark.slow
def test_our_kernels_make_the_same_model_in_the_interpreter() -> None:
    found = told_by("decoder_interpreted.py")
    for name, told in found.items():
        allowed = 6e-3 if "fp16" in name else 2e-5
        assert max(told["off"]) < allowed, (name, told)
        assert len(told["off"]) == (1 if name == "broken" else 3)
    assert found["broken"]["failed"] == {"rope": "no such shape"}
    assert not any(told["failed"] for name, told in found.items() if name != "broken")


# --------------------------------------------------------------------------- on a played card


def played_modules(played: PlayedCuda) -> _decoder_kernels.Modules:
    """Our kernels as torch calls that check how they are called."""
    from gpubench.kernels import attention, skinny, transformer

    plain = _decoder_ops.Plain()

    def decode(
        out: Any, q: Any, k: Any, v: Any, lengths: Any, parts: Any, sums: Any, **how: Any
    ) -> None:
        assert played.entered
        assert parts.shape == (*q.shape[:2], sums.shape[2], q.shape[2])
        if how["config"] is attention.CONFIGS[1]:
            raise RuntimeError("PassManager::run failed")
        length = int(lengths[0])
        out.copy_(
            torch.nn.functional.scaled_dot_product_attention(
                q[:, :, None],
                k[:, :, :length].to(q.dtype),
                v[:, :, :length].to(q.dtype),
                enable_gqa=True,
                scale=how["scale"],
            )[:, :, 0]
        )

    def norm(out: Any, residual: Any, x: Any, weight: Any, eps: float, scales: Any = None) -> None:
        assert eps == _decoder.EPS
        rows, summed = plain.norm(residual, x, weight, scales is not None)
        residual.copy_(summed)
        out.copy_(rows.values)
        if scales is not None:
            scales.copy_(rows.scales)

    def multiply(y: Any, x: Any, w: Any, scale_x: Any, scale_w: Any, *, config: Any) -> None:
        assert len(x) <= skinny.MOST_ROWS
        assert config in skinny.CONFIGS
        y.copy_(plain.product(_decoder.Rows(x, scale_x), _decoder.Linear(w, scale_w)))

    def rope(*_: Any) -> None:
        raise ValueError("this head has an odd size")

    def swiglu(out: Any, gate_up: Any, scales: Any = None) -> None:
        rows = plain.swiglu(gate_up, scales is not None)
        out.copy_(rows.values)
        if scales is not None:
            scales.copy_(rows.scales)

    def quantise(out: Any, x: Any, scales: Any) -> None:
        rows = _decoder.quantised(x)
        out.copy_(rows.values)
        scales.copy_(rows.scales)

    assert transformer
    return _decoder_kernels.Modules(
        SimpleNamespace(decode=decode, CONFIGS=attention.CONFIGS[:3], DEFAULT=attention.DEFAULT),
        SimpleNamespace(multiply=multiply, CONFIGS=skinny.CONFIGS[:2], MOST_ROWS=skinny.MOST_ROWS),
        SimpleNamespace(norm=norm, rope=rope, swiglu=swiglu, quantise=quantise),
    )


MIXTURE = replace(
    _inference_plan.TINY,
    id="mixture",
    ffn_hidden=0,
    experts=4,
    experts_per_token=2,
    expert_hidden=64,
    # 2 heads and embedding, 4 layers of attention, norms, router and 4 experts.
    parameters=float(2 * 2048 * 64 + 64 + 4 * (20480 + 128 + 256 + 4 * 3 * 64 * 64)),
)


def small_cases(device: Device) -> Iterator[Any]:
    for method in ("triton", "torch"):
        yield _inference_plan._case(method, "decode", "tiny", "fp16", 2, 32, 16, 4)
    more = {"memory": device.memory_total}
    yield _inference_plan._case("triton", "decode", "tiny", "fp8", "max", 32, 16, 4, more)
    yield _inference_plan._case("triton", "prefill", "tiny", "fp8", 2, 32, 0, 2)
    yield _inference_plan._case("triton", "decode", "mixture", "bf16", 40, 32, 16, 4)
    yield _inference_plan._case("triton", "decode", "mixture", "fp8", 40, 32, 16, 4)
    yield _inference_plan._case("triton", "attention", "tiny", "fp8", 2, 32, 16, 4)


def played_grouped(
    x: Any, w: Any, scale_x: Any, scale_w: Any, *, offs: Any, out_dtype: Any, use_fast_accum: bool
) -> Any:
    """torch's grouped product of 8-bit floats, which asks for what the real one asks for."""
    experts, k, n = w.shape
    assert (x.stride(1), w.stride(1), k % 16, n % 16) == (1, 1, 0, 0)
    assert (scale_x.shape, scale_w.shape) == ((len(x),), (experts, n))
    assert scale_x.is_contiguous()
    assert scale_w.is_contiguous()
    assert (offs.dtype, len(offs), use_fast_accum) == (torch.int32, experts, True)
    linear = _decoder.Linear(w.transpose(1, 2), scale_w[:, :, None])
    rows = _decoder.Rows(x, scale_x[:, None])
    return _decoder_ops.one_by_one(_decoder_ops.Plain(), rows, linear, offs).to(out_dtype)


@needs_triton
@pytest.mark.slow
@pytest.mark.usefixtures("blink")
def test_the_suite_is_rehearsed_on_a_second_gpu(
    cuda: PlayedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_inference_plan, "_standard", small_cases)
    models = {"tiny": _inference_plan.TINY, "mixture": MIXTURE}
    monkeypatch.setattr(_inference_plan, "model_of", models.__getitem__)
    monkeypatch.setattr(_decoder_kernels, "modules", lambda: played_modules(cuda))
    made = _decoder.cache

    def cache(model: Any, kv: str, sequences: int, *rest: Any) -> Any:
        if sequences > 50:
            raise cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return made(model, kv, sequences, *rest)

    monkeypatch.setattr(_decoder, "cache", cache)
    monkeypatch.setattr(torch, "_scaled_grouped_mm", played_grouped)
    device = replace(H200, index=INDEX, units=2, telemetry=Watts())
    record = replace(RECORD, suite="standard")
    done = campaign.measure_all(record, device, lambda _: None, only=("inference",))
    assert done.failures == {}
    assert len(done.measurements) == 7
    ours, theirs, full, prompt, mixed, narrow, alone = done.measurements
    assert ours.in_turn_with == ("torch",)
    assert ours.work == theirs.work
    # What could not be launched, and what no capture allowed, is told.
    codes = [caution.code for caution in ours.cautions]
    assert codes[:2] == ["no-graph", "fallback"]
    assert "odd size" in ours.cautions[1].fact
    assert "fallback" not in [caution.code for caution in theirs.cautions]
    failed = [one for one in ours.choices["search"]["attention"] if one["seconds"] is None]
    assert len(failed) == 1
    assert "does not compile" in failed[0]["failed"]
    assert {"products", "attention", "idle_power_w"} <= ours.choices.keys()
    # The sweep ended where memory did.
    assert full.choices["capacity"]["sequences"] == full.choices["sequences"] == 50
    assert full.choices["capacity"]["out_of_memory_at"] == 51
    assert full.work == _inference_plan.work(full.case.parameters, 50)
    assert prompt.choices["scaled"]["of"] == 4
    for routed in (mixed, narrow):
        assert "the router sends alike" in routed.verification
    assert alone.choices["search"].keys() == {"attention"}
    assert cuda.entered == 0


class Watts:
    def read(self) -> Reading:
        return Reading({"power_w": 90.0})

    def card(self) -> Reading:
        return Reading({})


@pytest.mark.usefixtures("blink")
def test_not_one_sequence_that_fits_is_told(
    cuda: PlayedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> Any:
        raise cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(_decoder, "cache", none)
    parameters = decoding(model="tiny", batch="max", layers=4, memory=10**9, input_tokens=32)
    device = replace(H200, index=INDEX, units=2)
    with pytest.raises(CannotMeasure, match="one sequence of decode of tiny"):
        inference.prepare(Case("inference", "torch", parameters), device, 0)


# --------------------------------------------------------------------------- less memory


def test_a_part_passes_for_one_with_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, int]] = []
    played = SimpleNamespace(
        set_per_process_memory_fraction=lambda share, index: asked.append((share, index))
    )
    monkeypatch.setattr(torch, "cuda", played)
    found = limited(H200, 85_520_809_984)
    taken = H200.memory_total - H200.memory_free
    assert (found.memory_limit, found.memory_free) == (85_520_809_984, 85_520_809_984 - taken)
    assert asked == [((85_520_809_984 - taken) / H200.memory_total, 0)]
    for wrong in (taken, H200.memory_total + 1):
        with pytest.raises(CannotMeasure, match="choose a limit between them"):
            limited(H200, wrong)
    with pytest.raises(CannotMeasure, match="--memory-limit"):
        limited(CPU, 2**30)


def test_what_a_card_draws_at_rest_comes_from_its_counter() -> None:
    class Counting(Watts):
        def __init__(self) -> None:
            self.joules = 0.0

        def read(self) -> Reading:
            self.joules += 1.0
            return Reading({"power_w": 500.0, "total_energy_j": self.joules})

    found = idle.idle_power(Counting(), 0.0, 0.02)
    assert found is not None
    assert 0 < found <= 1.0 / 0.02
    assert idle.idle_power(Watts(), 0.0, 0.0) == 90.0

    class Silent(Watts):
        def read(self) -> Reading:
            return Reading({})

    assert idle.idle_power(Silent(), 0.0, 0.0) is None
    assert math.isfinite(found)


def test_without_a_plan_of_cudnn_another_attention_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    switched: list[bool] = []
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", switched.append)
    case = Case("inference", "torch", {"phase": "prefill"})

    def prepared() -> Prepared:
        if not switched:
            raise CannotMeasure("torch does not do it here (cuDNN Frontend error: no valid plan)")
        return Prepared(case, 1, Work(), lambda: None, choices={"a": 1})

    found = _inference_run.with_another_attention(case, prepared)
    assert switched == [False]
    assert "no valid plan" in found.choices["without_cudnn_attention"]
    assert found.choices["a"] == 1

    def broken() -> Prepared:
        raise CannotMeasure("out of memory")

    with pytest.raises(CannotMeasure, match="out of memory"):
        _inference_run.with_another_attention(case, broken)
    assert switched == [False]

    def other() -> Prepared:
        return Prepared(case, 1, Work(), lambda: None)

    twin = _inference_run.with_another_attention(replace(case, method="compiled"), other)
    assert "another method" in twin.choices["without_cudnn_attention"]
    assert switched == [False]  # both are measured in turn
    next_ = _inference_run.with_another_attention(replace(case, parameters={"batch": 2}), other)
    assert switched == [False, True]
    assert next_.choices == {}
    inference.release()
    assert switched == [False, True]


def test_what_one_benchmark_does_without_the_next_one_has(monkeypatch: pytest.MonkeyPatch) -> None:
    switched: list[bool] = []
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", switched.append)
    case = Case("inference", "torch", {"phase": "prefill"})

    def never() -> Prepared:
        raise CannotMeasure("torch does not do it here (cuDNN Frontend error: no valid plan)")

    with pytest.raises(CannotMeasure, match="no valid plan"):
        _inference_run.with_another_attention(case, never)
    inference.release()
    assert switched == [False, True]


def test_a_product_that_torch_refuses_leaves_ours_and_the_other_way_round() -> None:
    model = replace(_inference_plan.TINY, layers=1)
    weights = _decoder.make(model, "fp32", "cpu", 0)
    ours = SimpleNamespace(skinny=SimpleNamespace(CONFIGS=(Tile("ours"),)))
    calls: list[str] = []

    def ops(ours_runs: bool) -> Any:
        def multiplied(_x: Any, _linear: Any, config: Tile) -> None:
            calls.append(config.name)
            if not ours_runs:
                raise ValueError("no such shape")

        return SimpleNamespace(ours=ours, products={}, multiplied=multiplied)

    def refusing(_x: Any, _linear: Any) -> None:
        raise RuntimeError("Expected a size that is divisible by 16")

    linears = [weights.layers[0].qkv]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_decoder_kernels, "by_torch", refusing)
        chosen = ops(ours_runs=True)
        table = _decoder_kernels._choose_product(
            chosen, linears, 1, lambda call: call() or 1.0, Trials()
        )
        assert list(chosen.products.values()) == [Tile("ours")]
        assert table[0] == {
            "by": "torch",
            "seconds": None,
            "failed": "Expected a size that is divisible by 16",
        }
        with pytest.raises(CannotMeasure, match="no product of 1 rows runs here: Expected"):
            _decoder_kernels._choose_product(
                ops(ours_runs=False), linears, 1, lambda call: call() or 1.0, Trials()
            )


@dataclass(frozen=True)
class Tile:
    name: str


def test_room_for_what_comes_after_a_trial_is_kept_during_it(
    cuda: PlayedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cuda
    asked: list[int] = []
    monkeypatch.setattr(torch, "empty", lambda size, **_: asked.append(size))
    _inference_capacity._ballast(10, H200)
    _inference_capacity._ballast(2**25, H200)  # logits, as of 1,000 sequences of Llama 2
    assert asked == [2**29, 40 * 2**25]
    assert _inference_capacity._ballast(2**25, CPU) is None

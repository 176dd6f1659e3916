"""A training step: its counts, its gradients, and that it does what an optimizer does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from gpubench import catalogue  # noqa: E402
from gpubench.benchmarks import _inference_plan, training_step  # noqa: E402
from gpubench.errors import WrongResult  # noqa: E402
from gpubench.measuring import sampling  # noqa: E402
from gpubench.records import RunRecord  # noqa: E402
from gpubench.roofline import steps  # noqa: E402
from gpubench.running import campaign  # noqa: E402
from gpubench.workloads import training as jobs  # noqa: E402
from tests.devices import CPU, H200  # noqa: E402
from tests.placed import placing  # noqa: E402

KNOWN = catalogue.load()


def parameters(**more: Any) -> dict[str, Any]:
    given = {"model": "tiny", "precision": "fp32", "layers": 2, "micro_batch": 2, "sequence": 32}
    return {**given, "recomputation": "none", **more}


@pytest.mark.parametrize("name", ["llama-2-70b", "llama-3.1-8b", "mixtral-8x7b"])
def test_operations_are_those_that_the_model_of_training_counts(name: str) -> None:
    model = KNOWN.model(name)
    counted = steps.training(model, 8192.0, 4096.0, head=True)
    # The model counts every active parameter; embedding and last norm multiply nothing.
    beside = 6 * 8192 * (model.vocabulary * model.hidden + model.hidden)
    assert counted.flops + beside == pytest.approx(8192 * flops_per_token(model, 4096))
    part = steps.part_of(model, 2)
    assert steps.training(part, 8192.0, 4096.0).flops * model.layers == pytest.approx(
        2 * steps.training(model, 8192.0, 4096.0).flops
    )


def flops_per_token(model: Any, sequence: int) -> float:
    """Forward and backward: 6 a parameter used, and causal attention's 6 · L · s · heads · dim."""
    attention = 6 * model.layers * sequence * model.heads * model.head_dim
    return 6 * (model.active_parameters or model.parameters) + attention


def test_the_cases_fit_an_h200_and_none_is_planned_where_they_do_not() -> None:
    cases = [one.case.parameters for one in training_step.plan(H200, "full")]
    assert {(p["precision"], p["recomputation"]) for p in cases} == {
        ("bf16", "none"),
        ("bf16", "full"),
        ("fp8", "none"),
    }
    assert len(training_step.plan(H200, "standard")) == 1
    assert all(training_step._needed(p) < 150e9 for p in cases)
    small = replace(H200, memory_free=2**33)
    assert training_step.plan(small, "full") == ()
    ((what, why),) = training_step.left_out(small, "standard")
    assert what == "2 layers of llama-2-70b in bf16 with micro-batch 1 and recomputation none"
    assert "into the 8.59 GB that are free" in why
    a100 = replace(H200, name="NVIDIA A100", capability="8.0", accelerator=None)
    assert [what for what, _ in training_step.left_out(a100, "full")] == ["FP8"]
    assert all(step.most_s <= 10 for step in campaign.steps(H200, "full", ["training_step"]))


def test_a_step_moves_every_weight_as_adam_says() -> None:
    job = training_step.Job(parameters(), CPU, seed=1)
    before = [weight.detach().clone() for weight in job.weights]
    job.step()
    for was, weight in zip(before, job.weights, strict=True):
        moved = (weight.detach() - was).abs()
        # Adam's first step is the learning rate, whatever the gradient's size, and its decay.
        assert float(moved.max()) == pytest.approx(training_step._RATE, rel=0.1)
        assert weight.grad is None
    assert all(master.grad is None for master in job.masters)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_recomputing_activations_changes_no_gradient(precision: str) -> None:
    found = []
    for how in ("none", "full"):
        job = training_step.Job(parameters(precision=precision, recomputation=how), CPU, seed=1)
        job.step()
        found.append([weight.detach().clone() for weight in job.weights])
    for kept, again in zip(*found, strict=True):
        torch.testing.assert_close(kept, again)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp8"])
def test_output_and_gradients_of_a_layer_are_right(precision: str) -> None:
    told = training_step._check(parameters(precision=precision), CPU, seed=2)
    assert "output and 4 gradients" in told


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_a_step_on_a_card_leaves_nothing_on_the_host(precision: str) -> None:
    with placing(H200.torch_name):
        p = parameters(precision=precision)
        training_step._check(p, H200, seed=2)
        job = training_step.Job(p, H200, seed=2)
        job.step()
        job.step()
        assert {weight.device.type for weight in (*job.weights, *job.masters)} == {"cuda"}
        assert all(bool(weight.isfinite().all()) for weight in job.weights)


def test_a_wrong_gradient_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def silu(x: Any) -> Any:
        """Right forwards, and wrong backwards where it is timed."""
        right = x * torch.sigmoid(x)
        return right if x.dtype is torch.float64 else right.detach() + 0.5 * (x - x.detach())

    monkeypatch.setattr(torch.nn.functional, "silu", silu)
    with pytest.raises(WrongResult, match="gradient"):
        training_step._check(parameters(), CPU, seed=2)


def test_it_runs_on_a_processor_and_says_what_it_stands_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, plan in sampling.PLANS.items():
        short = replace(plan, limit_s=0.05, block_s=1e-3, warmup_s=2e-3, warmup_limit_s=0.02)
        monkeypatch.setitem(sampling.PLANS, name, replace(short, sample_s=1e-4))
    record = RunRecord("0123abcd", "2026-01-31T09:30:00Z", "cpu", {}, complete=False)
    done = campaign.measure_all(
        replace(record, suite="standard"), CPU, lambda _: None, only=("training_step",)
    )
    assert done.failures == {}
    for job in jobs.jobs(done):
        p = job.measurement.case.parameters
        seconds = p["micro_batch"] * p["sequence"] / job.rate.mid
        whole = steps.training(_inference_plan.TINY, 128.0, 64.0, head=True).flops
        assert seconds * job.flops.mid == pytest.approx(whole)
        assert job.conditions["recomputation"] in ("none", "full")

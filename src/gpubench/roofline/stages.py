"""Stages that the layers of a served copy are dealt to, one after the other.

Each of P stages is a tensor-parallel group. The sequences of a copy form micro-batches, one under
way for each stage, so that a token of all of them takes

    max(a pass through all stages, micro-batches · slowest stage)

and k passes that follow each other, such as prompts in chunks, take a pass and k - 1 times the
slowest stage (Narayanan et al., arXiv:2104.04473, section 2.2, without the backward pass). The last
stage has the head as well; layers that do not divide go to others, the first among them, which is
the worst case (`get_pp_indices` of vLLM spares the first stage too where it can).
"""

from __future__ import annotations

from dataclasses import replace

from gpubench.model import Accelerator, LanguageModel
from gpubench.roofline import capacity, ceilings
from gpubench.roofline.calibration import Parameters
from gpubench.roofline.operators import Timed, larger, smaller

_ACTIVATION_BYTES = 2.0


class Stages:
    """What passes cost where the layers on `gpus` devices are dealt to `pipeline` stages."""

    def __init__(
        self,
        part: Accelerator,
        model: LanguageModel,
        gpus: int,
        pipeline: int,
        with_: Parameters,
    ) -> None:
        self.count = pipeline
        ends = capacity.stages(model, pipeline)
        self.first, self.last = ends[0].layers, ends[-1].layers
        # Every stage has a host that starts its kernels.
        self.host = with_.step_overhead_s
        self.hop = self.wire = 0.0
        if pipeline > 1:
            # Each device hands the whole hidden vectors to its counterpart in the next stage.
            rate = ceilings.neighbour_rate(part, gpus, with_)
            self.wire = _ACTIVATION_BYTES * model.hidden / rate
            self.hop = with_.link_latency_s

    def streams(self, sequences: float) -> float:
        """Micro-batches that so many sequences form: one a stage, of one sequence or more."""
        return 1.0 if self.count == 1 else larger(1.0, smaller(sequences, self.count))

    def step(self, layers: Timed, head: Timed, tokens: float, streams: float) -> Timed:
        """One iteration of each of `streams` micro-batches.

        Args:
            layers: all layers on a micro-batch, at the rates of one stage's devices.
            head: what the last stage does beside them.
            tokens: of a micro-batch, sent from stage to stage.
        """
        whole = self._through(layers, head, tokens)
        if self.count == 1:
            return whole
        seconds = larger(whole.seconds, streams * self._slowest(layers, head, tokens))
        return self._stretched(whole, seconds, streams)

    def passes(
        self, layers: Timed, head: Timed, tokens: float, count: float, longer: float = 0.0
    ) -> Timed:
        """`count` passes one after the other, the last of which takes `longer` seconds more."""
        whole = self._through(layers, head, tokens)
        if self.count == 1:
            return whole * count
        seconds = whole.seconds + (count - 1) * self._slowest(layers, head, tokens)
        # While the longest pass is elsewhere, a stage has nothing left to do.
        seconds += (1 - self.first) * longer
        return self._stretched(whole, seconds, count)

    def _stretched(self, whole: Timed, seconds: float, passes: float) -> Timed:
        """`passes` passes in so many seconds; in the rest of these the stages wait."""
        made = whole * (seconds / whole.seconds)
        return replace(made, idle=seconds - passes * whole.seconds / self.count)

    def _through(self, layers: Timed, head: Timed, tokens: float) -> Timed:
        """One pass through all stages; sampled tokens return to the first in a hop more."""
        host = self.count * self.host
        sent = self.count * self.hop + (self.count - 1) * tokens * self.wire
        # One sum instead of two additions: this is in every estimate of every sweep.
        return Timed(
            layers.seconds + head.seconds + (host + sent),
            layers.compute + head.compute,
            layers.memory + head.memory,
            layers.wire + head.wire + sent,
            layers.overhead + head.overhead + host,
        )

    def _slowest(self, layers: Timed, head: Timed, tokens: float) -> float:
        """Seconds of the stage that all others wait for, with what it sends on."""
        first = self.first * layers.seconds + tokens * self.wire
        last = self.last * layers.seconds + head.seconds
        return larger(first, last) + self.host + self.hop

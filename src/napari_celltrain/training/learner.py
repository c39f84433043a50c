"""The weights while they are learnt: one optimiser step, their running average, their state.

A step is shared out to threads in parts of two crops, and each thread computes its parts alone.
Sharing out every operation instead lets all threads wait for the slowest at each of a hundred
small layers (twice the time on a busy machine), and sums in an order that depends on their number.
The gradients of the parts are added in their order, so the weights do not depend on how many
threads there are.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import torch

from napari_celltrain.detector.network import CentreNet
from napari_celltrain.detector.threads import compute_alone
from napari_celltrain.errors import CellTrainError
from napari_celltrain.training.targets import detection_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_celltrain.training.augmentation import Batch
    from napari_celltrain.training.plan import Plan
    from napari_celltrain.training.processes import Processes
    from napari_celltrain.training.settings import TrainingSettings

CLIP_NORM = 5.0
MAX_NONFINITE = 5
"""So many non-finite steps in bfloat16, and the run goes on in float32."""
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_KEPT = ("step", "nonfinite", "nonfinite_in_bfloat16", "precision", "mean_loss")


class Learner:
    """Network, running average of its weights, and optimiser.

    Parameters
    ----------
    plan
        What was decided for the run.
    settings
        Of the run.
    together
        The processes that train together.
    find
        Called with (severity, code, message) when something is worth saying.
    """

    def __init__(
        self,
        plan: Plan,
        settings: TrainingSettings,
        together: Processes,
        find: Callable[[str, str, str], None],
    ) -> None:
        self.device, self.precision = plan.device, plan.arithmetic.precision
        self._format = plan.arithmetic.memory_format
        self.threads: Executor | None = None
        """Compute the parts of a step, on a processor; a graphics card computes it as a whole."""
        if self.device.type == "cpu":
            self.threads = ThreadPoolExecutor(plan.threads, "celltrain-train", compute_alone)
        self._together, self._find = together, find
        self._decay = settings.optimiser.ema
        self.step = 0
        self.nonfinite = 0
        self.nonfinite_in_bfloat16 = 0
        self.mean_loss = math.nan
        """Of the last steps, the newest counting most; NaN before the first."""
        self.network_s = 0.0
        """Computing time of all steps: of all threads on a processor, else of the clock."""
        torch.manual_seed(settings.compute.seed)
        self.network = CentreNet(plan.design).to(
            self.device,
            memory_format=self._format,  # type: ignore[call-overload]
        )
        self.parameters = dict(self.network.named_parameters())
        self.average = {key: value.detach().clone() for key, value in self.parameters.items()}
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(),
            lr=plan.learning_rate,
            weight_decay=settings.optimiser.weight_decay,
            fused=self.device.type != "mps",
        )

    def start_from(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take over the weights of a detector."""
        self.network.load_state_dict(weights)
        self.average = {key: value.detach().clone() for key, value in self.parameters.items()}

    def close(self) -> None:
        """End the threads."""
        if self.threads is not None:
            self.threads.shutdown()

    def learn(self, parts: Sequence[Batch], rate: float) -> None:
        """Take one optimiser step; one whose gradient is not finite changes nothing."""
        begin = self._clock()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        crops = sum(len(part.images) for part in parts)
        shares = [len(part.images) / crops for part in parts]
        if self.threads is None:
            done = [self._gradients(*one) for one in zip(parts, shares, strict=True)]
        else:
            under_way = [
                self.threads.submit(self._gradients, *one)
                for one in zip(parts, shares, strict=True)
            ]
            wait(under_way)  # all of them, also when one has failed: the step may be tried again
            done = [future.result() for future in under_way]
        loss, gradients, seconds = done[0]
        for more, others, further in done[1:]:
            loss, seconds = loss + more, seconds + further
            torch._foreach_add_(gradients, others)
        for parameter, gradient in zip(self.parameters.values(), gradients, strict=True):
            parameter.grad = gradient
        self._together.average(self.network.parameters())
        if self.threads is None:
            finite, further = self._step()
        else:  # alone too: a norm that is shared out is rounded as the threads happen to be many
            finite, further = self.threads.submit(self._step).result()
            seconds += further
        if finite:
            value = float(loss)
            self.mean_loss = (
                value if math.isnan(self.mean_loss) else 0.97 * self.mean_loss + 0.03 * value
            )
        else:
            self._skip_step()
        self.step += 1
        self.network_s += self._clock() - begin + (0.0 if self.threads is None else seconds)

    def _step(self) -> tuple[bool, float]:
        """Let the optimiser step if the gradient is finite; returns whether, and the time."""
        begin = self._clock()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
        finite = bool(torch.isfinite(norm))
        if finite:
            self.optimiser.step()
            self._update_average()
        return finite, self._clock() - begin

    def _clock(self) -> float:
        return time.thread_time() if self.device.type == "cpu" else time.perf_counter()

    def _gradients(
        self, part: Batch, share: float
    ) -> tuple[torch.Tensor, list[torch.Tensor], float]:
        """Compute loss and gradients of a part that is such a share of the step, and time it."""
        begin = self._clock()
        images = part.images.contiguous(memory_format=self._format)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            output = self.network(images)
        heat, offset = detection_loss(output, part.target)
        loss = (heat + offset) * share
        gradients = torch.autograd.grad(loss, list(self.parameters.values()))
        return loss.detach(), list(gradients), self._clock() - begin

    def _update_average(self) -> None:
        decay = min(self._decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(
            list(self.average.values()), [p.detach() for p in self.parameters.values()], 1 - decay
        )

    def _skip_step(self) -> None:
        """Count a step that was not finite; many of them change the precision."""
        self.nonfinite += 1
        if self.nonfinite == 1:
            self._find(
                "warning",
                "non-finite",
                "A step gave values that are not finite; it was skipped. Such steps are counted.",
            )
        if self.precision == "bfloat16":
            self.nonfinite_in_bfloat16 += 1
            if self.nonfinite_in_bfloat16 >= MAX_NONFINITE:
                self.precision = "float32"
                self._find(
                    "warning",
                    "float32",
                    f"{self.nonfinite_in_bfloat16} steps were not finite in bfloat16; training "
                    "goes on in float32.",
                )
        elif self.nonfinite > 50 and self.nonfinite > 0.5 * (self.step + 1):
            raise CellTrainError(
                "Training gives values that are not finite at every other step. Look at the images "
                "for extreme values, or lower optimiser.learning_rate."
            )

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return what a checkpoint keeps as tensors."""
        tensors = {f"model.{key}": value for key, value in self.parameters.items()}
        tensors |= {f"ema.{key}": value for key, value in self.average.items()}
        for key, parameter in self.parameters.items():
            for name, value in self.optimiser.state[parameter].items():
                tensors[f"optimiser.{name}.{key}"] = value
        return tensors

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps as JSON."""
        return {key: getattr(self, key) for key in _KEPT}

    def load(self, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        """Go back to what a checkpoint kept."""
        with torch.no_grad():
            for key, parameter in self.parameters.items():
                parameter.copy_(tensors[f"model.{key}"])
                self.average[key].copy_(tensors[f"ema.{key}"])
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for number, (key, parameter) in enumerate(self.parameters.items()):
            own = {}
            for name in MOMENTS:
                if (saved := tensors.get(f"optimiser.{name}.{key}")) is not None:
                    # in the parameter's own memory layout: fused AdamW reads them side by side
                    like = saved if name == "step" else parameter.detach()
                    own[name] = torch.empty_like(like).copy_(saved)
            if own:
                moments[number] = own
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        for key in _KEPT:
            setattr(self, key, state[key])

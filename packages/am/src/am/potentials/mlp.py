"""A multilayer perceptron that also returns its pullback, cheaply differentiable once more."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

Pullback = Callable[[Tensor], Tensor]
"""Maps a cotangent of the outputs, (n, out), to the gradient at the inputs, (n, in)."""


class _SiluWithSlope(torch.autograd.Function):
    """SiLU and its derivative in one node of the graph, differentiable any number of times."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(z)
        sigmoid = torch.sigmoid(z)
        value = z * sigmoid
        # silu' = sigmoid + silu (1 - sigmoid)
        return value, torch.addcmul(sigmoid, value, 1 - sigmoid)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        value_grad, slope_grad = grads
        (z,) = ctx.saved_tensors
        sigmoid = torch.sigmoid(z)
        gate = 1 - sigmoid
        value = z * sigmoid
        slope = torch.addcmul(sigmoid, value, gate)
        # silu'' = (1 - sigmoid) (silu' + sigmoid (1 - silu))
        curvature = gate * (slope + sigmoid * (1 - value))
        return torch.addcmul(value_grad * slope, slope_grad, curvature)


silu_with_slope: Callable[[Tensor], tuple[Tensor, Tensor]] = _SiluWithSlope.apply


class MLP(nn.Module):
    """Linear layers with SiLU between them.

    Parameters
    ----------
    inputs, outputs
        Sizes of a point in and out.
    width, depth
        Units of a hidden layer, number of hidden layers.
    """

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        sizes = [inputs, *[width] * depth, outputs]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes[:-1]))
        self.last = nn.Linear(sizes[-2], outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, inputs) -> (n, outputs)."""
        for layer in self.hidden:
            inputs = silu(layer(inputs))
        return self.last(inputs)

    def with_pullback(self, inputs: Tensor) -> tuple[Tensor, Pullback]:
        """Outputs and the vector-Jacobian product at ``inputs``.

        Written out instead of taken by automatic differentiation: its own gradient is then a plain
        backward pass, and pushing particles needs no graph at all.
        """
        passed: list[tuple[nn.Linear, Tensor]] = []
        for layer in self.hidden:
            inputs, slope = silu_with_slope(layer(inputs))
            passed.append((cast(nn.Linear, layer), slope))

        def pullback(cotangent: Tensor) -> Tensor:
            gradient = cotangent @ self.last.weight
            for layer, slope in reversed(passed):
                gradient = (gradient * slope) @ layer.weight
            return gradient

        return self.last(inputs), pullback

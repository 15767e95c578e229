"""Tests of the window over a text: Graves' formulas, steps, handwritten derivatives, bfloat16, stopping rule."""

import pytest
import torch
from torch import Tensor

from mdnrnn.nn.attention_window import Text, WindowLSTM, WindowStack, WindowState, has_passed_text
from mdnrnn.nn.lstm import LSTMState
from tests.nn.helpers import relative_error

T, B, A, H, C, U, K = 9, 3, 4, 6, 5, 4, 2


def make_text() -> Text:
    lengths = torch.tensor([4, 2, 3])
    characters = torch.nn.functional.one_hot(torch.randint(0, C, (U, B)), C).double()
    return Text(characters * (torch.arange(U)[:, None] < lengths).unsqueeze(-1), lengths.double().view(1, B, 1))


def make_layer() -> WindowLSTM:
    layer = WindowLSTM(A, H, C, K).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


def make_state() -> WindowState:
    """Make a random state whose parts require gradients."""

    def leaf(size: int) -> Tensor:
        return torch.randn(1, B, size, dtype=torch.float64).requires_grad_()

    return WindowState(LSTMState(leaf(H), leaf(H)), leaf(K), leaf(C), torch.zeros(1, B, 1, dtype=torch.float64))


def run_steps(layer: WindowLSTM, inputs: Tensor, text: Text, state: WindowState) -> tuple[Tensor, Tensor]:
    """Return hidden states and contexts, computed step by step."""
    hiddens, contexts = [], []
    for row in inputs:
        hidden, context, state = layer.step(row, text, state)
        hiddens.append(hidden)
        contexts.append(context)
    return torch.stack(hiddens), torch.stack(contexts)


def test_step_equals_the_published_formulas() -> None:
    layer, text, state = make_layer(), make_text(), make_state()
    x = torch.randn(B, A, dtype=torch.float64)
    hidden, context, after = layer.step(x, text, state)
    for b in range(B):
        recurrent_inputs = torch.cat([state.lstm.hidden[0, b], state.context[0, b]])
        sums = layer.inward.weight @ x[b] + layer.inward.bias + layer.recurrent @ recurrent_inputs
        o, i, f, g = sums.view(4, H)
        cell = f.sigmoid() * state.lstm.cell[0, b] + i.sigmoid() * g.tanh()
        torch.testing.assert_close(hidden[b], o.sigmoid() * cell.tanh())
        alpha, beta, delta = torch.exp(layer.window.weight @ hidden[b] + layer.window.bias).view(3, K)
        kappa = state.centers[0, b] + delta
        expected = torch.zeros(C, dtype=torch.float64)
        for u in range(int(text.lengths[0, b])):
            expected += (alpha * torch.exp(-beta * (kappa - u) ** 2)).sum() * text.characters[u, b]
        torch.testing.assert_close(context[b], expected)
        torch.testing.assert_close(after.centers[0, b], kappa)


def test_forward_equals_steps_with_and_without_gradients() -> None:
    layer, text, state = make_layer(), make_text(), make_state()
    inputs = torch.randn(T, B, A, dtype=torch.float64)
    hidden, context, phi = layer(inputs, text, state)
    hiddens, contexts = run_steps(layer, inputs, text, state)
    with torch.no_grad():
        for with_gradient, without in zip((hidden, context, phi), layer(inputs, text, state), strict=True):
            torch.testing.assert_close(without, with_gradient, rtol=0, atol=0)
    torch.testing.assert_close(hidden, hiddens)
    torch.testing.assert_close(context, contexts)
    torch.testing.assert_close(context, torch.einsum("tbu,ubc->tbc", phi[..., :-1], text.characters))


@pytest.mark.parametrize("used", ["both", "hidden", "context"])
def test_handwritten_derivatives_equal_those_of_autograd(used: str) -> None:
    layer, text, state = make_layer(), make_text(), make_state()
    inputs = torch.randn(T, B, A, dtype=torch.float64).requires_grad_()
    leaves = [inputs, *layer.parameters(), *state.lstm, state.centers, state.context]
    weights = torch.randn(T, B, H, dtype=torch.float64), torch.randn(T, B, C, dtype=torch.float64)

    def loss(hidden: Tensor, context: Tensor) -> Tensor:
        parts = {"hidden": (hidden * weights[0]).sum(), "context": (context * weights[1]).sum()}
        return parts["hidden"] + parts["context"] if used == "both" else parts[used]

    gradients = torch.autograd.grad(loss(*layer(inputs, text, state)[:2]), leaves)
    expected = torch.autograd.grad(loss(*run_steps(layer, inputs, text, state)), leaves)
    torch.testing.assert_close(gradients, expected)


def test_derivatives_equal_finite_differences() -> None:
    layer, text, state = make_layer(), make_text(), make_state()
    inputs = torch.randn(4, B, A, dtype=torch.float64).requires_grad_()

    def run(rows: Tensor) -> tuple[Tensor, Tensor]:
        return layer(rows, text, state)[:2]

    assert torch.autograd.gradcheck(run, (inputs,))


def test_second_derivatives_are_an_error() -> None:
    layer, text, state = make_layer(), make_text(), make_state()
    inputs = torch.randn(2, B, A, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(layer(inputs, text, state)[0].square().sum(), inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_padding_and_other_texts_change_nothing() -> None:
    layer, text = make_layer(), make_text()
    inputs = torch.randn(T, B, A, dtype=torch.float64)
    hidden, context, _ = layer(inputs, text, layer.initial_state(text))
    alone = Text(text.characters[:2, 1:2], text.lengths[:, 1:2])
    hidden_alone, context_alone, _ = layer(inputs[:, 1:2], alone, layer.initial_state(alone))
    torch.testing.assert_close(hidden[:, 1:2], hidden_alone)
    torch.testing.assert_close(context[:, 1:2], context_alone)


def test_bfloat16_is_close_to_float32() -> None:
    """Products in bfloat16 have 8 bits: hidden states, at most 1, agree within 0.03, gradients within 10% in norm."""
    layer, text = make_layer().float(), Text(*(part.float() for part in make_text()))
    inputs, gradients, hiddens = torch.randn(T, B, A), [], []
    for autocast in (False, True):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            hidden, context, _ = layer(inputs, text, layer.initial_state(text))
        (hidden.float().square().sum() + context.float().square().sum()).backward()
        hiddens.append(hidden.detach().float())
        gradients.append(torch.cat([p.grad.flatten() for p in layer.parameters() if p.grad is not None]))
        assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in layer.parameters())
    torch.testing.assert_close(hiddens[1], hiddens[0], atol=0.03, rtol=0)
    assert relative_error(gradients[1], gradients[0]) < 0.1


@pytest.mark.parametrize(
    ("centers", "passed"),
    [([2.9, 2.9], False), ([3.4, 3.4], False), ([3.6, 3.6], True), ([3.4, 9.0], False), ([1.0, 4.0], False),
     ([60.0, 70.0], True)],
)  # fmt: skip
def test_window_has_passed_a_text_when_its_maximum_is_one_character_beyond_the_end(
    centers: list[float], passed: bool
) -> None:
    """The text has length 3; phi(3) equals phi(4) for centers at 3.5. Alone and in a batch with a longer text."""
    centers_row = torch.tensor([centers])
    alpha, beta = torch.tensor([[1.0, 0.9]]), torch.tensor([[2.0, 2.0]])
    for longest in (3, 8):
        u = torch.arange(longest + 1)
        phi = (alpha.unsqueeze(-1) * torch.exp(-beta.unsqueeze(-1) * (centers_row.unsqueeze(-1) - u) ** 2)).sum(1)
        assert bool(has_passed_text(alpha, beta, centers_row, phi, torch.tensor([[[3.0]]]))) == passed


def test_stack_forward_equals_steps() -> None:
    text = Text(*(part.float() for part in make_text()))
    stack = WindowStack(A, H, C, 3, K)
    inputs = torch.randn(T, B, A)
    outputs, _ = stack(inputs, stack.initial_state(text))
    assert outputs.shape == (T, B, stack.width) == (T, B, 3 * H + C)
    state = stack.initial_state(text)
    for row, expected in zip(inputs, outputs, strict=True):
        output, state = stack.step(row, state)
        torch.testing.assert_close(output, expected)

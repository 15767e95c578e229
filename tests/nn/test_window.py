"""The window and its loop: against the formulas, against its own steps, and its derivatives against autograd's."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from mdnrnn.nn.lstm import LSTMState
from mdnrnn.nn.window import Text, WindowLSTM, WindowStack, WindowState, has_passed_text

T, B, A, H, C, U, K = 9, 3, 4, 6, 5, 4, 2


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def _text() -> Text:
    lengths = torch.tensor([4, 2, 3])
    characters = torch.nn.functional.one_hot(torch.randint(0, C, (U, B)), C).double()
    return Text(characters * (torch.arange(U)[:, None] < lengths).unsqueeze(-1), lengths.double().view(1, B, 1))


def _layer() -> WindowLSTM:
    layer = WindowLSTM(A, H, C, K).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


def _state() -> WindowState:
    """Somewhere on the way, every part a leaf."""

    def leaf(*shape: int) -> Tensor:
        return torch.randn(1, B, *shape, dtype=torch.float64).requires_grad_()

    return WindowState(LSTMState(leaf(H), leaf(H)), leaf(K), leaf(C), torch.zeros(1, B, 1, dtype=torch.float64))


def _by_steps(layer: WindowLSTM, inputs: Tensor, text: Text, state: WindowState) -> tuple[Tensor, Tensor]:
    hiddens, seens = [], []
    for row in inputs:
        hidden, seen, state = layer.step(row, text, state)
        hiddens.append(hidden)
        seens.append(seen)
    return torch.stack(hiddens), torch.stack(seens)


def test_a_step_is_what_graves_writes() -> None:
    layer, text, state = _layer(), _text(), _state()
    x = torch.randn(B, A, dtype=torch.float64)
    hidden, seen, after = layer.step(x, text, state)
    for b in range(B):
        read = torch.cat([state.lstm.hidden[0, b], state.context[0, b]])
        o, i, f, g = (layer.inward.weight @ x[b] + layer.inward.bias + layer.recurrent @ read).view(4, H)
        cell = f.sigmoid() * state.lstm.cell[0, b] + i.sigmoid() * g.tanh()
        torch.testing.assert_close(hidden[b], o.sigmoid() * cell.tanh())
        alpha, beta, delta = torch.exp(layer.window.weight @ hidden[b] + layer.window.bias).view(3, K)
        kappa = state.centers[0, b] + delta
        expected = torch.zeros(C, dtype=torch.float64)
        for u in range(int(text.lengths[0, b])):
            expected += (alpha * torch.exp(-beta * (kappa - u) ** 2)).sum() * text.characters[u, b]
        torch.testing.assert_close(seen[b], expected)
        torch.testing.assert_close(after.centers[0, b], kappa)


def test_all_steps_at_once_are_the_steps_one_by_one() -> None:
    layer, text, state = _layer(), _text(), _state()
    inputs = torch.randn(T, B, A, dtype=torch.float64)
    hidden, seen, phi = layer(inputs, text, state)
    hiddens, seens = _by_steps(layer, inputs, text, state)
    with torch.no_grad():
        for kept, lean in zip((hidden, seen, phi), layer(inputs, text, state), strict=True):
            torch.testing.assert_close(lean, kept, rtol=0, atol=0)
    torch.testing.assert_close(hidden, hiddens)
    torch.testing.assert_close(seen, seens)
    torch.testing.assert_close(seen, torch.einsum("tbu,ubc->tbc", phi[..., :-1], text.characters))


@pytest.mark.parametrize("used", ["both", "hidden", "seen"])
def test_derivatives_are_those_of_the_steps(used: str) -> None:
    layer, text, state = _layer(), _text(), _state()
    inputs = torch.randn(T, B, A, dtype=torch.float64).requires_grad_()
    leaves = [inputs, *layer.parameters(), *state.lstm, state.centers, state.context]
    weights = torch.randn(T, B, H, dtype=torch.float64), torch.randn(T, B, C, dtype=torch.float64)

    def loss(hidden: Tensor, seen: Tensor) -> Tensor:
        parts = {"hidden": (hidden * weights[0]).sum(), "seen": (seen * weights[1]).sum()}
        return parts["hidden"] + parts["seen"] if used == "both" else parts[used]

    ours = torch.autograd.grad(loss(*layer(inputs, text, state)[:2]), leaves)
    theirs = torch.autograd.grad(loss(*_by_steps(layer, inputs, text, state)), leaves)
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other)


def test_derivatives_are_those_of_finite_differences() -> None:
    layer, text, state = _layer(), _text(), _state()
    inputs = torch.randn(4, B, A, dtype=torch.float64).requires_grad_()

    def function(rows: Tensor) -> tuple[Tensor, Tensor]:
        return layer(rows, text, state)[:2]

    assert torch.autograd.gradcheck(function, (inputs,))


def test_a_second_derivative_is_refused() -> None:
    layer, text, state = _layer(), _text(), _state()
    inputs = torch.randn(2, B, A, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(layer(inputs, text, state)[0].square().sum(), inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_the_place_of_a_text_in_its_batch_and_the_padding_count_for_nothing() -> None:
    layer, text = _layer(), _text()
    inputs = torch.randn(T, B, A, dtype=torch.float64)
    hidden, seen, _ = layer(inputs, text, layer.initial_state(text))
    alone = Text(text.characters[:2, 1:2], text.lengths[:, 1:2])
    hidden_alone, seen_alone, _ = layer(inputs[:, 1:2], alone, layer.initial_state(alone))
    torch.testing.assert_close(hidden[:, 1:2], hidden_alone)
    torch.testing.assert_close(seen[:, 1:2], seen_alone)


def test_bfloat16_is_near_float32() -> None:
    """Autocast: products in bfloat16, 8 bits: hidden states of up to 1 within 3 percent, gradients within 10."""
    layer, text = _layer().float(), _text()
    text = Text(*(part.float() for part in text))
    inputs, slopes, hiddens = torch.randn(T, B, A), [], []
    for narrow in (False, True):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            hidden, seen, _ = layer(inputs, text, layer.initial_state(text))
        (hidden.float().square().sum() + seen.float().square().sum()).backward()
        hiddens.append(hidden.detach().float())
        slopes.append(torch.cat([p.grad.flatten() for p in layer.parameters() if p.grad is not None]))
        assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in layer.parameters())
    torch.testing.assert_close(hiddens[1], hiddens[0], atol=0.03, rtol=0)
    assert (slopes[1] - slopes[0]).norm() < 0.1 * slopes[0].norm()


@pytest.mark.parametrize(
    ("places", "left"),
    [([2.9, 2.9], False), ([3.4, 3.4], False), ([3.6, 3.6], True), ([3.4, 9.0], False), ([1.0, 4.0], False),
     ([60.0, 70.0], True)],
)  # fmt: skip
def test_a_window_has_left_when_it_is_heaviest_a_character_behind_the_text(places: list[float], left: bool) -> None:
    """A text of 3, whose end is place 3; between 3 and 4 both weigh the same at 3.5. Alone, and beside a longer one."""
    place = torch.tensor([places])
    alpha, beta = torch.tensor([[1.0, 0.9]]), torch.tensor([[2.0, 2.0]])
    for longest in (3, 8):
        u = torch.arange(longest + 1)
        phi = (alpha.unsqueeze(-1) * torch.exp(-beta.unsqueeze(-1) * (place.unsqueeze(-1) - u) ** 2)).sum(1)
        assert bool(has_passed_text(alpha, beta, place, phi, torch.tensor([[[3.0]]]))) == left


def test_a_stack_steps_as_it_goes_over_all_steps() -> None:
    text = Text(*(part.float() for part in _text()))
    stack = WindowStack(A, H, C, 3, K)
    inputs = torch.randn(T, B, A)
    outputs, _ = stack(inputs, stack.initial_state(text))
    assert outputs.shape == (T, B, stack.width) == (T, B, 3 * H + C)
    state = stack.initial_state(text)
    for row, expected in zip(inputs, outputs, strict=True):
        output, state = stack.step(row, state)
        torch.testing.assert_close(output, expected)

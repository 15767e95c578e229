"""Doodles: line drawings of twelve classes of objects, with random variation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from mdnrnn.data.strokes import Drawing
from mdnrnn.data.synthetic.hand import Hand, bulges, ellipse, mirror

SIDES = (-1, 1)


def _butterfly(hand: Hand) -> Drawing:
    top, tail = hand.between(-0.5, -0.35), hand.between(0.4, 0.6)
    wide, high = hand.between(0.8, 1.0), hand.between(0.65, 0.9)
    narrow, low = wide * hand.between(0.6, 0.9), hand.between(0.6, 0.85)
    x, y = hand.between(0.12, 0.26), top - hand.between(0.3, 0.45)
    uppers, lowers, feelers = [], [], []
    for s in SIDES:
        tips = [(0.45, -0.75), (0.9, -1.0), (1.0, -0.5), (0.6, 0.0)]
        uppers.append(hand.curve((s * 0.05, -0.05), *((s * wide * u, high * v) for u, v in tips), (s * 0.05, 0)))
        tips = [(0.8, 0.15), (0.95, 0.7), (0.5, 1.0)]
        lowers.append(hand.curve((s * 0.05, 0.03), *((s * narrow * u, low * v) for u, v in tips), (s * 0.05, 0.2)))
        feelers.append(hand.curve((s * 0.02, top), (s * x * 0.4, (top + y) / 2), (s * x, y)))
    if hand.chance(0.5):
        body = hand.oval(0, (top + tail) / 2, hand.between(0.05, 0.1), (tail - top) / 2)
    else:
        body = hand.line((0, top), (0, tail))
    wings = [*uppers, *lowers] if hand.chance(0.5) else [uppers[0], lowers[0], uppers[1], lowers[1]]
    return hand.ordered([body], wings) + feelers


def _car(hand: Hand) -> Drawing:
    hood, floor, roof = hand.between(-0.1, 0.0), 0.4, hand.between(-0.6, -0.45)
    r, back, front = hand.between(0.17, 0.24), hand.between(-0.62, -0.5), hand.between(0.5, 0.62)
    tail, a, b = hand.between(-0.95, -0.55), hand.between(-0.5, -0.3), hand.between(0.15, 0.35)
    nose, bumper = b + hand.between(0.25, 0.35), hood + hand.between(0.05, 0.15)
    top = [(-1, hood + 0.02), (tail, hood), (a, roof), (b, roof), (nose, hood), (1, bumper)]
    if hand.chance(0.5):
        shell = [hand.outline(*top, (1, floor), (-1, floor))]
    else:
        sides_and_top = [(back - r, floor), (-1, floor), *top, (1, floor), (front + r, floor)]
        shell = [hand.line(*sides_and_top), hand.line((back + r, floor), (front - r, floor))]
    head, sill, post = roof + 0.1, hood - 0.02, (a + b) / 2
    rear = [(a + 0.03, head), (post - 0.05, head), (post - 0.05, sill), ((tail + a) / 2 + 0.03, sill)]
    fore = [(post + 0.05, head), (b - 0.02, head), (nose - 0.13, sill), (post + 0.05, sill)]
    windows = hand.maybe(0.9, hand.outline(*rear), hand.outline(*fore))
    handle = hand.maybe(0.4, hand.line((post - 0.02, hood + 0.15), (post - 0.14, hood + 0.15)))
    wheels = [hand.oval(x, floor + 0.02, r, r) for x in (back, front)]
    hubs = hand.maybe(0.3, *(hand.oval(x, floor + 0.02, r * 0.4, r * 0.4) for x in (back, front)))
    return hand.ordered([*shell, *windows, *handle], [*wheels, *hubs])


def _cat(hand: Hand) -> Drawing:
    rx, ry = hand.between(0.7, 0.88), hand.between(0.6, 0.72)
    outer, inner = hand.between(0.14, 0.17), hand.between(0.05, 0.07)
    tip = np.array([rx * hand.between(0.75, 0.95), -ry - hand.between(0.2, 0.4)])
    roots = ellipse((0, 0), (rx, ry), 0.75 + np.array([inner, outer]))
    if hand.chance(0.5):
        jaw = ellipse((0, 0), (rx, ry), np.linspace(0.75 + outer, 1.75 - outer, 25))
        head = [hand.loop(np.concatenate([jaw, mirror([roots[0], tip, jaw[0]])[1:]]))]
    else:
        ears = [hand.line(*(p * (s, 1) for p in (roots[1], tip, roots[0]))) for s in SIDES]
        head = hand.ordered([hand.oval(0, 0, rx, ry)], ears)
    x, y, r = rx * hand.between(0.35, 0.45), hand.between(-0.2, -0.08), hand.between(0.09, 0.13)
    dotted = hand.chance(0.5)
    eyes = [hand.dot(s * x, y) if dotted else hand.oval(s * x, y, r, r * 1.2) for s in SIDES]
    nose, cheek = hand.between(0.06, 0.12), hand.between(0.14, 0.22)
    lip = nose + 0.12
    snout = hand.outline((-0.08, nose), (0.08, nose), (0, lip - 0.02))
    mouth = [hand.curve((0, lip), (s * cheek * 0.5, lip + 0.13), (s * cheek, lip + 0.06)) for s in SIDES]
    near, far, spread = hand.between(0.35, 0.45), hand.between(0.95, 1.15), hand.between(0.06, 0.16)
    rows = (-0.6, 0.6) if hand.chance(0.5) else (-1, 0, 1)
    whiskers = [hand.line((s * near, nose + k * 0.07), (s * far, nose + k * spread)) for s in SIDES for k in rows]
    return [*head, *eyes, snout, *mouth, *whiskers]


def _fish(hand: Hand) -> Drawing:
    nose, tall, waist = hand.between(-1.0, -0.85), hand.between(0.38, 0.55), hand.between(0.35, 0.5)
    end, fork, notch = hand.between(0.9, 1.1), hand.between(0.3, 0.5), hand.between(0.7, 0.9)
    back = np.array([(waist, -0.06), (0, -0.8 * tall), (-0.35, -tall), (nose * 0.82, -0.55 * tall), (nose, 0)])
    belly = back[-2::-1] * (1, -1)
    above, below = (end, -fork), (end, fork)
    if hand.chance(0.5):
        body = [hand.curve(above, *back, *belly, below), hand.line(above, (notch, 0), below)]
    else:
        tail = hand.line(back[0], above, (notch, 0), below, belly[-1])
        body = hand.ordered([hand.blob((waist, 0), *back[1:], *belly[:-1])], [tail])
    x, y, peak = (
        nose * hand.between(0.62, 0.72),
        -tall * hand.between(0.2, 0.35),
        -tall - hand.between(0.2, 0.35),
    )
    eye = hand.dot(x, y) if hand.chance(0.4) else hand.oval(x, y, 0.08, 0.08)
    gill = hand.curve((nose * 0.5, -0.6 * tall), (nose * 0.38, 0), (nose * 0.5, 0.6 * tall))
    fin = hand.curve((-0.35, -tall), (0, peak), (0.2, peak + 0.1), (0.12, -0.65 * tall))
    side_fin = hand.curve((-0.15, 0.05), (0.1, 0), (0.12, 0.18), (-0.12, 0.16))
    mouth = hand.curve((nose + 0.02, 0.08), (nose * 0.85, 0.14), (nose * 0.75, 0.08))
    extras = (gill, fin, side_fin, mouth)
    return [*body, eye, *(part for stroke in extras for part in hand.maybe(0.5, stroke))]


def _flower(hand: Hand) -> Drawing:
    y, r, n = -0.4, hand.between(0.14, 0.22), hand.integer(5, 6)
    # One petal points down, toward the start of the stem. The petals are drawn in order, starting at a random petal.
    turns = hand.rng.normal(0.25, 0.015) + (np.arange(n + 1) + hand.integer(0, n)) / n
    if hand.chance(0.5):
        ring, height = r * hand.between(1.5, 1.8), hand.between(0.7, 1.0)
        reach = ring * (np.cos(np.pi / n) + 2 * height * np.sin(np.pi / n))
        petals = [hand.loop(bulges(ellipse((0, y), (ring, ring), turns + 0.5 / n), height))]
    else:
        reach, half = r + hand.between(0.35, 0.5), 0.42 / n
        radii, fan = (
            np.array([r, 0.8 * reach, reach, 0.8 * reach, r])[:, None],
            np.array([-0.7, -0.8, 0, 0.8, 0.7]),
        )
        petals = [hand.curve(*((0, y) + radii * ellipse((0, 0), (1, 1), t + half * fan))) for t in turns[:-1]]
    flower = hand.ordered([hand.oval(0, y, r, r)], petals)
    foot, bend = hand.between(-0.12, 0.12), hand.between(-0.12, 0.12)
    stem = hand.curve((0, y + reach), (foot + bend, 0.55), (foot, 1.0))
    leaves = []
    for s in hand.rng.permutation(SIDES)[: hand.integer(1, 2)]:
        low, long = hand.between(0.65, 0.8), s * hand.between(0.35, 0.5)
        root, tip = (foot + bend * 0.6, low), (foot + long, low - 0.25)
        leaves.append(hand.curve(root, (foot + long * 0.4, low - 0.3), tip, (foot + long * 0.7, low), root))
    return hand.ordered(flower, [stem, *leaves])


def _house(hand: Hand) -> Drawing:
    w, top, floor = hand.between(0.6, 0.9), hand.between(-0.2, 0.05), 0.85
    peak, eave = top - hand.between(0.5, 0.8), w + hand.between(0.0, 0.2)
    sides = (-w, top), (-w, floor), (w, floor), (w, top)
    slopes = (-eave, top), (hand.between(-0.08, 0.08), peak), (eave, top)
    if hand.chance(0.5):
        frame = hand.ordered([hand.outline(*sides)], [hand.line(*slopes)])
    else:
        frame = hand.ordered([hand.line(*sides)], [hand.outline(*slopes)])
    where, half, lintel = (
        hand.integer(-1, 1),
        hand.between(0.13, 0.2),
        floor - hand.between(0.45, 0.58) * (floor - top),
    )
    x = where * w * 0.5
    door = [hand.line((x - half, floor), (x - half, lintel), (x + half, lintel), (x + half, floor))]
    door += hand.maybe(0.3, hand.dot(x + half * 0.6, (lintel + floor) / 2))
    r, y, crossed = hand.between(0.11, 0.16), top + hand.between(0.3, 0.4) * (floor - top), hand.chance(0.4)
    windows = []
    for x in (-0.62 * w, 0.62 * w) if where == 0 else (-where * w * 0.45,):
        bars = [hand.line((x, y - r), (x, y + r)), hand.line((x - r, y), (x + r, y))]
        windows += [hand.box(x, y, r, r), *(bars if crossed else [])]
    s, near, far = hand.rng.choice(SIDES), hand.between(0.3, 0.42), hand.between(0.6, 0.72)
    crest, (x1, x2) = peak - hand.between(-0.1, 0.1), (s * near * eave, s * far * eave)
    feet = [peak + k * (top - peak) for k in (near, far)]
    chimney = hand.maybe(0.5, hand.line((x1, feet[0]), (x1, crest), (x2, crest), (x2, feet[1])))
    return [*frame, *hand.ordered(door, windows), *chimney]


def _mug(hand: Hand) -> Drawing:
    top, floor, lip = -0.4, hand.between(0.6, 0.8), hand.between(0.1, 0.17)
    w = hand.between(0.5, 0.65)
    b = w * hand.between(0.8, 1.0)
    side = [(b * 0.6, floor + 0.05), (b, floor - 0.08), ((w + b) / 2, 0.1), (w, top)]
    cup = hand.ordered([hand.oval(0, top, w, lip)], [hand.curve(*mirror(side))])
    out, high, low = hand.between(0.3, 0.42), top + hand.between(0.15, 0.25), floor - hand.between(0.25, 0.35)
    elbow = (w + out, (high + low) / 2)
    handle = [hand.curve((w, high), (w + out * 0.8, high), elbow, (w + out * 0.6, low), (b, low))]
    elbow = (w + out * 0.6, elbow[1])
    inside = [
        (w, high + 0.13),
        (w + out * 0.5, high + 0.14),
        elbow,
        (w + out * 0.35, low - 0.13),
        (b, low - 0.12),
    ]
    handle += hand.maybe(0.4, hand.curve(*inside))
    base, tall = top - lip - 0.08, hand.between(0.3, 0.45)
    sway = [(0.0, 0.0), (-0.07, 0.33), (0.07, 0.67), (0.0, 1.0)]
    columns = np.linspace(-0.25, 0.25, hand.integer(2, 3))
    steam = hand.maybe(0.6, *(hand.curve(*((x + u, base - v * tall) for u, v in sway)) for x in columns))
    return [*cup, *handle, *steam]


def _mushroom(hand: Hand) -> Drawing:
    w, rim, sag = hand.between(0.75, 0.95), hand.between(0.0, 0.12), hand.between(0.02, 0.2)
    tall = rim + hand.between(0.75, 0.95)
    dome = hand.arc((0, rim), (w, tall), 0.5, 1.0)
    brim = hand.curve((w, rim), (w * 0.5, rim + sag), (-w * 0.5, rim + sag), (-w, rim))
    cap = [np.concatenate([dome, brim])] if hand.chance(0.5) else [dome, brim]
    s, floor = hand.between(0.2, 0.3), hand.between(0.75, 0.95)
    foot = s * hand.between(1.0, 1.4)
    side = [(foot * 0.5, floor + 0.03), (foot, floor - 0.06), ((s + foot) / 2, floor * 0.6), (s, rim + sag)]
    stem = [hand.curve(*mirror(side))]
    spots = []
    for x, y in [(-0.5, 0.3), (0.02, 0.65), (0.5, 0.32)][: hand.integer(2, 3)]:
        r = hand.between(0.06, 0.15)
        spots.append(hand.oval(w * (x + hand.between(-0.1, 0.1)), rim - tall * y, r, r * 0.9))
    return hand.ordered([*cap, *stem], spots)


def _sailboat(hand: Hand) -> Drawing:
    deck, keel, top = hand.between(0.3, 0.4), hand.between(0.65, 0.8), hand.between(-1.0, -0.85)
    bow, stern, mast = hand.between(0.8, 0.95), hand.between(-0.95, -0.75), hand.between(-0.12, 0.08)
    if hand.chance(0.5):
        rake = hand.between(0.2, 0.3)
        hull = hand.outline((stern, deck), (stern + rake, keel), (bow - rake, keel), (bow, deck))
    else:
        bowl = ellipse((0, deck), (bow, keel - deck), np.linspace(0, 0.5, 17))
        hull = hand.loop(np.concatenate([bowl, bowl[:1]]))
    boom, luff = deck - hand.between(0.1, 0.18), mast - 0.07
    sails = [hand.outline((mast, top + 0.05), (mast, boom), (bow * hand.between(0.65, 0.85), boom))]
    jib = (luff, top + hand.between(0.15, 0.3)), (luff, boom), (stern * hand.between(0.55, 0.75), boom)
    sails += hand.maybe(0.7, hand.outline(*jib))
    flag = hand.maybe(0.35, hand.line((mast, top), (mast - 0.22, top + 0.08), (mast, top + 0.15)))
    x = np.linspace(-1.05, 1.05, hand.integer(4, 6))
    crests = np.stack([x, np.full_like(x, keel + hand.between(0.0, 0.12))], axis=1)
    waves = hand.maybe(0.4, bulges(crests, -0.22))
    return [*hand.ordered([hull], [hand.line((mast, top), (mast, deck)), *sails]), *flag, *waves]


def _snowman(hand: Hand) -> Drawing:
    radii = [hand.between(0.44, 0.52), hand.between(0.3, 0.37), hand.between(0.25, 0.3)]
    if hand.chance(0.5):
        del radii[1]
    heights = 1 - np.cumsum([radii[0], *(0.9 * (a + b) for a, b in pairwise(radii))])
    balls = [hand.oval(0, y, r * 1.05, r) for r, y in zip(radii, heights, strict=True)]
    (r, y), (girth, chest) = (radii[-1], heights[-1]), (radii[-2], heights[-2])
    eyes = [hand.dot(s * r * 0.4, y - r * 0.25) for s in SIDES]
    tip = (r * hand.between(0.7, 1.2), y + 0.05)
    nose = hand.line((0, y - 0.01), tip, (0, y + 0.08))
    smile = hand.curve((-r * 0.45, y + r * 0.5), (0, y + r * 0.75), (r * 0.45, y + r * 0.5))
    buttons = [hand.dot(0, chest + k * girth * 0.45) for k in (-1, 0, 1)]
    reach, lift = girth + hand.between(0.35, 0.5), hand.between(0.1, 0.4)
    arms = [hand.line((s * girth * 0.98, chest - 0.05), (s * reach, chest - lift)) for s in SIDES]
    brim, crown, tall = r * hand.between(1.1, 1.4), r * hand.between(0.65, 0.85), hand.between(0.25, 0.4)
    b = y - r * 0.85
    rest = [hand.line((-crown, b), (-crown, b - tall), (crown, b - tall), (crown, b))]
    hat = hand.maybe(0.75, hand.line((-brim, b), (brim, b)), *rest)
    balls = balls[::-1] if hand.chance(0.4) else balls
    return [*balls, *eyes, nose, *hand.maybe(0.4, smile), *hand.ordered(buttons, arms), *hat]


def _pine(hand: Hand) -> Drawing:
    tiers, wide, foot = hand.integer(2, 3), hand.between(0.5, 0.65), hand.between(0.45, 0.6)
    edge = []
    for k in range(tiers, 0, -1):
        x, y = wide * (0.4 + 0.6 * k / tiers), (1 + foot) * k / tiers - 1
        edge += [(0.45 * x, y - 0.02), (x, y)]
    w = hand.between(0.1, 0.17)
    trunk = hand.line((-w, foot), (-w, 1), (w, 1), (w, foot))
    return hand.ordered([hand.outline((0, -1), *mirror(edge[1:])[::-1])], [trunk])


def _tree(hand: Hand) -> Drawing:
    ground = hand.maybe(0.3, hand.line((-0.6, 1), (0.6, 1)))
    if hand.chance(0.4):
        return _pine(hand) + ground
    rx, ry, y, n = hand.between(0.55, 0.7), hand.between(0.45, 0.55), -0.35, hand.integer(6, 8)
    turns = hand.between(0, 1) + np.arange(n + 1) / n
    crown = [hand.loop(bulges(ellipse((0, y), (rx, ry), turns), hand.between(0.3, 0.45)))]
    w = hand.between(0.1, 0.17)
    flare = w * hand.between(1.1, 1.9)
    trunk = [hand.curve((s * w, y + ry * 1.1), (s * w * 0.9, 0.6), (s * flare, 1)) for s in SIDES]
    places = [(-0.5, -0.1), (0.05, -0.55), (0.4, 0.05), (-0.05, 0.4)]
    apples = hand.maybe(0.3, *(hand.oval(u * rx, y + v * ry, 0.07, 0.07) for u, v in places))
    return [*hand.ordered(crown, trunk), *ground, *apples]


def _umbrella(hand: Hand) -> Drawing:
    w, top, rim = hand.between(0.85, 1.0), hand.between(-0.9, -0.75), hand.between(-0.1, 0.05)
    dome = hand.arc((0, rim), (w, rim - top), 0.5, 1.0)
    x = np.linspace(w, -w, hand.integer(4, 6))
    edge = bulges(np.stack([x, np.full_like(x, rim)], axis=1), -hand.between(0.2, 0.4))
    ribs = hand.maybe(0.5, *(hand.curve((0, top), (a * 0.75, top + (rim - top) * 0.4), (a, rim)) for a in x[1:-1]))
    hook, floor = hand.between(0.22, 0.32), hand.between(0.75, 0.9)
    grip = (hook * 0.25, floor + 0.06), (hook * 0.8, floor + 0.05), (hook, floor - 0.12)
    pole = hand.curve((0, rim - 0.1), (0, 0.4), (0, floor - 0.1), *grip)
    tip = hand.maybe(0.5, hand.line((0, top), (0, top - hand.between(0.08, 0.15))))
    return hand.ordered([dome, edge, *ribs], [pole, *tip])


_DRAW: dict[str, Callable[[Hand], Drawing]] = {
    "butterfly": _butterfly,
    "car": _car,
    "cat": _cat,
    "fish": _fish,
    "flower": _flower,
    "house": _house,
    "mug": _mug,
    "mushroom": _mushroom,
    "sailboat": _sailboat,
    "snowman": _snowman,
    "tree": _tree,
    "umbrella": _umbrella,
}

CLASSES: tuple[str, ...] = tuple(_DRAW)
"""Names of the doodle classes, in alphabetical order."""


def draw(name: str, rng: np.random.Generator) -> Drawing:
    """Draw one doodle: strokes in drawing order, each an integer array (n, 2) with n >= 1.

    x increases to the right and y downward, both from 0 to 255. All random numbers are drawn from `rng`, and the
    coordinates are rounded to integers at the end. The same seed therefore gives the same drawing on every machine.

    Args:
        name: class name, one of `CLASSES`.
        rng: random generator.
    """
    if name not in _DRAW:
        raise ValueError(f"unknown class {name!r}; expected one of {', '.join(CLASSES)}")
    hand = Hand(rng)
    return hand.finish(_DRAW[name](hand))
